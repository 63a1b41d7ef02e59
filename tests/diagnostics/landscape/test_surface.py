"""Landscapes of quadratics, whose values on any line and plane are known, and of a network by plain evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.building_blocks.propagation import double_precision
from jaxdl.diagnostics import Landscape, loss_landscape

DRAWS = np.random.RandomState(0)
MATRIX = np.array([[3.0, 1.0, 0.0], [1.0, -1.0, 0.5], [0.0, 0.5, 2.0]])
X = np.array([1.0, 3.0, 5.0], np.float32)  # mean 3


def quadratic(w, x):
    return x * (w @ (jnp.asarray(MATRIX, w.dtype) @ w))


def values_at(points):
    return 3 * np.einsum("...i,ij,...j->...", points, MATRIX, points)


def test_a_quadratic_along_given_directions():
    centre = np.array([0.5, -1.0, 2.0])
    first, second = DRAWS.randn(2, 3)
    line = loss_landscape(quadratic, jnp.asarray(centre, jnp.float32), X, directions=[first], span=2.0, num_points=9)
    xs = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(line.xs, xs, rtol=1e-6)
    np.testing.assert_allclose(line.values, values_at(centre + xs[:, None] * first), rtol=1e-4, atol=1e-4)
    assert line.ys is None
    plane = loss_landscape(
        quadratic, jnp.asarray(centre, jnp.float32), X, directions=(first, second), num_points=7, batch_size=2
    )
    ts = np.linspace(-1, 1, 7)
    points = centre + ts[:, None, None] * first + ts[None, :, None] * second
    np.testing.assert_allclose(plane.values, values_at(points), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plane.centre, values_at(centre), rtol=1e-5)
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    np.testing.assert_allclose(plane.cosine, cosine, rtol=1e-5)


@pytest.mark.parametrize("points_at_once", [1, 4, 7, 100])
def test_the_grid_does_not_depend_on_how_much_of_it_is_done_at_once(points_at_once):
    options = dict(directions=[np.ones(3)], num_points=7)
    found = loss_landscape(quadratic, jnp.ones(3), X, points_at_once=points_at_once, **options)
    np.testing.assert_allclose(found.values, values_at(np.ones(3) * (1 + np.linspace(-1, 1, 7)[:, None])), atol=1e-4)


def test_memory_grows_with_the_points_at_once_and_not_with_the_grid():
    widths = []

    def losses(w, x):
        widths.append(w)
        return x * w

    loss_landscape(losses, jnp.float32(1), X, directions=[jnp.float32(1)], num_points=1000, points_at_once=3)
    sizes = {getattr(getattr(w, "val", w), "shape", ()) for w in widths}
    assert {(), (3,)} <= sizes
    assert not [shape for shape in sizes if shape and shape[0] > 3]


class Scaled:
    """A ReLU network and the same function with its layers scaled by 10 and 1/10."""

    params = {  # noqa: RUF012
        "a": {"kernel": DRAWS.randn(3, 4).astype(np.float32), "bias": np.zeros(4, np.float32)},
        "b": {"kernel": DRAWS.randn(4, 2).astype(np.float32)},
    }
    data = (DRAWS.randn(11, 3).astype(np.float32), DRAWS.randn(11, 2).astype(np.float32))

    @staticmethod
    def losses(p, batch):
        hidden = jax.nn.relu(batch[0] @ p["a"]["kernel"] + p["a"]["bias"][None])
        return jnp.square(hidden @ p["b"]["kernel"] - batch[1]).sum(-1)

    @classmethod
    def scaled(cls, factor):
        a, b = cls.params["a"], cls.params["b"]
        return {"a": {"kernel": a["kernel"] * factor, "bias": a["bias"]}, "b": {"kernel": b["kernel"] / factor}}


def test_filter_normalization_undoes_the_scale_of_the_layers():
    """Of the same draws: filter by filter, the direction scales with the network, so the losses are the same."""

    def values(factor, **options):
        return loss_landscape(Scaled.losses, Scaled.scaled(factor), Scaled.data, directions=2, num_points=5, **options)

    np.testing.assert_allclose(values(10.0).values, values(1.0).values, rtol=1e-4)
    plain, scaled = (values(factor, filter_normalization=False).values for factor in (1.0, 10.0))
    assert np.abs(plain - scaled).max() > 0.5 * np.abs(plain).max()


def test_random_directions_leave_biases_alone():
    params = Scaled.params
    found = loss_landscape(lambda p, batch: p["a"]["bias"].sum() * batch[0][:, 0], params, Scaled.data, num_points=3)
    np.testing.assert_array_equal(found.values, found.centre)


def test_a_trajectory_lies_where_it_was():
    centre, first, second = np.eye(3)
    coordinates = np.array([[4.0, 0.0], [2.0, 1.0], [1.0, -0.5], [0.0, 0.0]])
    path = jnp.asarray(centre + coordinates @ np.stack([first, second]), jnp.float32)
    found = loss_landscape(
        quadratic, jnp.asarray(centre, jnp.float32), X, directions=[first, second], trajectory=path, num_points=5
    )
    np.testing.assert_allclose(found.path, coordinates, atol=1e-5)
    np.testing.assert_allclose(found.captured, 1, rtol=1e-5)
    np.testing.assert_allclose(found.path_losses, values_at(np.asarray(path)), rtol=1e-5)
    np.testing.assert_allclose(found.xs, np.linspace(-0.8, 4.8, 5), atol=1e-5)
    np.testing.assert_allclose(found.ys, np.linspace(-0.8, 1.3, 5), atol=1e-5)
    principal = loss_landscape(
        quadratic, jnp.asarray(centre, jnp.float32), X, directions="trajectory", trajectory=path, num_points=5
    )
    lengths = np.linalg.norm(np.asarray(principal.path), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(coordinates, axis=1), atol=1e-5)
    np.testing.assert_allclose(principal.cosine, 0, atol=1e-6)
    fixed = loss_landscape(quadratic, path[-1], X, directions="trajectory", trajectory=path, span=3.0, num_points=3)
    np.testing.assert_allclose(fixed.ys, [-3, 0, 3])


def test_of_a_network_it_is_plain_evaluation():
    model = jaxdl.models.MLP((4, 3), activation=jnp.tanh)
    x, y = DRAWS.randn(13, 5).astype(np.float32), DRAWS.randint(0, 3, 13)
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    params, other = (model.init(jax.random.key(i), x)["params"] for i in range(2))
    direction = jax.tree.map(jnp.subtract, other, params)
    found = loss_landscape(objective, params, (x, y), directions=[direction], num_points=3, batch_size=4)
    logits = model.apply({"params": other}, x)
    np.testing.assert_allclose(found.values[-1], jaxdl.losses.softmax_cross_entropy(logits, y).mean(), rtol=1e-5)


def test_double_precision_and_vmap():
    with double_precision():
        found = loss_landscape(quadratic, jnp.ones(3), jnp.asarray(X, jnp.float64), directions=[np.ones(3)])
        assert found.values.dtype == jnp.float64
    stacked = jax.vmap(lambda w: loss_landscape(quadratic, w, X, directions=[np.ones(3)], num_points=3))(
        jnp.asarray(DRAWS.randn(2, 3), jnp.float32)
    )
    assert stacked.values.shape == (2, 3)
    with pytest.raises(ValueError, match=r"landscape: expected one, with values of 1 axes; got shape \(2, 3\)\. Pick"):
        stacked.table()
    assert "on the line" in stacked[0].verdict()


def plane(function, points=21):
    ts = np.linspace(-1, 1, points)
    values = function(*np.meshgrid(ts, ts, indexing="ij"))
    return Landscape(values, ts, ts, function(0.0, 0.0), None, None, None, np.float32(0))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, y: x**2 + y**2, "lowest at x = 0, y = 0; curved upwards or flat in both directions at 100 %"),
        (lambda x, y: x**2 - y**2, "lowest at x = 0, y = -1; curved upwards or flat in both directions at 0 %"),
        (lambda x, y: x * y, "in both directions at 0 % of its points"),
        (lambda x, y: 0 * x + 1.0, "1 to 1 on the plane"),
        (lambda x, y: np.where(np.asarray(x) > 0.95, np.nan, x**2 + y**2), "not finite at 4.76 % of them"),
    ],
)
def test_verdicts_and_pictures(function, words, tmp_path):
    found = plane(function)
    assert words in found.verdict()
    figure = found.plot(tmp_path / "plane.png")
    assert (tmp_path / "plane.png").stat().st_size > 1000
    assert figure.axes[0].get_xlabel() == "x, along the first direction"


def test_nothing_finite_and_few_points():
    assert plane(lambda x, y: x * np.nan).verdict() == "loss is not finite anywhere on the grid"
    line = Landscape(
        np.array([1.0, 2.0]), np.array([-1.0, 1.0]), None, np.float64(1.5), np.array([[1.0], [0.0]]),
        np.array([2.0, 1.5]), np.float64(0.25), np.float64(0),
    )  # fmt: skip
    assert line.verdict() == (
        "loss 1.5 at the parameters, 1 to 2 on the line, lowest at x = -1; too few points to see its curvature; "
        "it holds 25 % of the trajectory's squared displacements"
    )
    assert line.table().splitlines()[1].split() == ["-1", "1"]
    labels = [text.get_text() for text in line.plot().axes[0].get_legend().get_texts()]
    assert "trajectory, at its own losses" in labels


def test_tables_are_thinned_out():
    lines = plane(lambda x, y: x + 10 * y).table().splitlines()
    assert len(lines) == 12
    assert lines[1].split()[:2] == ["-1", "-11"]


def test_errors():
    w = jnp.ones(3)
    for bad in (3, 0, True, "pca"):
        with pytest.raises(ValueError, match=r"directions: expected 1, 2, 'trajectory' or a list of one or two"):
            loss_landscape(quadratic, w, X, directions=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="directions: expected a list of one or two pytrees; got 3"):
        loss_landscape(quadratic, w, X, directions=[w, w, w])
    with pytest.raises(ValueError, match=r"directions: expected pytrees like params, .* got \{'': \(2,\)\}\. Make one"):
        loss_landscape(quadratic, w, X, directions=[np.ones(2)])
    with pytest.raises(ValueError, match="trajectory: expected one for directions='trajectory'; got None"):
        loss_landscape(quadratic, w, X, directions="trajectory")
    with pytest.raises(ValueError, match="trajectory: expected the parameters at several steps"):
        loss_landscape(quadratic, w, X, directions="trajectory", trajectory=w)
    with pytest.raises(ValueError, match="num_points: expected a whole number >= 2; got 1"):
        loss_landscape(quadratic, w, X, num_points=1)
    with pytest.raises(ValueError, match="points_at_once: expected a whole number >= 1; got 0"):
        loss_landscape(quadratic, w, X, points_at_once=0)
    with pytest.raises(ValueError, match="span: expected one finite number > 0; got 0"):
        loss_landscape(quadratic, w, X, span=0)
    with pytest.raises(ValueError, match="matches no leaf"):
        loss_landscape(quadratic, w, X)
