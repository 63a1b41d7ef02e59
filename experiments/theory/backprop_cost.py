"""Back-propagation: its equations against automatic and finite differences, what it costs, and why chains vanish.

`python -m experiments backprop_cost`    random networks and inputs; the data set is not used
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.building_blocks.shifted_images import small_cnn
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.theory.backpropagation import finite_differences, manual_backprop
from experiments.theory.sigmoid_chain import judge_chain

BATCH, PIXELS = 32, 28
WIDTHS = (4, 8, 16, 32, 64)  # of the networks that finite differences are counted on
NETWORKS: Mapping[str, Any] = {
    "MLP 784-30-10": jaxdl.models.MLP((30, 10)),
    "MLP 784-512-512-10": jaxdl.models.MLP((512, 512, 10)),
    "MLP 784-100-100-100-100-10": jaxdl.models.MLP((100,) * 4 + (10,)),
    "CNN 8-16": small_cnn(8, 16),
    "CNN 32-64": small_cnn(32, 64),
}


def run(run: Run) -> None:
    """The equations, the cost, the chain."""
    judge_equations(run)
    judge_cost(run)
    judge_chain(run)
    run.note("Networks and inputs are drawn here: --dataset changes nothing.")


def judge_equations(run: Run) -> None:
    """T06, T10: BP1 to BP4 against `jax.grad` and central differences, float64."""
    sizes = (6, 5, 4, 3)
    deviations = {"grad": [], "differences": [], "without slope": []}
    with double_precision():
        for seed in range(run.seeds):
            draws = np.random.RandomState(seed)
            layers = [
                {"kernel": jnp.asarray(draws.randn(n, m)), "bias": jnp.asarray(draws.randn(m))}
                for n, m in itertools.pairwise(sizes)
            ]
            x, labels = jnp.asarray(draws.randn(7, sizes[0])), jnp.asarray(draws.randint(0, sizes[-1], 7))
            vector, unravel = ravel_pytree(layers)
            for activation in (nn.sigmoid, nn.relu):
                loss = _cross_entropy(unravel, x, labels, activation)
                ours = ravel_pytree(manual_backprop(layers, x, labels, activation=activation))[0]
                theirs, differences = jax.grad(loss)(vector), finite_differences(loss, vector, step=1e-5)
                scale = float(jnp.max(jnp.abs(theirs)))
                deviations["grad"].append(float(jnp.max(jnp.abs(ours - theirs))) / scale)
                deviations["differences"].append(float(jnp.max(jnp.abs(ours - differences))) / scale)
            # The control differentiates the network as if sigma' were 1.
            straight = ravel_pytree(manual_backprop(layers, x, labels, activation=_with_slope_one))[0]
            sigmoid = jax.grad(_cross_entropy(unravel, x, labels, nn.sigmoid))(vector)
            largest = float(jnp.max(jnp.abs(sigmoid)))
            deviations["without slope"].append(float(jnp.max(jnp.abs(straight - sigmoid))) / largest)
            of_seed = {name: max(each[-2:]) for name, each in deviations.items() if name != "without slope"}
            run.record(quantity="equations", seed=seed, **of_seed, without_slope=deviations["without slope"][-1])
    published = "Nielsen 2015, equations BP1 to BP4"
    rule = "largest deviation over the largest entry, sigmoid and ReLU networks of three layers, float64, at most %g"
    run.find(
        "the equations of back-propagation give what automatic differentiation gives", rule % 1e-12,
        rules.exact(max(deviations["grad"]), 0.0, 1e-12), published=published,
    )  # fmt: skip
    run.find(
        "and what finite differences give", rule % 1e-7, rules.exact(max(deviations["differences"]), 0.0, 1e-7),
        remark="central differences with h = 1e-5; a ReLU's kink within h of a pre-activation would show",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: BP2 without its factor sigma'(z)", "must fail: " + rule % 1e-7,
        rules.exact(min(deviations["without slope"]), 0.0, 1e-7), control=True,
    )  # fmt: skip


@jax.custom_jvp
def _with_slope_one(z: jax.Array) -> jax.Array:
    return nn.sigmoid(z)


_with_slope_one.defjvps(lambda tangent, value, z: tangent)


def _cross_entropy(unravel: Any, x: jax.Array, labels: jax.Array, activation: Any) -> Callable[[jax.Array], jax.Array]:
    def loss(vector: jax.Array) -> jax.Array:
        *hidden, last = unravel(vector)
        a = x
        for layer in hidden:
            a = activation(a @ layer["kernel"] + layer["bias"][None, :])
        logits = a @ last["kernel"] + last["bias"][None, :]
        return jnp.mean(jaxdl.losses.softmax_cross_entropy(logits, labels))

    return loss


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of the program by XLA's own count."""
    analysis: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return float(analysis["flops"])


