"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.mlp import MLP as MLP

__all__ = ["MLP"]
