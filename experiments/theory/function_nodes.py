"""The function node of the lectures (Fornax, Allauzen): forward it keeps its values, backward it hands on derivatives.

A graph of such nodes is what `jax.grad` works on without showing it; a node of one's own, with a derivative of one's
own, is `jax.custom_vjp`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

PullBack = Callable[[jax.Array], tuple[jax.Array, ...]]


@dataclass(eq=False)
class Node:
    """A value in a graph.

    Attributes:
      value: z = f(x, y, ...), kept from the forward pass.
      inputs: the nodes x, y, ...
      pull_back: dl/dz to `(dl/dz dz/dx, dl/dz dz/dy, ...)`; None for a start.
    """

    value: jax.Array
    inputs: Sequence["Node"] = field(default=())
    pull_back: PullBack | None = None


def apply(function: Callable[..., jax.Array], *inputs: Node) -> Node:
    """Forward: a node of any function of arrays, with its derivative by `jax.vjp`."""
    value, pull_back = jax.vjp(function, *(node.value for node in inputs))
    return Node(value, inputs, pull_back)


def multiply(x: Node, y: Node) -> Node:
    """The lecture's example written out: z = x y hands (dl/dz) y to x and (dl/dz) x to y."""
    return Node(x.value * y.value, (x, y), lambda received: (received * y.value, received * x.value))


def gradients(output: Node, starts: Sequence[Node]) -> list[jax.Array]:
    """Backward: dl/dx of every start, for a scalar output l.

    Nodes are visited in reversed topological order, each once all of its consumers were; what several consumers hand
    to a node ADDS, which the slides leave out.

    Args:
      output: l, of shape ().
      starts: nodes; 0 for one on which l does not depend.
    """
    received: dict[Node, jax.Array] = {output: jnp.ones_like(output.value)}
    for node in reversed(topological(output)):
        if node.pull_back is None:
            continue
        for parent, part in zip(node.inputs, node.pull_back(received[node]), strict=True):
            received[parent] = received[parent] + part if parent in received else part
    return [received.get(start, jnp.zeros_like(start.value)) for start in starts]


def topological(output: Node) -> list[Node]:
    """Every node the output depends on, inputs before those that use them, the output last."""
    order: list[Node] = []
    seen: set[Node] = set()
    waiting = [(output, False)]
    while waiting:
        node, inputs_done = waiting.pop()
        if inputs_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting.extend((parent, False) for parent in node.inputs)
    return order
