import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import tree

X = np.random.RandomState(0).randn(5, 3).astype(np.float32)
KEY = jax.random.key(0)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(4)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=not train)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs, momentum=0.9)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(self.norm(self.dense(x))))


ADAPTED = {"linen": Linen(), "nnx": Nnx}


def model_and_variables(kind):
    model = jaxdl.as_model(ADAPTED[kind])
    return model, model.init(KEY, X)


def test_linen_agrees_with_flax_itself():
    module = Linen()
    model, variables = model_and_variables("linen")
    outputs, state = model.apply(variables, X, train=False)
    np.testing.assert_array_equal(outputs, module.apply(variables, X, train=False))
    assert state == {"batch_stats": variables["batch_stats"]}
    outputs, state = model.apply(variables, X, train=True, key=KEY)
    expected, updated = module.apply(variables, X, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])
    np.testing.assert_array_equal(outputs, expected)
    jax.tree.map(np.testing.assert_array_equal, state, updated)


@pytest.mark.parametrize("kind", ADAPTED)
def test_running_statistics_follow_the_batch(kind):
    model, variables = model_and_variables(kind)
    hidden = X @ np.asarray(variables["params"]["Dense_0" if kind == "linen" else "dense"]["kernel"], np.float64)
    _, state = model.apply(variables, X, train=True, key=KEY)
    (mean,) = [leaf for path, leaf in jaxdl.tree.leaf_paths(state).items() if path.endswith("mean")]
    np.testing.assert_allclose(mean, 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ADAPTED)
def test_apply_is_pure(kind):
    model, variables = model_and_variables(kind)
    first, _ = model.apply(variables, X, train=True, key=KEY)
    again, _ = model.apply(variables, X, train=True, key=KEY)
    other, _ = model.apply(variables, X, train=True, key=jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    evaluated, state = model.apply(variables, X)
    np.testing.assert_array_equal(evaluated, model.apply(variables, X)[0])
    jax.tree.map(np.testing.assert_array_equal, state, {k: v for k, v in variables.items() if k != "params"})


@pytest.mark.parametrize("kind", ADAPTED)
def test_init_is_a_function_of_the_key(kind, same_bytes):
    model, variables = model_and_variables(kind)
    same_bytes(variables, model.init(KEY, X))
    kernels = [tree.leaf_paths(v)[path] for v in (variables, model.init(jax.random.key(1), X))
               for path in tree.leaf_paths(v) if path.endswith("/kernel")]  # fmt: skip
    assert len(kernels) == 4
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("kind", ADAPTED)
def test_differentiates_and_compiles(kind):
    model, variables = model_and_variables(kind)
    loss = lambda p: model.apply({**variables, "params": p}, X, train=True, key=KEY)[0].sum()  # noqa: E731
    eager, compiled = jax.grad(loss)(variables["params"]), jax.jit(jax.grad(loss))(variables["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), eager, compiled)


@pytest.mark.parametrize(
    "name", ["train", "is_train", "training", "is_training", "deterministic", "use_running_average", None]
)
def test_the_mode_goes_by_the_name_the_module_uses(name):
    inverse = name in ("deterministic", "use_running_average")
    source = (
        f"def call(self, x, {name}): return x * (2.0 if {name} else 1.0)" if name else "def call(self, x): return x"
    )
    namespace: dict = {}
    exec(source, namespace)
    model = jaxdl.as_model(type("Module", (nn.Module,), {"__call__": namespace["call"]})())
    training = float(model.apply({"params": {}}, jnp.ones(1), train=True)[0][0])
    evaluating = float(model.apply({"params": {}}, jnp.ones(1), train=False)[0][0])
    assert (training, evaluating) == ((1.0, 1.0) if name is None else (1.0, 2.0) if inverse else (2.0, 1.0))


@pytest.mark.parametrize("train", [False, True])
def test_a_state_that_is_not_passed_is_named(train):
    model, variables = model_and_variables("linen")
    with pytest.raises(ValueError, match=r"model_state: expected all that .* got \[\]. Pass model_state=.*batch_stats"):
        model.apply({"params": variables["params"]}, X, train=train, key=KEY)


def test_what_modules_sow_is_no_state():
    class Sower(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("intermediates", "x", x)
            return nn.Dense(1)(x)

    assert set(jaxdl.as_model(Sower()).init(KEY, X)) == {"params"}


def test_plain_functions():
    plain = jaxdl.as_model((lambda key, x: {"w": jax.random.normal(key, (x.shape[1],))}, lambda p, x: x @ p["w"]))
    variables = plain.init(KEY, X)
    outputs, state = plain.apply(variables, X, train=True, key=KEY)
    np.testing.assert_allclose(outputs, X @ np.asarray(variables["params"]["w"]), rtol=1e-5)
    assert state == {}


def test_plain_functions_are_given_the_mode_they_ask_for():
    plain = jaxdl.as_model((lambda key, x: {}, lambda p, x, *, train, key: (train, key)))
    assert plain.apply({"params": {}}, X, train=True, key=KEY)[0] == (True, KEY)


def test_a_model_stays_itself():
    model = jaxdl.as_model(Linen())
    assert jaxdl.as_model(model) is model


@pytest.mark.parametrize("thing", [3, (1, 2), "mlp"])
def test_no_model(thing):
    with pytest.raises(TypeError, match=r"model: expected a jaxdl\.Model, a flax\.linen module.*got (int|tuple|str)"):
        jaxdl.as_model(thing)


def test_an_nnx_module_in_place_of_its_factory():
    with pytest.raises(TypeError, match=r"For an NNX module pass what makes it: lambda rngs"):
        jaxdl.as_model(Nnx(nnx.Rngs(0)))


def test_a_factory_that_makes_no_module():
    with pytest.raises(TypeError, match=r"expected a factory that returns a flax\.nnx module; got int"):
        jaxdl.as_model(lambda rngs: 3).init(KEY, X)


def test_every_random_layer_of_an_nnx_model_has_a_stream_of_its_own():
    class Two(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=1)), nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=1))

        def __call__(self, x):
            return self.a(x), self.b(x)

    model = jaxdl.as_model(Two)
    ones = jnp.ones(64)
    (a, b), _ = model.apply(model.init(KEY, ones), ones, train=True, key=KEY)
    assert not np.array_equal(a, b)


def test_a_linen_class_in_place_of_an_instance():
    with pytest.raises(TypeError, match=r"model: expected an instance of a flax\.linen module; got the class Linen"):
        jaxdl.as_model(Linen)
