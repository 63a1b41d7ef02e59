"""Programs run with taps inside scans, calls and branches, against the same arithmetic in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.jaxprs import Tap, evaluate_tapped, find_uses, scans_around, trace

X = np.asarray(jax.random.normal(jax.random.key(0), (2, 3)))
W = np.asarray(jax.random.normal(jax.random.key(1), (4, 5, 3, 3)))


def nested(params, x):
    """Five turns inside each of four, every one with a kernel of its own."""
    outer = lambda h, kernels: (jax.lax.scan(lambda h, w: (jax.jit(lambda h: h @ w)(h), None), h, kernels)[0], None)  # noqa: E731
    return jax.lax.scan(outer, x, params)[0]


def shift_and_read(arguments, outputs, extra):
    return [outputs[0] + extra], {"in": arguments[0], "out": outputs[0]}


def test_a_tap_in_nested_scans_has_a_reading_and_an_extra_for_every_turn():
    jaxpr = trace(nested, W, X)
    (use,) = find_uses(jaxpr, num_params=1)
    assert [length for _, length in scans_around(jaxpr, use.where)] == [4, 5]
    extra = np.asarray(jax.random.normal(jax.random.key(2), (4, 5, 2, 3)))
    h, expected = X, {"in": [], "out": []}
    for kernel, shift in zip(W.reshape(20, 3, 3), extra.reshape(20, 2, 3), strict=True):
        expected["in"].append(h)
        expected["out"].append(h @ kernel)
        h = h @ kernel + shift
    outputs, (read,) = evaluate_tapped(jaxpr, [W, X], [Tap(use.where, shift_and_read, extra)])
    np.testing.assert_allclose(outputs[0], h, rtol=1e-3)
    for name, values in expected.items():
        np.testing.assert_allclose(read[name].reshape(20, 2, 3), values, rtol=1e-3)


def test_an_extra_that_only_the_outer_scan_slices_is_the_same_in_all_inner_turns():
    jaxpr = trace(nested, W, X)
    (use,) = find_uses(jaxpr, num_params=1)
    (outer, _), _ = scans_around(jaxpr, use.where)
    extra = np.asarray(jax.random.normal(jax.random.key(2), (4, 2, 3)))
    h = X
    for kernel, shift in zip(W.reshape(20, 3, 3), np.repeat(extra, 5, 0), strict=True):
        h = h @ kernel + shift
    outputs, _ = evaluate_tapped(jaxpr, [W, X], [Tap(use.where, shift_and_read, extra, (outer,))])
    np.testing.assert_allclose(outputs[0], h, rtol=1e-3)


def test_readings_of_reversed_scans_stand_in_the_order_of_the_slices():
    def fn(params, x):
        return jax.lax.scan(lambda h, w: (h @ w, None), x, params, reverse=True)[0]

    jaxpr = trace(fn, W[0], X)
    (use,) = find_uses(jaxpr, num_params=1)
    visit = lambda arguments, outputs, extra: (outputs, outputs[0])  # noqa: E731
    read = evaluate_tapped(jaxpr, [W[0], X], [Tap(use.where, visit)])[1][0]
    h, expected = X, []
    for kernel in W[0][::-1]:
        h = h @ kernel
        expected.append(h)
    np.testing.assert_allclose(read, expected[::-1], rtol=1e-4)


def test_taps_on_a_call_and_inside_it_and_several_in_one_place():
    jaxpr = trace(lambda params, x: jax.jit(lambda x: x @ params)(x), W[0, 0], X)
    (use,) = find_uses(jaxpr, num_params=1)
    assert len(use.where) > 1
    twice = lambda arguments, outputs, extra: ([2 * outputs[0]], outputs[0])  # noqa: E731
    taps = [Tap(use.where[:1], twice), Tap(use.where, twice), Tap(use.where, twice)]
    outputs, read = evaluate_tapped(jaxpr, [W[0, 0], X], taps)
    product = X @ W[0, 0]
    for result, factor in zip((*outputs, *read), (8, 4, 1, 2), strict=True):
        np.testing.assert_allclose(result, factor * product, rtol=1e-4)


def test_a_branch_that_is_not_taken_reads_0():
    def fn(params, x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ params[0], lambda: x @ params[1])

    jaxpr = trace(fn, [W[0, 0], W[0, 1]], X)
    uses = find_uses(jaxpr, num_params=2)
    visit = lambda arguments, outputs, extra: (outputs, outputs[0])  # noqa: E731
    for x in (X, -X):
        taken = 0 if x[0, 0] > 0 else 1
        read = evaluate_tapped(jaxpr, [W[0, 0], W[0, 1], x], [Tap(use.where, visit) for use in uses])[1]
        for use, reading in zip(uses, read, strict=True):
            (leaf,) = use.params
            np.testing.assert_allclose(reading, x @ W[0, leaf] if leaf == taken else np.zeros_like(x), rtol=1e-5)


def test_no_tap_in_a_while_loop():
    jaxpr = trace(lambda params, x: jax.lax.fori_loop(0, jnp.int32(x[0, 0]), lambda i, h: h @ params, x), W[0, 0], X)
    (use,) = find_uses(jaxpr, num_params=1)
    with pytest.raises(ValueError, match=r"taps: expected none inside a while loop; got one .* Use a scan"):
        evaluate_tapped(jaxpr, [W[0, 0], X], [Tap(use.where, shift_and_read)])
