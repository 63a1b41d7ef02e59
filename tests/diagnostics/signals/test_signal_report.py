"""Verdicts on planted illnesses, each named by its path, and the table and picture."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import SignalPropagation, Thresholds, signal_propagation

from .signal_networks import draws

X = np.asarray(draws(9, 6))
Y = np.arange(9) % 3


def made(size, *, saturation=None, alike=None, illness=None, loss=1.0, errors=None, meeting=None, turns=None):
    """Layers whose pre-activations have these root mean squares."""
    size = np.asarray(size, float)
    count, ones = size.shape[-1], np.ones_like(size)
    saturation = np.append(np.zeros(count - 1), np.nan) if saturation is None else np.asarray(saturation, float)
    illness = np.zeros((count, 3), int) if illness is None else np.asarray(illness)
    return SignalPropagation(
        0 * ones, size**2, size**2, 0.5 * ones if alike is None else np.asarray(alike), 0 * ones, ones,
        ones if errors is None else np.asarray(errors), ones, saturation, illness, np.asarray(loss), turns or {},
        tuple(f"layer_{i}" for i in range(count)), ("tanh",) * (count - 1) + (None,),
        tuple(range(count)) if meeting is None else meeting,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ([1.0, 0.3, 0.1, 7.0], ["signal shrinks x0.32 per layer over 3 layers, x0.1 from layer_0 to layer_2: vanishi"]),
        ([1.0, 4.0, 9.0, 7.0], ["grows x3 per layer", "exploding; the largest change is x4 from layer_0 to layer_1"]),
        ([1.0, 1.2, 0.9, 50.0], ["signal changes x0.95 per layer", "healthy"]),
        ([1.0, 0.0, 0.0, 50.0], ["no signal at all in layer_1 (2 of 4 layers have none)"]),
        ([1.0, 9.0], ["only 1 layer before the output: nothing to compare"]),
    ],
)
def test_the_forward_signal(size, words):
    for word in words:
        assert word in made(size).verdict()


def test_many_layers_that_each_shrink_a_little_vanish_in_total():
    assert "vanishing" in made(0.8 ** np.arange(30)).verdict()
    assert "exploding" in made(1.3 ** np.arange(30)).verdict()
    assert "healthy" in made(0.8 ** np.arange(15)).verdict()
    assert "vanishing" in made(0.8 ** np.arange(15)).verdict(Thresholds(shrinks_in_total=0.1))


def test_layers_that_meet_count_as_one():
    assert "vanishing" in made([1.0, 1e-3, 1.0]).verdict()
    assert "nothing to compare" in made([1.0, 1e-3, 1.0], meeting=(0, 0, 2)).verdict()
    # The sum of a residual block joins its last layer to the one before it, of which the larger comes later.
    across = made([1.0, 2.0, 4.0, 7.0], meeting=(0, 1, 0, 3)).verdict()
    assert "x2 from layer_1 to layer_2: healthy" in across


def test_not_finite_comes_first():
    illness = np.zeros((4, 3), int)
    illness[2:] = 2
    for stage, words in (
        (0, "NaN first arrive at layer_2, made after layer_1, whose own values are finite"),
        (1, "layer_2 makes NaN: what comes in is finite, its output is not"),
        (2, "the activation tanh of layer_2 makes NaN of finite pre-activations"),
    ):
        here = illness.copy()
        here[2, :stage] = 0
        assert made([1.0, 1e-9, 1.0, 1.0], illness=here).verdict() == f"not finite in 2 of 4 layers: {words}"
    first = np.ones((2, 3), int)
    words = "not finite in 2 of 2 layers: infinities come with the input of layer_0"
    assert made([1.0, 1.0], illness=first).verdict() == words
    assert "the loss is not finite although every layer is: made after layer_1" in made([1.0, 1], loss=np.inf).verdict()
    errors = "the error signal is not in 1 of 3 layers, the last of them layer_0"
    assert errors in made([1.0, 1, 1], errors=[np.nan, 1, 1]).verdict()


def test_saturated_and_alike():
    sentence = made([1.0] * 4, saturation=[0.5, 0.85, 0.9, np.nan], alike=[0.5, 0.9, 0.9995, 1]).verdict()
    assert "; saturated: layer_2 (tanh, 90 % of its entries), layer_1 (tanh, 85 % of its entries)" in sentence
    assert "; different examples look alike from layer_2 on, mean cosine 0.9995" in sentence
    assert "saturated" not in made([1.0] * 3, saturation=[0.5, 0.79, np.nan]).verdict()
    assert "alike" not in made([1.0] * 3, alike=[0.5, 0.9, 1.0]).verdict()


def test_turns_of_a_scan():
    turns = {"cell/h": np.array([0.0, 1.0, 9.0, 81.0]) ** 2, "cell/i": np.ones(4)}
    sentence = made([1.0] * 3, turns=turns).verdict()
    assert "over its 3 turns the signal in cell/h grows x9 a turn: exploding" in sentence
    assert "cell/i" not in sentence
    assert "shrinks x0.1 a turn: vanishing" in made([1.0] * 3, turns={"cell/h": 0.01 ** np.arange(4)}).verdict()
    assert "turn" not in made([1.0] * 3, turns={"cell/h": np.array([1.0, 1e-9])}).verdict()


class Sick(nn.Module):
    """One layer makes NaN (the logarithm of negative numbers), or saturates, or is fine."""

    illness: str = ""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(8, name="first")(x))
        x = nn.Dense(8, name="second", bias_init=nn.initializers.constant(-5.0))(x)
        if self.illness == "log":
            x = jnp.log(x)
        elif self.illness == "division":
            x = jnp.tanh(x) / (0 * x.sum())
        else:
            x = jnp.tanh(x * (10 if self.illness == "steep" else 0.1))
        return nn.Dense(3, name="head")(x)


def look(model, x=X, params=None, **options):
    params = model.init(jax.random.key(0), x)["params"] if params is None else params
    return signal_propagation(training.supervised(model, jaxdl.losses.softmax_cross_entropy), params, (x, Y), **options)


def test_a_planted_logarithm_of_a_negative_is_named():
    assert "2 of 3 layers: the activation log of second makes NaN of finite pre-act" in look(Sick("log")).verdict()
    assert "not finite" not in look(Sick()).verdict()


def test_a_planted_parameter_that_is_not_finite_is_named():
    params = Sick().init(jax.random.key(0), X)["params"]
    params["second"]["kernel"] = params["second"]["kernel"].at[0, 0].set(jnp.inf)
    assert "not finite in 1 of 3 layers: second makes infinities" in look(Sick(), params=params).verdict()


def test_what_is_made_between_two_layers_is_found_behind_the_first():
    words = "not finite in 1 of 3 layers: NaN first arrive at head, made after second, whose own values are finite"
    assert words.replace("NaN", "infinities") in look(Sick("division")).verdict()
    bad = X.copy()
    bad[3, 2] = np.nan
    assert "NaN come with the input of first" in look(Sick(), bad).verdict()


def test_a_planted_saturation_is_named():
    signals = look(Sick("steep"))
    assert "saturated: second (tanh, 100 % of its entries)" in signals.verdict()
    assert "saturated" not in look(Sick()).verdict()


def test_a_planted_recurrence_that_explodes_is_named():
    class Linear(nn.RNNCellBase):
        @nn.compact
        def __call__(self, carry, x):
            carry = nn.Dense(4, name="state", kernel_init=nn.initializers.constant(1.0))(carry) + x
            return carry, carry

        def initialize_carry(self, rng, input_shape):
            return jnp.zeros((*input_shape[:-1], 4))

        @property
        def num_feature_axes(self):
            return 1

    x = np.abs(np.asarray(draws(9, 6, 4)))
    sentence = look(Around(Linear), x).verdict()
    assert "over its 5 turns the signal in cell/state grows x4" in sentence
    assert "exploding" in sentence


class Around(nn.Module):
    cell: type[nn.RNNCellBase]

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(nn.RNN(self.cell(name="cell"), name="rnn")(x)[:, -1])


def test_the_table():
    lines = made([0.5, 2.0, 1.0]).table().splitlines()
    heads = "layer, mean, variance, q, c, passed on, error signal, saturated, activation"
    assert ", ".join(re.split(" {2,}", lines[0])) == heads
    assert lines[1].split() == ["layer_0", "0", "0.25", "0.25", "0.5", "1", "1", "0", "tanh"]
    assert lines[3].split()[-2:] == ["-", "-"]


def test_the_picture(tmp_path):
    figure = made([0.5, 2.0, 1.0]).plot(tmp_path / "signals.png")
    assert (tmp_path / "signals.png").stat().st_size > 1000
    upper, lower = figure.axes
    np.testing.assert_allclose(upper.lines[0].get_ydata(), [0.25, 4.0, 1.0])
    assert upper.get_yscale() == "log"
    assert "signal" in figure.get_suptitle()
    np.testing.assert_allclose(lower.lines[0].get_ydata(), [0.5, 0.5, 0.5])
    assert made([0.0, 0.0], errors=[0.0, 0.0], alike=[np.nan] * 2).plot(title="").get_suptitle() == ""


def test_stacked_measurements_must_be_picked():
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), made([1.0, 1.0, 1.0]))
    for report in (stacked.table, stacked.verdict, stacked.plot):
        with pytest.raises(ValueError, match=r"signals: expected one measurement, .* got shape \(2, 3\)\. Pick one"):
            report()
    assert "healthy" in stacked[1].verdict()
