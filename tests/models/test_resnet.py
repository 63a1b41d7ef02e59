import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.models import ResNet, SmallResNet
from tests.models.shapes import assert_a_step_keeps_its_shapes, count, made, output_shape, outputs, params_of, traced
from tests.reference import convnets

SMALL, FULL = (32, 32, 3), (224, 224, 3)
TINY = dict(num_classes=3, features=(2, 3, 4))
SMALL_COUNTS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
FULL_COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def normalized(size, inputs, outputs):
    """A convolution without biases, a scale and a shift a map."""
    return size**2 * inputs * outputs + 2 * outputs


@pytest.mark.parametrize("depth", SMALL_COUNTS)
def test_small_networks_have_the_published_parameters(depth):
    n, by_hand = (depth - 2) // 6, normalized(3, 3, 16) + (64 + 1) * 10
    for maps, before in ((16, 16), (32, 16), (64, 32)):
        by_hand += normalized(3, before, maps) + (2 * n - 1) * normalized(3, maps, maps)
    module = SmallResNet(depth=depth)
    params, output = traced(module, SMALL)
    assert output.shape == (2, 10)
    assert count(params) == by_hand == SMALL_COUNTS[depth]
    digits = 1 if depth == 110 else 2
    assert round(by_hand / 1e6, digits) == MILLIONS[depth]
    weight_layers = [path for path, _ in jax.tree_util.tree_leaves_with_path(params) if "kernel" in str(path[-1])]
    assert len(weight_layers) == depth


def test_projections_cost_two_convolutions_and_plain_networks_nothing():
    plain, projected = (count(params_of(SmallResNet(shortcut=kind), SMALL)) for kind in ("none", "projection"))
    assert plain == SMALL_COUNTS[20]
    assert projected - plain == normalized(1, 16, 32) + normalized(1, 32, 64)
    assert output_shape(SmallResNet(), (28, 28, 1)) == (2, 10)


@pytest.mark.parametrize("depth", FULL_COUNTS)
def test_full_networks_have_the_published_parameters(depth):
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    by_hand, inputs = normalized(7, 3, 64), 64
    for number, width in zip(blocks, (64, 128, 256, 512), strict=True):
        outputs = width if depth < 50 else 4 * width
        for block in range(number):
            shape = [(3, inputs, width), (3, width, width)]
            if depth >= 50:
                shape = [(1, inputs, width), (3, width, width), (1, width, outputs)]
            by_hand += sum(normalized(*layer) for layer in shape)
            by_hand += normalized(1, inputs, outputs) if block == 0 and inputs != outputs else 0
            inputs = outputs
    by_hand += (inputs + 1) * 1000
    module = ResNet(depth=depth)
    params, output = traced(module, FULL)
    assert count(params) == by_hand == FULL_COUNTS[depth]
    assert output.shape == (2, 1000)


def test_where_a_bottleneck_strides_changes_no_parameter():
    first, middle = (params_of(ResNet(depth=50, stride_in=which), (64, 64, 3)) for which in ("first", "middle"))
    assert first == middle


@pytest.mark.parametrize(
    ("module", "shape"),
    [*((ResNet(depth=depth), FULL) for depth in (18, 34, 50, 101, 152)), (SmallResNet(depth=110), SMALL)],
)
def test_a_training_step_on_the_full_shape(module, shape):
    assert_a_step_keeps_its_shapes(module, shape, batch=128)


