"""Gradients through the turns of scans against powers of the recurrent matrix, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.diagnostics import GradientsThroughTime, NotApplicable, Thresholds, gradients_through_time
from tests.diagnostics import networks

STEPS = 7
X = np.random.RandomState(0).randn(4, STEPS, 3).astype(np.float32)
W = np.random.RandomState(1).randn(3, 3).astype(np.float32)
C = np.random.RandomState(2).randn(3).astype(np.float32)


def recurrent(phi, *, reverse=False):
    def losses(params, x):
        def turn(h, x):
            h = phi(h @ params["cell"]["w"] + x)
            return h, None

        return jax.lax.scan(turn, jnp.zeros((len(x), 3)), jnp.swapaxes(x, 0, 1), reverse=reverse)[0] @ C

    return losses


def linear_gradients(w):
    """|dC/dh_t| = |C (W^T)^(T - t)| / sqrt(batch) for the mean over the examples."""
    return [np.linalg.norm(C @ np.linalg.matrix_power(w.T, STEPS - 1 - t)) / np.sqrt(len(X)) for t in range(STEPS)]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_linear_recurrence_against_powers_of_its_matrix(reverse):
    found = gradients_through_time(recurrent(lambda z: z, reverse=reverse), {"cell": {"w": W}}, X)
    assert found.cells == ("cell",)
    np.testing.assert_allclose(found.gradient[0], linear_gradients(W.astype(np.float64)), rtol=1e-4)
    # A rotation times 1.3 stretches every direction alike, whichever was drawn.
    rotation = 1.3 * np.linalg.qr(W)[0]
    grown = gradients_through_time(recurrent(lambda z: z, reverse=reverse), {"cell": {"w": rotation}}, X)
    np.testing.assert_allclose(grown.log_growth[0], np.log(1.3) * np.arange(STEPS)[::-1], rtol=1e-4, atol=1e-6)


def test_far_back_the_growth_per_step_is_the_spectral_radius():
    symmetric = (W + W.T) / 2
    radius = np.abs(np.linalg.eigvalsh(symmetric)).max()
    long = np.zeros((1, 60, 3), np.float32)
    found = gradients_through_time(recurrent(lambda z: z), {"cell": {"w": symmetric}}, long)
    np.testing.assert_allclose(-np.diff(found.log_growth[0])[:20], np.log(radius), rtol=1e-3)


def test_a_curved_recurrence_of_one_unit_against_the_chain_rule():
    w, x = 1.7, 0.1 * np.random.RandomState(0).randn(1, STEPS, 1).astype(np.float32)

    def losses(params, x):
        turn = lambda h, x: (jnp.tanh(h @ params["w"] + x), None)  # noqa: E731
        return jax.lax.scan(turn, jnp.zeros((1, 1)), jnp.swapaxes(x, 0, 1))[0][:, 0]

    states, h = [], 0.0
    for value in x[0, :, 0].astype(np.float64):
        h = np.tanh(h * w + value)
        states.append(h)
    factors = w * (1 - np.square(states))
    expected = [np.prod(factors[t + 1 :]) for t in range(STEPS)]
    found = gradients_through_time(losses, {"w": jnp.full((1, 1), w)}, x)
    np.testing.assert_allclose(found.gradient[0], expected, rtol=1e-4)
    np.testing.assert_allclose(np.exp(found.log_growth[0]), expected, rtol=1e-4)


def test_outputs_of_all_steps_join_the_gradient_and_not_the_growth():
    def by_turn(params, x):
        def turn(h, x):
            h = h @ params["w"] + x
            return h, h

        return jax.lax.scan(turn, jnp.zeros((len(x), 3)), jnp.swapaxes(x, 0, 1))[1].sum(0) @ C

    found = gradients_through_time(by_turn, {"w": W}, X)
    powers = [C @ np.linalg.matrix_power(W.T.astype(np.float64), k) for k in range(STEPS)]
    expected = [np.linalg.norm(np.sum(powers[: STEPS - t], 0)) / 2 for t in range(STEPS)]
    np.testing.assert_allclose(found.gradient[0], expected, rtol=1e-4)
    last = gradients_through_time(recurrent(lambda z: z), {"cell": {"w": W}}, X)
    np.testing.assert_allclose(found.log_growth[0], last.log_growth[0], rtol=1e-4, atol=1e-6)


def test_an_exploding_recurrence_is_named_though_the_loss_is_not_a_number():
    losses = recurrent(lambda z: z)
    found = gradients_through_time(
        lambda p, x: jnp.log(-jnp.square(losses(p, x))), {"cell": {"w": 3 * jnp.eye(3)}}, jnp.ones((2, 200, 3))
    )
    np.testing.assert_allclose(found.log_growth[0][0], 199 * np.log(3), rtol=1e-4)
    sentence = found.verdict()
    assert "in the recurrence cell a gradient grows x3 per step back, x8.853e+94 over 199 steps: exploding" in sentence
    assert sentence.endswith("the gradient of the loss is not finite there")


def test_the_cells_of_flax():
    lstm = gradients_through_time(*networks.rnn()[:3])
    assert lstm.cells == ("lstm",)
    tokens = gradients_through_time(*networks.seq2seq()[:3])
    assert tokens.cells == ("encoder", "decoder")
    assert [len(values) for values in tokens.gradient] == [5, 4]

    # Against a shift of the encoder's last state by hand: it starts the decoder.
    losses, params, batch, _ = networks.seq2seq()

    def shifted(shift):
        def add(next_fn, args, kwargs, context):
            result = next_fn(*args, **kwargs)
            if isinstance(context.module, nn.RNN) and context.module.return_carry:
                return result[0] + shift, result[1]
            return result

        with nn.intercept_methods(add):
            return losses(params, batch).mean()

    np.testing.assert_allclose(tokens.gradient[0][-1], jnp.linalg.norm(jax.grad(shifted)(jnp.zeros((3, 6)))), rtol=1e-4)


def test_scans_that_are_no_recurrence():
    stack = jnp.stack([W] * 3)
    with pytest.raises(NotApplicable, match="expected a model with a recurrence, a scan in which weights meet what"):
        gradients_through_time(
            lambda p, x: jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x[:, 0], p)[0].sum(-1), stack, X
        )

    def summed(w, x):
        total = jax.lax.scan(lambda s, part: (s + (part @ w).sum(-1), None), jnp.zeros(4), jnp.swapaxes(x, 0, 1))[0]
        return total

    with pytest.raises(NotApplicable):
        gradients_through_time(summed, W, X)
    with pytest.raises(NotApplicable):
        gradients_through_time(*networks.mlp()[:3])


def test_a_name_without_a_common_path():
    def losses(p, x):
        turn = lambda h, x: (jnp.tanh(h @ p["hh"]["w"] + x @ p["xh"]["w"]), None)  # noqa: E731
        return jax.lax.scan(turn, jnp.zeros((4, 3)), jnp.swapaxes(x, 0, 1))[0].sum(-1)

    assert gradients_through_time(losses, {"hh": {"w": W}, "xh": {"w": W}}, X).cells == ("hh",)


def test_what_else_a_scan_may_carry():
    """A counter, a state that stays as it is, and one that stands twice among the carried ones."""

    def losses(p, x):
        def turn(carry, x):
            step, scale, h, _ = carry
            h = scale * h @ p["w"] + x
            return (step + 1, scale, h, h), None

        start = (0, jnp.ones(()), jnp.zeros((4, 3)), jnp.zeros((4, 3)))
        return jax.jit(jax.lax.scan, static_argnums=0)(turn, start, jnp.swapaxes(x, 0, 1))[0][2] @ C

    found = gradients_through_time(losses, {"w": W}, X)
    np.testing.assert_allclose(found.gradient[0], linear_gradients(W.astype(np.float64)), rtol=1e-4)
    # A rotation times 1.3, from the last state but one on; what the last step makes of u depends on where u stands.
    turned = gradients_through_time(losses, {"w": 1.3 * np.linalg.qr(W)[0]}, X)
    np.testing.assert_allclose(-np.diff(turned.log_growth[0])[:-1], np.log(1.3), rtol=1e-4)


def test_a_state_that_is_carried_for_two_turns():
    """h_t = a h_(t-1) + b h_(t-2): the growth is that of the companion matrix, whose radius is its largest root."""
    a, b = 0.5, 0.9

    def losses(p, x):
        turn = lambda carry, x: ((carry[0] @ p["a"] + carry[1] @ p["b"] + x, carry[0]), None)  # noqa: E731
        zero = jnp.zeros((1, 1))
        return jax.lax.scan(turn, (zero, zero), jnp.swapaxes(x, 0, 1))[0][0][:, 0]

    found = gradients_through_time(
        losses, {"a": jnp.full((1, 1), a), "b": jnp.full((1, 1), b)}, np.zeros((1, 80, 1), np.float32)
    )
    radius = np.abs(np.linalg.eigvals([[a, b], [1, 0]])).max()
    np.testing.assert_allclose(-np.diff(found.log_growth[0])[:20], np.log(radius), rtol=1e-3)
    impulse = [1.0, a]
    for _ in range(78):
        impulse.append(a * impulse[-1] + b * impulse[-2])
    np.testing.assert_allclose(found.gradient[0][::-1], impulse, rtol=1e-4)


def test_a_scan_in_reverse_is_one_of_the_reversed_sequence():
    there = gradients_through_time(recurrent(jnp.tanh), {"cell": {"w": W}}, X)
    back = gradients_through_time(recurrent(jnp.tanh, reverse=True), {"cell": {"w": W}}, X[:, ::-1])
    np.testing.assert_allclose(back.gradient[0], there.gradient[0], rtol=1e-4)
    np.testing.assert_allclose(back.log_growth[0], there.log_growth[0], rtol=1e-4, atol=1e-6)


def test_vmap_and_bfloat16():
    losses = recurrent(jnp.tanh)
    many = jax.vmap(lambda w: gradients_through_time(losses, {"cell": {"w": w}}, X))(jnp.stack([W, W / 2]))
    one = gradients_through_time(losses, {"cell": {"w": W / 2}}, X)
    np.testing.assert_allclose(many[1].gradient[0], one.gradient[0], rtol=1e-4)
    np.testing.assert_allclose(many[1].log_growth[0], one.log_growth[0], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"through_time: expected one measurement, .* got shape \(2, 7\)"):
        many.verdict()

    def half_losses(p, x):
        turn = lambda h, x: (h @ p["w"] + x, None)  # noqa: E731
        start = jnp.zeros((4, 3), jnp.bfloat16)
        return jax.lax.scan(turn, start, jnp.swapaxes(x, 0, 1))[0].astype(jnp.float32) @ C

    half = gradients_through_time(half_losses, {"w": jnp.asarray(W, jnp.bfloat16)}, jnp.asarray(X, jnp.bfloat16))
    assert half.gradient[0].dtype == half.log_growth[0].dtype == jnp.float32
    np.testing.assert_allclose(half.gradient[0], linear_gradients(W.astype(np.float64)), rtol=0.1)


def through(*factors, steps=11, gradient=1.0, cells=("a", "b")):
    back = np.arange(steps)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = tuple(np.where(back == 0, 0, back * np.log(factor)) for factor in factors)
    return GradientsThroughTime((np.full(steps, gradient),) * len(factors), grown, cells[: len(factors)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (through(0.9), ["a gradient changes x0.9 per step back, x0.3487 over 10 steps: healthy"]),
        (through(0.6), ["healthy"]),
        (through(0.4), ["shrinks x0.4 per step back", "vanishing"]),
        (through(1.9), ["healthy"]),
        (through(2.1), ["grows x2.1", "exploding"]),
        (through(0.9, steps=60), ["healthy"]),
        (through(0.9, steps=70), ["vanishing"]),
        (through(1.1, steps=70), ["healthy"]),
        (through(1.1, steps=80), ["exploding"]),
        (through(0.0), ["nothing comes back to step 10 of 11: vanishing"]),
        (through(np.nan), ["Jacobian that is not finite after step 10 of 11"]),
        (through(0.9, gradient=np.nan), ["healthy; the gradient of the loss is not finite there"]),
        (through(0.9, steps=1), ["one step: nothing to compare"]),
        (through(3.0, steps=2), ["over 1 step: exploding"]),
    ],
)
def test_verdict(found, words):
    for word in words:
        assert word in found.verdict(), found.verdict()


def test_sick_recurrences_come_first_and_bounds_move():
    sentence = through(1.0, 3.0).verdict()
    assert sentence.index("recurrence b") < sentence.index("recurrence a")
    assert "exploding" in through(1.1).verdict(Thresholds(grows_through_time=2))
    assert "vanishing" in through(0.9).verdict(Thresholds(shrinks_through_time=0.5))


def test_table_and_picture(tmp_path):
    found = through(2.0, 0.5, steps=400, gradient=0.5)
    lines = found.table().splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["a", "b"]
    assert len(lines) == 2 * (2 + 12)
    # 2^399 and its inverse, by Python's integers.
    assert lines[2].split() == ["1", "0.5", f"{float(2**399):.4g}"]
    assert lines[13].split() == ["400", "0.5", "1"]
    assert "x1.15e+602 over 2000 steps" in through(2.0, steps=2001).verdict()  # beyond the largest float64
    figure = found.plot(tmp_path / "time.png")
    assert (tmp_path / "time.png").stat().st_size > 1000
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata()[0], 399 * np.log10(2))
    assert "exploding" in figure.get_suptitle()
    assert through(np.nan, gradient=0.0).plot(title="").axes[1].get_yscale() == "linear"
