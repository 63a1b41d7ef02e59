import jax
import numpy as np

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import gradient_flow, per_example_gradient_norms, per_example_gradients
from jaxdl.precision import mixed_precision


def test_diagnostics_and_per_example_tools_run_on_it(digits_like):
    x, y = digits_like[0][:6], digits_like[1][:6]
    model = mixed_precision(jaxdl.models.MLP((8, 6, 10)))
    params = model.init(jax.random.key(0), x)["params"]

    def losses_fn(params, batch):
        return jaxdl.losses.softmax_cross_entropy(model.apply({"params": params}, batch[0])[0], batch[1])

    norms = per_example_gradient_norms(losses_fn, params, (x, y))
    each = per_example_gradients(losses_fn, params, (x, y))
    squares = sum(np.sum(np.square(leaf).reshape(6, -1), 1) for leaf in jax.tree.leaves(each))
    # The norms come from activations and cotangents before the products' outputs are rounded.
    np.testing.assert_allclose(norms, np.sqrt(squares), rtol=2 * 2**-8)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    flow = gradient_flow(objective, params, (x, y))
    assert flow.layers == ("Dense_0", "Dense_1", "Dense_2")
    plain = training.supervised(jaxdl.models.MLP((8, 6, 10)), jaxdl.losses.softmax_cross_entropy)
    full = gradient_flow(plain, params, (x, y))
    np.testing.assert_allclose(flow.weight_gradient, full.weight_gradient, rtol=16 * 2**-9)