def reference(x, variables, *, shortcut, norm, stem, bottleneck=False, stride_in="first", blocks=None):
    """The network in NumPy; `norm(x, layer, path)`."""
    params = variables["params"]

    def stack(x, name, shape):
        for i, (size, stride) in enumerate(shape, start=1):
            part = params[name[0]][name[1]]
            x = convnets.conv(x, part[f"conv{i}"], stride=stride, padding=(size - 1) // 2)
            x = norm(x, part.get(f"norm{i}"), (*name, f"norm{i}"))
            x = x if i == len(shape) else convnets.relu(x)
        return x

    x = convnets.conv(x, params["stem_conv"], stride=stem[1], padding=stem[0] // 2)
    x = convnets.relu(norm(x, params.get("stem_norm"), ("stem_norm",)))
    x = convnets.max_pool(x, 3, 2, padding=1) if stem[0] == 7 else x
    for i, number in enumerate(blocks, start=1):
        for j in range(1, number + 1):
            name, stride = f"stage{i}_block{j}", 2 if i > 1 and j == 1 else 1
            shape = [(3, stride), (3, 1)]
            if bottleneck:
                shape = [(1, stride), (3, 1), (1, 1)] if stride_in == "first" else [(1, 1), (3, stride), (1, 1)]
            y = stack(x, (name, "branch"), shape)
            if "projection" in params[name]:
                x = stack(x, (name, "projection"), [(1, stride)])
            elif shortcut == "none":
                x = np.zeros_like(y)
            elif x.shape != y.shape:
                thin = np.zeros_like(y)
                thin[..., : x.shape[-1]] = x[:, ::2, ::2]
                x = thin
            x = convnets.relu(x + y)
    return convnets.dense(x.mean((1, 2)), params["logits"])


def batch_norm(variables=None):
    """By the batch's own moments, or by the running ones of the variables."""

    def norm(x, layer, path):
        found = None if variables is None else variables["batch_stats"]
        for name in path if found is not None else ():
            found = found[name]
        return convnets.batch_norm(x, layer, found)

    return norm


@pytest.mark.parametrize("shortcut", ["zeros", "projection", "none"])
@pytest.mark.parametrize("normalization", ["batch", "group", None])
def test_the_small_network_is_what_numpy_makes_of_it(shortcut, normalization):
    module = SmallResNet(depth=8, shortcut=shortcut, normalization=normalization, **TINY)
    x, variables = made(module, (9, 8, 3))
    norms = {
        "batch": batch_norm(),
        "group": lambda y, layer, path: convnets.group_norm(y, layer, group_size={2: 2, 3: 1, 4: 4}[y.shape[-1]]),
        None: lambda y, layer, path: y,
    }
    expected = reference(
        x, variables, shortcut=shortcut, norm=norms[normalization], stem=(3, 1),
        blocks=(1, 1, 1),
    )  # fmt: skip
    y = outputs(module, variables, x, train=True)
    np.testing.assert_allclose(y, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("depth", "stride_in"), [(18, "first"), (14, "first"), (14, "middle")])
def test_the_full_network_is_what_numpy_makes_of_it(depth, stride_in):
    """In evaluation, by running statistics that are not those of the start."""
    module = ResNet(depth=depth, num_classes=3, features=(2, 3, 3, 4), stride_in=stride_in)
    x, variables = made(module, (40, 37, 3))
    leaves, treedef = jax.tree.flatten(variables["batch_stats"])
    drawn = [0.5 + 2 * np.random.RandomState(i).rand(*leaf.shape) for i, leaf in enumerate(leaves)]
    variables = {**variables, "batch_stats": jax.tree.unflatten(treedef, drawn)}
    expected = reference(
        x, variables, shortcut="projection", norm=batch_norm(variables),
        stem=(7, 2), bottleneck=depth == 14, stride_in=stride_in, blocks={18: (2, 2, 2, 2), 14: (1, 1, 1, 1)}[depth],
    )  # fmt: skip
    np.testing.assert_allclose(outputs(module, variables, x), expected, rtol=1e-3, atol=1e-3)


def test_blocks_of_zero_scale_start_as_the_identity():
    """Only the stem, the thinning and the logits are left."""
    module = SmallResNet(depth=8, zero_last_scale=True, **TINY)
    x = np.random.RandomState(0).rand(2, 8, 8, 3).astype(np.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    params = variables["params"]
    y = convnets.conv(x, params["stem_conv"], padding=1) / np.sqrt(1 + 1e-5)
    y = np.concatenate([convnets.relu(y)[:, ::4, ::4], np.zeros((2, 2, 2, 2))], -1)
    expected = convnets.dense(y.mean((1, 2)), params["logits"])
    np.testing.assert_allclose(outputs(module, variables, x), expected, rtol=1e-4, atol=1e-5)
    scales = [params[f"stage{i}_block1"]["branch"] for i in (1, 2, 3)]
    assert all(np.all(branch["norm2"]["scale"] == 0) and np.all(branch["norm1"]["scale"] == 1) for branch in scales)


def test_convolutions_start_as_he_et_al_have_it():
    """N(0, 2 / (9 * 64)), five standard errors of 36,864 draws."""
    x = np.zeros((1, 8, 8, 3), np.float32)
    params = jax.jit(SmallResNet(depth=8).init)(jax.random.key(0), x)["params"]
    kernel = params["stage3_block1"]["branch"]["conv2"]["kernel"]
    assert np.mean(np.square(kernel)) == pytest.approx(2 / 576, rel=5 * np.sqrt(2 / kernel.size))


def test_running_averages_move_by_one_minus_the_momentum():
    module = SmallResNet(depth=8, momentum=0.8, **TINY)
    x, variables = made(module, (8, 8, 3))
    _, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    stem = convnets.conv(x, variables["params"]["stem_conv"], padding=1)
    np.testing.assert_allclose(updated["batch_stats"]["stem_norm"]["mean"], 0.2 * stem.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(updated["batch_stats"]["stem_norm"]["var"], 0.8 + 0.2 * stem.var((0, 1, 2)), rtol=1e-4)


def test_group_normalization_keeps_examples_apart_and_batch_normalization_does_not():
    x = np.random.RandomState(0).rand(3, 8, 8, 3).astype(np.float32)
    for normalization, apart in (("group", True), (None, True), ("batch", False)):
        module = SmallResNet(depth=8, normalization=normalization, **TINY)
        _, variables = made(module, x.shape[1:])
        run = lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"])[0][0].sum()  # noqa: B023, E731
        others = np.asarray(jax.jit(jax.grad(run))(x))[1:]
        assert np.all(others == 0) == apart


@pytest.mark.parametrize("normalization", ["batch", "group", None])
def test_half_precision_keeps_parameters_and_statistics_in_float32(normalization):
    module = SmallResNet(depth=8, normalization=normalization, dtype="bfloat16", **TINY)
    x, variables = made(module, (8, 8, 3))
    y, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {np.dtype("float32")}


def test_odd_sizes_and_an_empty_batch():
    module = SmallResNet(depth=8, normalization="group", **TINY)
    for side in (1, 5):
        x, variables = made(module, (side, side + 1, 1))
        assert module.apply(variables, x).shape == (2, 3)
        assert module.apply(variables, x[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (SmallResNet(depth=2), "depth: expected a whole number >= 8; got 2. It is 6n \\+ 2, such as 20"),
        (SmallResNet(depth=18), "depth: expected 6n \\+ 2, n blocks .*; got 18. Use 14"),
        (SmallResNet(features=(1, 2)), r"features: expected a sequence of 3 whole numbers >= 1; got \(1, 2\). They"),
        (SmallResNet(features=(4, 2, 8)), r"features: expected maps that do not get fewer, .*; got \(4, 2, 8\). Use"),
        (SmallResNet(num_classes=0), "num_classes: expected a whole number >= 1; got 0. It is the number"),
        (SmallResNet(shortcut="A"), "shortcut: expected one of 'zeros', 'projection', 'none'; got 'A'. none makes"),
        (SmallResNet(normalization="layer"), "normalization: expected one of 'batch', 'group', None; got 'layer'. gr"),
        (SmallResNet(momentum=1.5), "momentum: expected one finite number >= 0 and <= 1; got 1.5. It weighs the OLD"),
        (
            SmallResNet(zero_last_scale=True, normalization=None),
            "zero_last_scale: expected False without normalization, .*; got True with normalization=None and shortcut",
        ),
        (
            SmallResNet(zero_last_scale=True, shortcut="none"),
            "zero_last_scale: .*got True with normalization='batch' and shortcut='none'. Leave it out",
        ),
        (
            ResNet(depth=20),
            "depth: expected one of 10, 14, 18, 34, 50, 101, 152; got 20. For small images use SmallResNet",
        ),
        (ResNet(stride_in="last"), "stride_in: expected one of 'first', 'middle'; got 'last'. first is the paper's"),
    ],
)
def test_arguments_that_make_no_network(module, message):
    with pytest.raises(ValueError, match=message):
        params_of(module, SMALL)
    with pytest.raises(ValueError, match=r"x: expected images .*; got shape \(2, 8, 3\). Add the axes"):
        SmallResNet().init(jax.random.key(0), jnp.zeros((2, 8, 3)))


def test_activations_can_be_chosen():
    module = SmallResNet(depth=8, activation=nn.tanh, **TINY)
    x, variables = made(module, (8, 8, 3))
    _, captured = module.apply(variables, x, capture_intermediates=lambda m, _: m.name == "stage3_block1")
    (block,) = captured["intermediates"]["stage3_block1"]["__call__"]
    assert np.all(np.abs(block) < 1)
    assert np.any(block < 0)
