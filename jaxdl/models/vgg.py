"""The VGG networks A to E, and the start of the deeper ones from the shallowest."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks, layers
from jaxdl.initializers import load_partial
from jaxdl.models.classifier_parts import check_classifier, dense_layers, halved
from jaxdl.tree import path_name

PyTree = Any
Configuration = Literal["A", "A-LRN", "B", "C", "D", "E"]
# The sides of the filters in the five stages, each of which ends in pooling.
_FILTERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3),) * 5,
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
# The first four convolutions of A: those of a deeper network that have their names have their shapes, too.
_KEPT_CONVOLUTIONS = ("conv1_1", "conv2_1", "conv3_1", "conv3_2")
_KEPT_DENSE = ("dense1", "dense2", "logits")


class VGG(nn.Module):
    """Five stages of small convolutions, each followed by 2x2 max-pooling, and three dense layers with dropout.

    Input `(batch, height, width, channels)`, output `(batch, num_classes)`, logits; ReLU throughout, filters 3x3 with
    `SAME` padding, in C some of 1x1. At 224 x 224 x 3 the pooled maps are 112, 56, 28, 14 and 7 pixels wide; the least
    size is 32 x 32. The layers are `conv1_1`, `conv1_2`, ..., `conv5_4`, `dense1`, `dense2` and `logits`.

    | configuration | weight layers | parameters |
    |---|---|---|
    | A, A-LRN | 11 | 132,863,336 |
    | B | 13 | 133,047,848 |
    | C | 16 | 133,638,952 |
    | D | 16 | 138,357,544 |
    | E | 19 | 143,667,240 |

    Attributes:
      configuration: "A", "A-LRN" (local response normalization after the first convolution), "B", "C", "D" or "E".
      num_classes: outputs.
      features: maps of the convolutions of each stage.
      hidden: units of the hidden dense layers.
      dropout_rate: probability to DROP after each hidden dense layer.
      kernel_init: initializer of every kernel. With the paper's N(0, 0.01^2), biases 0, A learns; the deeper ones were
        started from it, see `grow_vgg`. For those take `jaxdl.initializers.he_normal()` where there is no trained A.
      dtype: of the computation; None infers it from input and parameters.

    References:
      Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014, tables 1 and 2.
    """

    configuration: Configuration = "D"
    num_classes: int = 1000
    features: Sequence[int] = (64, 128, 256, 512, 512)
    hidden: Sequence[int] = (4096, 4096)
    dropout_rate: float = 0.5
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.01)
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        checks.one_of(
            configuration=self.configuration, among=get_args(Configuration), remedy="D is the one with 16 layers."
        )
        checks.whole_numbers(features=self.features, length=5, remedy="They are the maps in each of the five stages.")
        check_classifier(hidden=self.hidden, num_classes=self.num_classes, dropout_rate=self.dropout_rate)
        checks.images(x, minimum=32, remedy="ImageNet's are 224 x 224; pad or enlarge yours.")
        stages = zip(self.features, _FILTERS[self.configuration], strict=True)
        for i, (features, sizes) in enumerate(stages, start=1):
            for j, size in enumerate(sizes, start=1):
                conv = nn.Conv(
                    features, (size, size), kernel_init=self.kernel_init, dtype=self.dtype, name=f"conv{i}_{j}"
                )
                x = nn.relu(conv(x))
                if self.configuration == "A-LRN" and i == 1:
                    x = layers.LocalResponseNorm(name="norm1_1")(x)
            x = halved(x, pool="max")
        return dense_layers(
            x, hidden=self.hidden, num_classes=self.num_classes, dropout_rates=[self.dropout_rate] * len(self.hidden),
            train=train, kernel_init=self.kernel_init, dtype=self.dtype,
        )  # fmt: skip


def grow_vgg(params: PyTree, shallow: PyTree, *, key: jax.Array, stddev: float = 0.01) -> PyTree:
    """Parameters for a deeper VGG network out of those of a trained A, as the paper starts B to E.

    The first four convolutions of A and its three dense layers are taken over; all other kernels are drawn from
    N(0, stddev^2), all other biases are 0. The paper does not say which layers of the deeper network the four become;
    by their shapes it can only be the first of the first and second stage and the first two of the third.

    Args:
      params: parameters of the deeper network, of which only paths, shapes and dtypes matter: those of
        `jax.eval_shape` will do.
      shallow: parameters of the trained `VGG("A")`, of the same features, hidden layers and classes.
      key: one typed key.
      stddev: of what is drawn, > 0.

    Returns:
      A pytree like `params`.

    Raises:
      TypeError: `key` is not one typed key.
      ValueError: `stddev` is not positive, or one of the seven layers is missing or has another shape.

    Example:
      >>> small = dict(features=(2, 2, 3, 3, 3), hidden=(4, 4), num_classes=2)
      >>> x = jnp.ones((1, 32, 32, 1))
      >>> a = VGG("A", **small).init(jax.random.key(0), x)["params"]
      >>> b = jax.eval_shape(VGG("B", **small).init, jax.random.key(1), x)["params"]
      >>> grown = grow_vgg(b, a, key=jax.random.key(2))
      >>> bool((grown["conv2_1"]["kernel"] == a["conv2_1"]["kernel"]).all())
      True

    References:
      Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014, section 3.1.
    """
    checks.one_key(key)
    checks.number(stddev=stddev, minimum=0, exclusive=True, remedy="The paper has 0.01.")
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        jnp.zeros(leaf.shape, leaf.dtype)
        if path_name(path).endswith("bias")
        else stddev * jax.random.normal(leaf_key, leaf.shape, leaf.dtype)
        for leaf_key, (path, leaf) in zip(keys, leaves, strict=True)
    ]
    kept = [f"{layer}/*" for layer in (*_KEPT_CONVOLUTIONS, *_KEPT_DENSE)]
    return load_partial(jax.tree.unflatten(treedef, drawn), shallow, where=kept)
