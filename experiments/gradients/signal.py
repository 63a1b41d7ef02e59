"""Where signals and gradients survive: depth, activation and start, and the border between order and chaos.

`python -m experiments signal`    30 layers of 128 units against mean-field theory; about a minute on two cores
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients import signal_figures as figures
from experiments.gradients import signal_networks as networks
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "ReLU": jax.nn.relu}
ALIKE = 0.6  # cosine of the inputs


def run(run: Run) -> None:
    """The map, the lectures' cases in it, the random walk of the error signal, and the border of tanh."""
    judge_map(run)
    judge_glorot(run)
    judge_walk(run)
    judge_border(run)


def starts(width: int) -> dict[str, float]:
    """sigma_w of each start for square layers, where those of LeCun and Glorot are the same."""
    return {"N(0, 0.01^2)": 0.01 * np.sqrt(width), "LeCun, Glorot": 1.0, "He": np.sqrt(2), "N(0, 1)": np.sqrt(width)}


def judge_map(run: Run) -> None:
    """Growth of signals and of error signals a layer, of every pair, against the theory; T25 and X20 on the way."""
    width, depth = run.settings["width"], run.settings["depth"]
    x = networks.alike_inputs(8, width, ALIKE)
    sigmas = starts(width)
    pairs = [(sigma, 0.0) for sigma in sigmas.values()]
    measured = {
        name: networks.measure(function, pairs, x, width=width, depth=depth, seeds=run.seeds)
        for name, function in ACTIVATIONS.items()
    }
    tolerance = 4 / width

    def theory(scale: float) -> np.ndarray:
        values = []
        for function in ACTIVATIONS.values():
            for sigma in sigmas.values():
                curves = networks.expected(
                    function, scale * sigma, 0.0, depth=depth, length=1.0, correlation=networks.mean_cosine(x)
                )
                values += [growth(curves.log_square), growth(curves.log_error)]
        return np.array(values)

    names, columns = [], []
    for name, found in measured.items():
        for i, start in enumerate(sigmas):
            for what, rows in (("q", found.log_square[:, i]), ("error", found.log_error[:, i])):
                names.append(f"{what} of {name} with {start}")
                columns.append(growth(rows))
                for seed, value in enumerate(columns[-1].tolist()):
                    run.record(quantity=f"ln_growth_{what}", activation=name, start=start, seed=seed, value=value)
    rule = f"ln of the theory's factor in the interval of the mean over draws, jointly 95 %, widened by {tolerance:.3g}"
    run.find(
        f"mean-field theory says by what factor a layer changes signals and error signals, over {depth} layers, for "
        f"all pairs of {len(ACTIVATIONS)} activations and {len(sigmas)} starts",
        rule,
        rules.matches(np.stack(columns, 1), theory(1.0), names, tolerance=tolerance),
    )
    run.find(
        "negative control, the rule must fail: weights of 1.21 times the variance, in the theory alone",
        f"must fail: {rule}",
        rules.matches(np.stack(columns, 1), theory(1.1), names, tolerance=tolerance),
        control=True,
        remark="saturated layers do not notice",
    )
    judge_saturation(run, measured["sigmoid"], list(sigmas))
    judge_amplitude(run, measured["ReLU"], list(sigmas))
    caption = (
        "Left: log10 of the root mean square of pre-activations by layer, relative to the first. Right: log10 of the "
        "norm of the error signal that arrives, relative to the last layer. Means over draws; blue vanishes, red "
        "explodes, white is healthy."
    )
    run.figure("signal_map", figures.depth_map(measured, list(sigmas)), caption)


def growth(rows: np.ndarray) -> np.ndarray:
    """Mean difference of two neighbouring layers, from the input's side to the output's."""
    return (rows[..., -1] - rows[..., 0]) / (rows.shape[-1] - 1)


