"""Norms and gradients of each kind of layer at random shapes, in float32 and float64, against `vmap(grad)`."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl
from tests.diagnostics.per_example.oracle import assert_exact, precision

SETTINGS = settings(max_examples=4, deadline=None, derandomize=True, database=None)
DTYPES = st.sampled_from(["float32", "float64"])
few = lambda low, high: st.integers(low, high)  # noqa: E731


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def mixed(outputs):
    """A loss `(B,)` that depends on every output, and not linearly."""
    flat = jnp.reshape(outputs, (outputs.shape[0], -1))
    return jnp.sum(jnp.sin(flat + jnp.arange(flat.shape[1], dtype=flat.dtype)[None]), 1)


def check(module, x, dtype, **kwargs):
    with precision(dtype):
        params = module.init(jax.random.key(7), x)["params"]
        params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(8), leaf.shape), params)
    return assert_exact(
        lambda params, x: mixed(module.apply({"params": params}, x)), params, x, dtype=dtype, gradients=True, **kwargs
    )


@SETTINGS
@given(DTYPES, few(1, 6), st.lists(few(1, 4), max_size=2), few(1, 5), few(1, 5), st.booleans())
def test_dense(dtype, batch, positions, inputs, outputs, bias):
    x = draw(0, batch, *positions, inputs)
    methods = check(nn.Dense(outputs, use_bias=bias), x, dtype)
    assert methods["kernel"] in ("outer", "gram", "product")


@SETTINGS
@given(DTYPES, st.data())
def test_convolution(dtype, data):
    ndim = data.draw(few(1, 3))
    groups = data.draw(st.sampled_from([1, 2, 3]))
    each = lambda low, high: tuple(data.draw(few(low, high)) for _ in range(ndim))  # noqa: E731
    padding = data.draw(st.sampled_from(["SAME", "VALID", "CIRCULAR", [(1, 2)] * ndim, [(-1, 1)] * ndim]))
    module = nn.Conv(
        groups * data.draw(few(1, 3)),
        each(1, 3),
        strides=each(1, 2),
        kernel_dilation=each(1, 2),
        input_dilation=each(1, 2) if isinstance(padding, list) else 1,
        padding=padding,
        feature_group_count=groups,
    )
    x = draw(1, data.draw(few(1, 4)), *each(5, 7), groups * data.draw(few(1, 3)))
    assert check(module, x, dtype)["kernel"] in ("outer", "gram", "product")


@SETTINGS
@given(DTYPES, few(1, 4), few(2, 6), few(1, 3), few(1, 3))
def test_transposed_convolution(dtype, batch, length, channels, features):
    module = nn.ConvTranspose(features, (3, 2), strides=(2, 1))
    assert check(module, draw(2, batch, length, 4, channels), dtype)["kernel"] != "vmap(grad)"


@SETTINGS
@given(DTYPES, few(1, 5), few(0, 9), few(2, 7), few(1, 4))
def test_embedding(dtype, batch, length, rows, features):
    shape = (batch, length) if length else (batch,)
    indices = jax.random.randint(jax.random.key(3), shape, 0, rows)
    assert check(nn.Embed(rows, features), indices, dtype) == {"embedding": "rows"}


@pytest.mark.parametrize("mode", ["clip", "fill", "wrap"])
def test_rows_taken_out_of_bounds(mode):
    table = draw(0, 5, 3)
    indices = jnp.array([[0, 4, 4], [9, 2, 1], [-1, 3, 3]])

    def losses(table, indices):
        taken = jnp.take(table, indices, axis=0, mode=mode, **({"fill_value": 0.0} if mode == "fill" else {}))
        return mixed(taken)

    assert_exact(losses, table, indices, gradients=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "module",
    [nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(2), nn.GroupNorm(num_groups=None, group_size=1), nn.PReLU(),
     nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2))],
)  # fmt: skip
def test_scales_biases_and_normalizations(module, dtype):
    methods = check(module, draw(4, 5, 3, 4), dtype)
    assert set(methods.values()) == {"sum"}


@SETTINGS
@given(
    DTYPES,
    few(1, 4),
    few(1, 4),
    few(1, 3),
    st.sampled_from([nn.SimpleCell, nn.LSTMCell, nn.GRUCell, nn.MGUCell, nn.OptimizedLSTMCell]),
)
def test_recurrent_cells(dtype, batch, length, features, cell):
    # Flax starts the carry in the dtype of the parameters.
    methods = check(nn.RNN(cell(features, param_dtype=dtype)), draw(5, batch, length, 2), dtype)
    assert "vmap(grad)" not in methods.values()


@SETTINGS
@given(DTYPES, few(1, 4), few(1, 5), st.sampled_from([1, 2]), few(1, 3))
def test_attention(dtype, batch, length, heads, width):
    module = nn.MultiHeadDotProductAttention(heads, qkv_features=heads * width)
    methods = check(module, draw(6, batch, length, 3), dtype)
    assert set(methods.values()) <= {"sum", "outer", "gram", "product"}


@SETTINGS
@given(DTYPES, few(1, 5), few(1, 4), few(1, 4))
def test_one_layer_called_several_times(dtype, batch, width, calls):
    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(width)
            for _ in range(calls):
                x = jnp.tanh(layer(x))
            return x

    methods = check(Shared(), draw(7, batch, width), dtype)
    assert methods["Dense_0/kernel"] == ("outer" if calls == 1 else methods["Dense_0/kernel"])
    assert methods["Dense_0/kernel"] in ("outer", "gram", "product")


@SETTINGS
@given(DTYPES, few(1, 4), few(1, 4), few(2, 6), few(1, 4))
def test_tied_embedding(dtype, batch, length, rows, features):
    class Tied(nn.Module):
        @nn.compact
        def __call__(self, indices):
            embed = nn.Embed(rows, features)
            return embed.attend(jnp.tanh(embed(indices)))

    indices = jax.random.randint(jax.random.key(3), (batch, length), 0, rows)
    assert check(Tied(), indices, dtype) == {"Embed_0/embedding": "tied"}


@SETTINGS
@given(DTYPES, few(1, 4), few(1, 3), few(1, 4), st.booleans())
def test_a_scanned_stack_of_layers(dtype, batch, width, depth, remat):
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + jnp.tanh(nn.Dense(width)(nn.LayerNorm()(x))), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = nn.remat(Block, prevent_cse=False) if remat else Block
            return nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=depth)()(x, None)[0]

    methods = check(Stack(), draw(8, batch, 2, width), dtype)
    assert set(methods.values()) <= {"sum", "outer", "gram", "product"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_with_arithmetic_of_their_own_are_formed(dtype):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = jnp.tanh(nn.WeightNorm(nn.Dense(4))(x))
            shift = jnp.exp(self.param("log_shift", nn.initializers.zeros, (4,)))
            return nn.WeightNorm(nn.Conv(3, (2,)))(x) + (x / shift[None, None])[..., :3]

    methods = check(Net(), draw(9, 4, 3, 2), dtype)
    assert methods["log_shift"] == "formed"
    assert methods["Dense_0/kernel"] == methods["WeightNorm_0/Dense_0/kernel/scale"] == "formed"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain_functions(dtype):
    """Einsums in all directions, a parameter on the left, a batched product, merged axes, a token put in front."""
    params = {
        "left": draw(0, 4, 3), "each": draw(1, 3, 4, 2), "token": draw(2, 1, 1, 2), "row": draw(3, 6),
        "power": jnp.full((2,), 1.5), "choice": draw(4, 2), "square": draw(5, 2, 2),
    }  # fmt: skip

    def losses(params, x):  # x: (B, 5, 3)
        h = jnp.einsum("ij,btj->tbi", params["left"], x)  # examples in the middle
        h = jnp.einsum("tbi,tio->tbo", h, params["each"][jnp.array([0, 1, 2, 1, 0])])
        h = jnp.swapaxes(h, 0, 1)  # (B, 5, 2)
        token = jnp.broadcast_to(params["token"], (x.shape[0], 1, 2))
        h = jnp.concatenate([token, h], 1) * params["row"][None, :, None]
        h = jnp.reshape(h, (-1, 2)) @ params["square"]  # examples and positions in one axis
        h = jnp.reshape(h, (x.shape[0], 6, 2))
        h = jnp.where(h > 0, h, params["choice"][None, None]) + jnp.abs(h) ** params["power"][None, None]
        return mixed(jnp.maximum(h, jnp.min(params["choice"])))

    methods = assert_exact(losses, params, draw(6, 4, 5, 3), dtype=dtype, gradients=True)
    assert methods["left"] in ("gram", "product")
    assert methods["square"] in ("gram", "product")
    assert methods["row"] == methods["token"] == methods["power"] == "sum"
    assert methods["each"] == methods["choice"] == "formed"


def test_a_table_taken_transposed_or_reshaped():
    """Its rows are then not the first axis of the parameter; more positions than that axis is long."""
    indices = jax.random.randint(jax.random.key(3), (4, 9), 0, 7)
    transposed, tied = (lambda w, i: mixed(w.T[i])), (lambda w, i: mixed(jnp.tanh(w.T[i]) @ w))
    assert assert_exact(transposed, draw(0, 5, 7), indices, gradients=True) == {"": "rows"}
    assert assert_exact(lambda w, i: mixed(jnp.reshape(w, (8, 3))[i]), draw(1, 2, 4, 3), indices) == {"": "rows"}
    assert assert_exact(tied, draw(0, 5, 7), indices) == {"": "tied"}


def test_a_real_parameter_among_complex_numbers_has_a_real_gradient():
    waves = lambda x: jnp.fft.fft(x, axis=2)  # noqa: E731
    losses = lambda w, x: mixed(jnp.abs(waves(x) @ w.astype(complex)))  # noqa: E731
    with precision("float64"):
        assert_exact(losses, draw(0, 3, 2), draw(1, 4, 5, 3), dtype="float64", gradients=True)


def test_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(7, 4, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
            self.rnn = nnx.RNN(nnx.GRUCell(4, 4, rngs=rngs))
            self.conv = nnx.Conv(4, 3, (2,), rngs=rngs)
            self.norm = nnx.LayerNorm(3, rngs=rngs)
            self.out = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, indices):
            x = self.embed(indices)
            return self.out(self.norm(self.conv(self.rnn(x + self.attention(x)))))

    model = jaxdl.as_model(lambda rngs: Net(rngs))
    indices = jax.random.randint(jax.random.key(0), (4, 5), 0, 7)
    variables = model.init(jax.random.key(1), indices)
    methods = assert_exact(
        lambda params, indices: mixed(model.apply({**variables, "params": params}, indices)[0]),
        variables["params"], indices, gradients=True,
    )  # fmt: skip
    assert "vmap(grad)" not in methods.values()
