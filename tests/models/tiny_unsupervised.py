"""Tiny autoencoders and Boltzmann machines for the laws."""

from typing import Any

import jax
import numpy as np

import jaxdl
from jaxdl.models import RBM, Autoencoder, ConvAutoencoder
from jaxdl.training import Objective, contrastive_divergence, reconstruction
from tests.models.cases import NUM_EXAMPLES, Case

IMAGES = np.random.RandomState(0).rand(NUM_EXAMPLES, 4, 4, 1).astype(np.float32)


def case(module: Any, objective: Objective, *, mixes: str | None = None) -> Case:
    model = jaxdl.as_model(module)
    return Case(objective, lambda key: model.init(key, jax.tree.map(lambda a: a[:2], IMAGES)), IMAGES, mixes)


def rebuilding(module: Any) -> Case:
    return case(module, reconstruction(module, jaxdl.losses.sigmoid_cross_entropy))


def contrasting(module: Any, *, mixes: str | None = None, **options: Any) -> Case:
    return case(module, contrastive_divergence(module, **options), mixes=mixes)


CASES = {
    "autoencoder": rebuilding(Autoencoder((5, 3))),
    "tied autoencoder": rebuilding(Autoencoder((5, 3), tied=True)),
    "denoising autoencoder": rebuilding(Autoencoder((5,), tied=True, masking_rate=0.3, noise_stddev=0.1)),
    "convolutional autoencoder": rebuilding(ConvAutoencoder((3, 2), masking_rate=0.2)),
    "RBM": contrasting(RBM(5), num_steps=2),
    "Gaussian RBM": contrasting(RBM(5, visible_units="gaussian")),
    "persistent RBM": contrasting(RBM(5, num_chains=4), persistent=True),
}