def judge_saturation(run: Run, sigmoid: networks.Measured, names: list[str]) -> None:
    """T25: with weights N(0, 1) a sigmoid network starts in saturation."""
    for name in ("N(0, 1)", "LeCun, Glorot"):
        share = sigmoid.saturation[:, names.index(name), 1:].min(1)
        for seed, value in enumerate(share.tolist()):
            run.record(quantity="least_saturated_layer", start=name, seed=seed, value=value)
        control = name != "N(0, 1)"
        run.find(
            f"sigmoids with {name} weights: at least half of the derivatives of every layer are below a fifth of the "
            "largest" + (": negative control, the rule must fail" if control else ""),
            ("must fail: " if control else "")
            + "share of |derivative| < 0.05 at least 0.5 from layer 2 on, every draw",
            rules.every_seed(share >= 0.5),
            control=control,
            remark=f"least share {share.min():.2f}",
            row="X15",
        )


def judge_amplitude(run: Run, relu: networks.Measured, names: list[str]) -> None:
    """X20: Xavier's start loses a factor sqrt(2) of amplitude a ReLU layer, He's none."""
    depth = relu.log_square.shape[-1]
    predicted = -0.5 * (depth - 1) * np.log(2)
    spread = 0.5 * np.sqrt(5 * (depth - 1) / run.settings["width"])
    for name in ("LeCun, Glorot", "He"):
        amplitude = 0.5 * (relu.log_square[:, names.index(name), -1] - relu.log_square[:, names.index(name), 0])
        for seed, value in enumerate(amplitude.tolist()):
            run.record(quantity="ln_amplitude", start=name, seed=seed, value=value)
        control = name == "He"
        run.find(
            f"ReLU with {name}'s start: the amplitude falls to {np.exp(predicted):.2g} over {depth} layers"
            + (": negative control, the rule must fail" if control else ""),
            ("must fail: " if control else "")
            + "ln of the amplitude of the last layer over the first, mean over draws, within ln 3 of that",
            rules.mean_within(amplitude, predicted - np.log(3), predicted + np.log(3)),
            published=f"2^{-(depth - 1) / 2:g}",
            control=control,
            remark=f"geometric mean {np.exp(amplitude.mean()):.2g}; one draw spreads by {spread:.2g} in theory",
            row="X20",
        )


def judge_glorot(run: Run) -> None:
    """X15: the variance of back-propagated error signals in five tanh layers on images."""
    x, width = networks.images(run.splits, 32), run.settings["glorot_width"]
    cases = {"standard": (np.sqrt(1 / 3), 0.0), "normalised": (1.0, 0.0)}
    found = networks.measure(jnp.tanh, list(cases.values()), x, width=width, depth=5, seeds=run.seeds)
    ratios = np.exp(found.log_variance[..., 0] - found.log_variance[..., -1])
    for i, name in enumerate(cases):
        for seed, value in enumerate(ratios[:, i].tolist()):
            run.record(quantity="error_variance_bottom_to_top", start=name, seed=seed, value=value)
    standardized = (x - x.mean()) / x.std()
    harder = networks.measure(jnp.tanh, [(1.0, 0.0)], standardized, width=width, depth=5, seeds=run.seeds)
    bent = np.exp(harder.log_variance[..., 0] - harder.log_variance[..., -1]).mean()
    run.note(
        f"Glorot's start counts on slopes near 1. With the same images at mean 0 and variance 1 the pre-activations "
        f"bend tanh more, and the variance of the error signal falls to {bent:.2g} over the five layers."
    )
    run.find(
        "five tanh layers, standard start: the variance of the error signal falls by more than ten on its way back",
        "ratio of the first layer's to the fifth's below 0.1, in every draw",
        rules.every_seed(ratios[:, 0] < 0.1),
        published="(1/3)^4 = 0.012 for linear units",
        remark=f"mean {ratios[:, 0].mean():.3g}",
        row="X15",
    )
    for i, name in ((1, "normalised"), (0, "standard")):
        run.find(
            f"five tanh layers, {name} start: the variance of the error signal is kept"
            + (": negative control, the rule must fail" if i == 0 else ""),
            ("must fail: " if i == 0 else "") + "mean ratio of the first layer's to the fifth's in [0.3, 2]",
            rules.mean_within(ratios[:, i], 0.3, 2.0),
            published="1 for linear units",
            control=i == 0,
            row="X15",
        )