def judge_cost(run: Run) -> None:
    """T07, S11."""
    x, labels = jnp.ones((BATCH, PIXELS, PIXELS, 1)), jnp.zeros(BATCH, jnp.int32)
    costs = {name: _costs(network, x, labels) for name, network in NETWORKS.items()}
    whole = {name: cost["and inputs"] / cost["forward"] for name, cost in costs.items()}
    params = {name: cost["parameters"] / cost["forward"] for name, cost in costs.items()}
    rule = "operations of loss and gradient over those of the loss, by XLA's count, within %s for every network"
    claim = "loss and gradient of parameters and inputs cost three forward passes: one forward, two backward"
    run.find(
        claim, rule % "[2.8, 3.2]", rules.exact(_farthest(whole, 3.0), 3.0, 0.2),
        published="two passes (lecture); 3 (Griewank and Walther 2008: at most 4)",
        remark="S11: the lecture's two passes leave the forward one out, or the two products of every layer on the way "
        "back",
    )  # fmt: skip
    run.find(
        "without the gradient of the inputs, which training does not need, between two and three",
        rule % "[2, 3.05]", rules.exact(_farthest(params, 2.525), 2.525, 0.525),
        remark="; ".join(f"{name}: {ratio:.2f}" for name, ratio in params.items()),
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the lecture's two passes, for parameters and inputs",
        "must fail: " + rule % "[1.8, 2.2]", rules.exact(_farthest(whole, 2.0), 2.0, 0.2), control=True,
    )  # fmt: skip
    small = {width: _differences_cost(width) for width in WIDTHS}
    counts = np.array([cost["count"] for cost in small.values()])
    slopes = {
        way: float(np.polyfit(np.log(counts), np.log([cost[way] / cost["forward"] for cost in small.values()]), 1)[0])
        for way in ("differences", "reverse")
    }
    rule = "slope of log(cost over that of one forward pass) against log(number of parameters) within 0.05 of %d"
    run.find(
        "finite differences cost forward passes in proportion to the number of parameters", rule % 1,
        rules.exact(slopes["differences"], 1.0, 0.05), published="two forward passes a parameter",
    )  # fmt: skip
    run.find("back-propagation costs the same few, however many there are", rule % 0,
             rules.exact(slopes["reverse"], 0.0, 0.05))  # fmt: skip
    run.find(
        "negative control, the rule must fail: finite differences in place of back-propagation",
        "must fail: " + rule % 0, rules.exact(slopes["differences"], 0.0, 0.05), control=True,
    )  # fmt: skip
    run.table(
        "operations over those of one forward pass, and seconds (median of 20 calls)",
        ["network", "parameters", "with parameters' gradient", "and inputs'", "two a parameter", "seconds, ratio"],
        [
            [
                name, f"{cost['count']:,.0f}", f"{params[name]:.2f}", f"{whole[name]:.2f}", f"{2 * cost['count']:,.0f}",
                f"{cost['seconds']:.2f}",
            ]
            for name, cost in costs.items()
        ],
    )  # fmt: skip
    run.note(
        "The ratio of the seconds of loss and gradient to those of the loss goes by the machine and what else it "
        "does; it is not judged."
    )
    caption = "Cost of a gradient in forward passes against the number of parameters, by XLA's count of operations."
    run.figure("cost", cost_picture(small, costs, params), caption)


