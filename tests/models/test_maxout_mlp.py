import jax
import numpy as np
import pytest

import jaxdl
from jaxdl.models import MaxoutMLP


def test_outputs_are_maxima_over_pieces():
    module = MaxoutMLP((4, 3), pieces=5)
    x = np.random.RandomState(0).randn(6, 2, 1).astype(np.float32)
    params = module.init(jax.random.key(0), x)["params"]
    z = x.reshape(6, 2) @ np.asarray(params["Maxout_0"]["Dense_0"]["kernel"])
    hidden = z.reshape(6, 4, 5).max(-1)
    np.testing.assert_allclose(module.apply({"params": params}, x), hidden @ params["Dense_0"]["kernel"], rtol=1e-5)


def test_the_network_of_the_paper_has_as_many_parameters():
    shapes = jax.eval_shape(MaxoutMLP((240, 240, 10), pieces=5).init, jax.random.key(0), np.ones((1, 784), np.float32))
    expected = 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 * 10 + 10
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == expected == 1_233_610


def test_dropout_is_for_training():
    model = jaxdl.as_model(MaxoutMLP((8, 2), dropout_rate=0.5, input_dropout_rate=0.2))
    x = np.ones((3, 4), np.float32)
    variables = model.init(jax.random.key(0), x)
    evaluated = [model.apply(variables, x, key=jax.random.key(seed))[0] for seed in range(2)]
    trained = [model.apply(variables, x, train=True, key=jax.random.key(seed))[0] for seed in range(2)]
    np.testing.assert_array_equal(*evaluated)
    assert not np.allclose(*trained)


def test_sizes_that_make_no_network():
    with pytest.raises(ValueError, match="sizes: expected at least one positive number of units; got"):
        MaxoutMLP(()).init(jax.random.key(0), np.ones((1, 4), np.float32))
