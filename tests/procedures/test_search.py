"""Every cell is the single run with its numbers and shapes; the ranking is NumPy's; the test split stays out."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.data import Examples, Splits
from jaxdl.procedures import Choice, LogUniform, Uniform, best_cell, grid_search, random_search

OPTIONS = dict(seeds=[0, 5], epochs=2, batch_size=16, mode="vmap")


class Recipe:
    """A network of some width, trained at some rate; counts how often it is made without tracers."""

    def __init__(self, task):
        self.task = task
        self.single_step = cache(lambda cell: self.make_step(**dict(cell)))

    @cache  # noqa: B019
    def objective(self, width):
        return training.supervised(
            jaxdl.models.MLP((width, 3)), jaxdl.losses.softmax_cross_entropy,
            metrics={"accuracy": jaxdl.losses.correct},
        )  # fmt: skip

    def make_step(self, learning_rate=0.1, width=4):
        return training.make_train_step(self.objective(width), optax.sgd(learning_rate))

    def init(self, key, learning_rate=0.1, width=4):
        model = jaxdl.models.MLP((width, 3))
        return training.init_state(model, optax.sgd(learning_rate), self.task.data[0][:1], key=key)

    def single(self, seed, **cell):
        """The loss on the validation data of a run by `fit`."""
        train, validation = self.data()
        state, step = self.init(jax.random.key(seed), **cell), self.single_step(tuple(cell.items()))
        state = training.fit(step, state, train, epochs=2, batch_size=16).state
        return training.evaluate(self.objective(cell.get("width", 4)), state, validation)

    def data(self):
        x, y = self.task.data
        return (x[:60], y[:60]), (x[60:], y[60:])


@pytest.fixture
def recipe(blob_task):
    return Recipe(blob_task)


def test_a_grid_is_all_single_runs_ranked(recipe):
    found = grid_search(
        recipe.make_step, recipe.init, *recipe.data(), hyperparameters={"learning_rate": [0.001, 0.3]},
        shapes={"width": [2, 6]}, metric="accuracy", maximize=True, fresh_seeds=[9], **OPTIONS,
    )  # fmt: skip
    assert len(found.cells) == 4
    expected = np.array([[recipe.single(seed, **cell)["accuracy"] for seed in (0, 5)] for cell in found.cells])
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.best == found.cells[int(np.argmax(expected.mean(1)))]
    assert found.best["learning_rate"] == 0.3
    assert list(expected.mean(1)[found.ranking]) == sorted(expected.mean(1), reverse=True)
    assert found.best_value[0] == pytest.approx(expected.mean(1).max())
    fresh = recipe.single(9, **found.best)["accuracy"]
    assert found.fresh_value[0] == pytest.approx(fresh)
    assert found.optimism == pytest.approx(expected.mean(1).max() - fresh)
    lines = found.table().splitlines()
    assert len(lines) == 5
    assert lines[0].split()[:3] == ["width", "learning_rate", "validation_accuracy"]
    assert [float(line.split()[2]) for line in lines[1:]] == pytest.approx(sorted(expected.mean(1))[::-1], rel=1e-3)
    for text in ("the best of 4 cells, hence too good", "with 1 fresh seeds", f"width {found.best['width']}"):
        assert text in found.verdict()


@pytest.mark.parametrize("given", ["hyperparameters", "shapes"])
def test_numbers_alone_and_shapes_alone(recipe, given):
    grid = {"hyperparameters": [{"learning_rate": 0.2}, {"learning_rate": 0.01}], "shapes": [{"width": 3}]}[given]
    found = grid_search(recipe.make_step, recipe.init, *recipe.data(), **{given: grid}, **OPTIONS)
    assert found.cells == tuple(grid)
    for i, cell in enumerate(grid):
        np.testing.assert_allclose(found.values[i], [recipe.single(s, **cell)["loss"] for s in (0, 5)], rtol=1e-4)
    assert found.fresh is None
    assert "with fresh_seeds= the figure would be an honest one" in found.verdict()
    with pytest.raises(ValueError, match="fresh_value: expected a search with fresh seeds; got one without"):
        _ = found.optimism


@pytest.mark.parametrize("shaped", [pytest.param(False, marks=pytest.mark.slow), True])
def test_random_cells_are_single_runs_too(recipe, shaped):
    forms = {"shapes": {"width": Choice((2, 5))}} if shaped else {}
    found = random_search(
        recipe.make_step, recipe.init, *recipe.data(), key=jax.random.key(1), num_cells=5,
        hyperparameters={"learning_rate": LogUniform(0.01, 1.0)}, fresh_seeds=range(20, 22), **forms, **OPTIONS,
    )  # fmt: skip
    assert len(found.cells) == 5
    assert ({cell.get("width") for cell in found.cells} == {2, 5}) == shaped
    assert all(0.01 <= cell["learning_rate"] <= 1.0 for cell in found.cells)
    for i in (0, 4):
        expected = [recipe.single(seed, **found.cells[i])["loss"] for seed in (0, 5)]
        np.testing.assert_allclose(found.values[i], expected, rtol=1e-4)
    fresh = np.mean([recipe.single(seed, **found.best)["loss"] for seed in (20, 21)])
    assert found.fresh_value[0] == pytest.approx(fresh, rel=1e-4)
    assert found.optimism == pytest.approx(fresh - found.values.mean(1).min(), rel=1e-3, abs=1e-5)


def test_the_draws_are_those_of_the_key_and_a_cell_drawn_twice_runs_once(recipe):
    search = lambda seed: random_search(  # noqa: E731
        recipe.make_step, recipe.init, *recipe.data(), key=jax.random.key(seed), num_cells=6,
        hyperparameters={"learning_rate": Choice((0.1, 0.2))}, **OPTIONS,
    )  # fmt: skip
    first, again = search(0), search(0)
    assert first.cells == again.cells
    assert {cell["learning_rate"] for cell in first.cells} == {0.1, 0.2}
    assert len(first.cells) == 2


def test_the_winner_of_many_alike_is_too_good(recipe):
    """Twelve cells that differ in nothing but their draws: what the best of them shows is luck."""

    def init(key, label):
        return recipe.init(jax.random.fold_in(key, label.astype(jnp.int32)))

    found = grid_search(
        lambda label: recipe.make_step(), init, *recipe.data(), hyperparameters={"label": list(range(12))},
        fresh_seeds=range(100, 108), **OPTIONS,
    )  # fmt: skip
    # Expected: 1.63 / sqrt(2) standard deviations of a run, give or take 0.35 + the spread of the best; below 0 by
    # chance in less than 1 of 100 choices of seeds.
    assert found.optimism > 0


def test_a_cell_that_diverges_is_never_best(recipe):
    assert best_cell([[1.0, np.nan], [3.0, 3.0], [2.0, 2.5]]) == 2
    assert best_cell([[np.inf, 9.0], [3.0, 3.0], [2.0, 2.5]], maximize=True) == 1
    assert best_cell([[1.0], [1.0]]) == 0
    with pytest.raises(ValueError, match=r"values: expected shape \(cells, seeds\), at least one of each; got \(3,\)"):
        best_cell(np.ones(3))
    found = grid_search(
        recipe.make_step, recipe.init, *recipe.data(), hyperparameters={"learning_rate": [1e30, 0.1]}, **OPTIONS
    )
    assert found.best == {"learning_rate": 0.1}
    assert "2 not finite" in found.table().splitlines()[-1]


def test_a_folder_goes_on(recipe, tmp_path):
    options = dict(shapes={"width": [2, 3]}, folder=tmp_path, fresh_seeds=[7], **OPTIONS)
    first = grid_search(recipe.make_step, recipe.init, *recipe.data(), **options)
    again = grid_search(recipe.make_step, recipe.init, *recipe.data(), **options, resume="must")
    np.testing.assert_array_equal(first.values, again.values)
    assert first.fresh_value == again.fresh_value
    assert {path.name for path in tmp_path.iterdir()} == {"shape_0", "shape_1", "fresh"}


def test_the_test_split_stays_out(recipe):
    train, validation = (Examples(*part) for part in recipe.data())
    splits = Splits(train, validation, validation)
    for data, name in (((splits, validation), "train"), ((train, splits), "validation")):
        with pytest.raises(
            TypeError, match=rf"{name}: expected one part.*Splits, whose test.*Pass splits\.train, spli"
        ):
            grid_search(recipe.make_step, recipe.init, *data, hyperparameters={"learning_rate": [0.1]}, **OPTIONS)
        with pytest.raises(TypeError, match=f"{name}: expected one part of the data; got Splits"):
            random_search(
                recipe.make_step, recipe.init, *data, key=jax.random.key(0), num_cells=2,
                hyperparameters={"learning_rate": Uniform(0.1, 0.2)}, **OPTIONS,
            )  # fmt: skip
    with pytest.raises(ValueError, match="validation: expected the data that decide; got None"):
        grid_search(recipe.make_step, recipe.init, train, None, hyperparameters={"learning_rate": [0.1]}, **OPTIONS)


def test_what_is_no_search(recipe):
    arguments, rates = (recipe.make_step, recipe.init, *recipe.data()), {"learning_rate": [0.1]}
    with pytest.raises(ValueError, match="hyperparameters, shapes: expected at least one of them; got None for both"):
        grid_search(*arguments, **OPTIONS)
    with pytest.raises(ValueError, match=r"fresh_seeds: expected seeds that have no part in the choice; got \[5\]"):
        grid_search(*arguments, hyperparameters=rates, fresh_seeds=[5, 6], **OPTIONS)
    with pytest.raises(ValueError, match=r"metric: expected one of 'accuracy', 'loss'; got 'error'\. Name one of"):
        grid_search(*arguments, hyperparameters=rates, metric="error", **OPTIONS)
    with pytest.raises(TypeError, match="step: expected a function that takes the hyper-parameters rate by name"):
        grid_search(*arguments, hyperparameters={"rate": [0.1]}, **OPTIONS)
    for kind in ("hyperparameters", "shapes"):
        with pytest.raises(TypeError, match=f"{kind}: expected a mapping of names to lists, or a list of mappings"):
            grid_search(*arguments, **{kind: 3}, **OPTIONS)
    step = recipe.make_step()
    with pytest.raises(TypeError, match=r"make_step: expected a function of hyper-parameters; got TrainStep\. Write"):
        grid_search(step, recipe.init, *recipe.data(), hyperparameters=rates, **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="init: expected a function of hyper-parameters; got int"):
        grid_search(recipe.make_step, 3, *recipe.data(), hyperparameters=rates, **OPTIONS)  # type: ignore[arg-type]
    draw = dict(key=jax.random.key(0), num_cells=3, **OPTIONS)
    with pytest.raises(ValueError, match="hyperparameters, shapes: expected at least one name in all, each in one of"):
        random_search(*arguments, **draw)
    with pytest.raises(ValueError, match=r"each in one of them; got \['width'\] in both"):
        random_search(
            *arguments, hyperparameters={"width": Uniform(1, 2)}, shapes={"width": Choice((1, 2))}, **draw
        )  # fmt: skip
    with pytest.raises(TypeError, match=r"learning_rate: expected a distribution; got list\. Pass jaxdl"):
        random_search(*arguments, hyperparameters=rates, **draw)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num_cells: expected a whole number >= 1; got 0\. Try 20"):
        random_search(*arguments, hyperparameters={"learning_rate": Uniform(1, 2)}, **{**draw, "num_cells": 0})
    with pytest.raises(TypeError, match="key: expected one typed key"):
        random_search(*arguments, hyperparameters={"learning_rate": Uniform(1, 2)}, **{**draw, "key": 0})