def judge_walk(run: Run) -> None:
    """T50: the log-norm of the error signal of one example is a random walk over the layers."""
    width, depth, draws = run.settings["walk_width"], run.settings["walk_depth"], run.settings["walk_draws"]
    x = networks.alike_inputs(1, width, 0.0)
    steps = depth - 1
    predicted = {"linear": np.sqrt(steps / (2 * width)), "ReLU": 0.5 * np.sqrt(5 * steps / (width - 4))}
    for name, function, sigma in (("linear", _identity, 1.0), ("ReLU", jax.nn.relu, np.sqrt(2))):
        found = networks.measure(function, [(sigma, 0.0)], x, width=width, depth=depth, seeds=run.seeds * draws)
        logs = 0.5 * (found.log_error[:, 0, 0] - found.log_error[:, 0, -1]).reshape(run.seeds, draws)
        deviation = logs.std(1, ddof=1) / predicted[name]
        for seed, value in enumerate(deviation.tolist()):
            run.record(quantity="deviation_of_log_norm", units=name, seed=seed, value=value)
        run.find(
            f"{name} units: over {steps} layers of {width} the log-norm of the error signal spreads by "
            f"{predicted[name]:.3g}",
            f"deviation of {draws} draws over the theory's, mean over seeds, in [0.9, 1.1]",
            rules.mean_within(deviation, 0.9, 1.1),
            published="sqrt(D/(2N))" if name == "linear" else "sqrt(5D/(N - 4))/2",
            row="X25",
        )
        if name == "linear":
            run.find(
                "negative control, the rule must fail: a variance of 1/(2N) of ln |W d|^2, as a transcription prints",
                f"must fail: deviation of {draws} draws over that, mean over seeds, in [0.9, 1.1]",
                rules.mean_within(2 * deviation, 0.9, 1.1),
                control=True,
                remark="1/(2N) is the variance of the log of the norm, not of its square",
                row="X25",
            )


def _identity(x: jax.Array) -> jax.Array:
    return x