def _farthest(ratios: Mapping[str, float], centre: float) -> float:
    return max(ratios.values(), key=lambda ratio: abs(ratio - centre))


def _costs(network: Any, x: jax.Array, labels: jax.Array) -> dict[str, float]:
    model = jaxdl.as_model(network)
    params = model.init(jax.random.key(0), x)["params"]

    def loss(params: Any, x: jax.Array) -> jax.Array:
        return jnp.mean(jaxdl.losses.softmax_cross_entropy(model.apply({"params": params}, x)[0], labels))

    forward, backward = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    seconds = [_seconds(lambda fn=fn: fn(params, x)) for fn in (forward, backward)]
    return {
        "forward": operations(loss, params, x),
        "parameters": operations(jax.value_and_grad(loss), params, x),
        "and inputs": operations(jax.value_and_grad(loss, (0, 1)), params, x),
        "count": jaxdl.tree.num_entries(params),
        "seconds": seconds[1] / seconds[0],
    }


def _seconds(call: Callable[[], Any], repeats: int = 20) -> float:
    jax.block_until_ready(call())
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _differences_cost(width: int) -> dict[str, float]:
    """A network width-width-width without a batch to speak of: costs by width alone."""
    model = jaxdl.as_model(jaxdl.models.MLP((width, width)))
    x, labels = jnp.ones((BATCH, width)), jnp.zeros(BATCH, jnp.int32)
    vector, unravel = ravel_pytree(model.init(jax.random.key(0), x)["params"])

    def loss(vector: jax.Array) -> jax.Array:
        outputs = model.apply({"params": unravel(vector)}, x)[0]
        return jnp.mean(jaxdl.losses.softmax_cross_entropy(outputs, labels))

    return {
        "count": len(vector),
        "forward": operations(loss, vector),
        "reverse": operations(jax.value_and_grad(loss), vector),
        "differences": operations(lambda vector: finite_differences(loss, vector, step=1e-3), vector),
    }


def cost_picture(
    small: Mapping[int, Mapping[str, float]], costs: Mapping[str, Mapping[str, float]], ratios: Mapping[str, float]
) -> Figure:
    """Costs in forward passes, both scales logarithmic."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axis = figure.subplots()
    counts = [cost["count"] for cost in small.values()]
    for way, label in (("differences", "central differences"), ("reverse", "back-propagation")):
        axis.loglog(counts, [cost[way] / cost["forward"] for cost in small.values()], "o-", label=label)
    for i, name in enumerate(costs):
        axis.loglog(costs[name]["count"], ratios[name], "s", color=f"C{i + 2}", label=name)
    axis.axhline(3, color="black", linestyle=":", label="3 forward passes")
    axis.set(xlabel="parameters", ylabel="cost of loss and gradient, in forward passes")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    name="backprop_cost",
    lecture="McKay, Allauzen, ECE521, Fornax",
    claim="back-propagation gives the gradient for about three forward passes, finite differences for two a parameter; "
    "a chain of sigmoids multiplies factors of at most w/4",
    setup="Equations: networks 6-5-4-3, seven examples, N(0, 1) weights, float64. Cost: XLA's count of the "
    "operations of the traced program, batches of 32 images of 28 x 28 pixels, mean cross-entropy; finite differences "
    "are central, on networks with two layers of 4 to 64 units. Chain: four sigmoid units, N(0, 1) weights and biases, "
    "C = a_4.",
    source="Nielsen 2015, chapters 2 and 5; Griewank and Walther 2008",
    seconds={"digits": 10, "mnist": 10},
    presets={name: {"seeds": 5 if name != "full" else 50} for name in ("smoke", "default", "full")},
    run=run,
    rows=("X04",),
)