def judge_border(run: Run) -> None:
    """tanh: where the error signal neither vanishes nor explodes, in the plane of sigma_w and sigma_b."""
    width, depth = run.settings["width"], run.settings["depth"]
    sigma_w, sigma_b = np.array(run.settings["sigma_w"]), np.array(run.settings["sigma_b"])
    pairs = [(w, b) for b in sigma_b for w in sigma_w]
    x = networks.alike_inputs(8, width, ALIKE)
    shape, cosine = (len(sigma_b), len(sigma_w)), networks.mean_cosine(x)
    found = networks.measure(jnp.tanh, pairs, x, width=width, depth=depth, seeds=run.seeds)
    curves = [networks.expected(jnp.tanh, *pair, depth=depth, length=1.0, correlation=cosine) for pair in pairs]

    def factor(log_error: np.ndarray) -> np.ndarray:
        # Behind the first third lengths are near their fixed point.
        rows = log_error[..., depth // 3 :]
        return -growth(rows).reshape(*rows.shape[:-2], *shape)

    log_chi, theory = factor(found.log_error), factor(np.stack([curve.log_error for curve in curves]))
    for seed, values in enumerate(log_chi):
        listed = dict(sigma_w=sigma_w.tolist(), sigma_b=sigma_b.tolist(), values=values.tolist())
        run.record(quantity="ln_chi", seed=seed, **listed)
    borders = np.array([[crossing(sigma_w, row) for row in draw] for draw in log_chi])
    expected = np.array([crossing(sigma_w, row) for row in theory])
    names = [f"sigma_b = {b:g}" for b in sigma_b]
    tolerance = 8 / width
    rule = f"the theory's sigma_w in the interval of the mean over draws, jointly 95 %, widened by {tolerance:.3g}"
    run.find(
        "tanh: error signals keep their size on a border of order and chaos, where mean-field theory of the same depth "
        "has it",
        rule,
        rules.matches(borders, expected, names, tolerance=tolerance),
        published="sigma_w = 1 at sigma_b = 0 for infinite depth (Poole et al. 2016)",
    )
    run.find(
        "negative control, the rule must fail: the border of a linear network, sigma_w = 1 whatever the biases",
        f"must fail: {rule}",
        rules.matches(borders, np.ones_like(expected), names, tolerance=tolerance),
        control=True,
    )
    clear = np.abs(theory) > 8 / width
    run.find(
        "on either side of the border the error signal does what the theory says: it vanishes in order and explodes "
        "in chaos",
        f"right sign of ln of the factor at all {int(clear.sum())} points where the theory's is larger than "
        f"{8 / width:.2g}, in every draw",
        rules.every_seed((np.sign(log_chi) == np.sign(theory)[None])[:, clear].all(1)),
    )
    line = networks.critical_line(jnp.tanh, np.geomspace(1e-4, 3.0, 60))
    measured_cosine = found.correlation[..., -1].reshape(-1, *shape)
    predicted_cosine = np.array([curve.correlation[-1] for curve in curves]).reshape(shape)
    picture = figures.border(sigma_w, sigma_b, log_chi, borders, line, measured_cosine, predicted_cosine)
    caption = (
        "tanh networks. Left: ln of the factor by which a layer changes the mean square of the error signal, mean over "
        "draws; line: the border of mean-field theory for infinite depth; points: where the measured factor is 1, one "
        f"a draw. Right: cosine of two examples after {depth} layers, one point a draw, and in theory."
    )
    run.figure("order_and_chaos", picture, caption)


def crossing(sigma_w: np.ndarray, log_chi: np.ndarray) -> float:
    """The first sigma_w at which a broken line through these points rises through 0; the last one if it never does."""
    above = np.flatnonzero((log_chi[1:] > 0) & (log_chi[:-1] <= 0))
    if not len(above):
        return float(sigma_w[-1])
    i = above[0]
    share = -log_chi[i] / (log_chi[i + 1] - log_chi[i])
    return float(sigma_w[i] + share * (sigma_w[i + 1] - sigma_w[i]))


_SMALL: Mapping[str, Any] = {
    "seeds": 5, "width": 96, "depth": 6, "glorot_width": 64, "walk_width": 50, "walk_depth": 4, "walk_draws": 100,
    "sigma_w": (0.7, 1.0, 1.3, 1.6, 2.0), "sigma_b": (0.0, 0.3),
}  # fmt: skip
_DEFAULT: Mapping[str, Any] = {
    "seeds": 10, "width": 128, "depth": 30, "glorot_width": 500, "walk_width": 64, "walk_depth": 20, "walk_draws": 100,
    "sigma_w": (0.6, 0.8, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.1, 2.5), "sigma_b": (0.0, 0.1, 0.2, 0.35, 0.5),
}  # fmt: skip

EXPERIMENT = Experiment(
    name="signal",
    lecture="Misra L3; McKay 2017; Fornax 2017",
    claim="signals must flow both ways: where they vanish and explode, by depth, activation and start",
    setup="fully connected layers of equal width without training, in float64, Gaussian weights of variance "
    "sigma_w^2 / fan_in and biases of deviation sigma_b (0 but for the border), a random linear loss; all measured by "
    "jaxdl.diagnostics.signal_propagation. Inputs: eight normal vectors of cosine 0.6; for Glorot's five layers 32 "
    "images of the data set, pixels in [0, 1]. Theory: jaxdl.diagnostics.depth_curves, error_factor and mean_field.",
    source="Glorot and Bengio 2010; He et al. 2015; Sussillo and Abbott 2014; Poole et al. 2016; Schoenholz et al. "
    "2017",
    seconds={"digits": 60, "mnist": 15},
    presets={"smoke": _SMALL, "default": _DEFAULT, "full": {**_DEFAULT, "seeds": 20, "width": 256}},
    run=run,
    rows=("X15", "X20", "X25"),
)
