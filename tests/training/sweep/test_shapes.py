"""A loop around `run_many`: each part is the run of its shape, and all members stand in one table."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training

OPTIONS = dict(seeds=[0, 1], epochs=1, batch_size=10, mode="map")


def build(width, depth=1):
    model = jaxdl.models.MLP((width,) * depth + (10,))
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)

    def make_step(learning_rate=0.1):
        return training.make_train_step(objective, optax.sgd(learning_rate))

    def init(key, learning_rate=0.1):
        return training.init_state(model, optax.sgd(learning_rate), jnp.zeros((1, 16)), key=key)

    return make_step, init


def plain(width, depth=1):
    make_step, init = build(width, depth)
    return make_step(), init


def test_every_shape_is_its_run_and_all_members_stand_in_one_table(digits_like):
    grid = {"learning_rate": [0.1, 0.3]}
    found = training.run_shapes(
        build, digits_like, shapes={"width": [3, 5], "depth": [1, 2]}, hyperparameters=grid, validation=digits_like,
        **OPTIONS,
    )  # fmt: skip
    assert found.shapes[1] == {"width": 3, "depth": 2}
    assert len(found.members) == 16
    assert found.members[6] == {"width": 3, "depth": 2, "learning_rate": 0.3, "seed": 0}
    single = training.run_many(*build(3, 2), digits_like, hyperparameters=grid, validation=digits_like, **OPTIONS)
    assert found.rows("validation_loss")[4:8] == [
        {"width": 3, "depth": 2, **row} for row in single.rows("validation_loss")
    ]
    assert found.runs[1].states.params["Dense_0"]["kernel"].shape == (4, 16, 3)
    assert len(found.table("train_loss").splitlines()) == 9
    arms = [dict(width=width, depth=2, learning_rate=0.1) for width in (3, 5)]
    pair = found.paired("train_loss", *arms)
    values = [[row["train_loss"] for row in found.rows() if row.items() >= arm.items()] for arm in arms]
    assert pair.difference == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert found.to_csv().splitlines()[0] == "width,depth,learning_rate,seed,validation_loss,train_loss"


def test_shapes_of_any_kind_without_hyperparameters(digits_like):
    def of_sizes(sizes):
        return plain(sizes[0], len(sizes))

    shapes = [{"sizes": (4,)}, {"sizes": (4, 4)}]
    found = training.run_shapes(of_sizes, digits_like, shapes=shapes, **OPTIONS)
    assert found.arms == ({"sizes": (4,)}, {"sizes": (4, 4)})
    assert found.paired("train_loss", shapes[0], shapes[1]).seeds == (0, 1)


@pytest.mark.parametrize(
    ("build", "shapes", "error", "message"),
    [
        (3, {"width": [3]}, TypeError, r"build: expected a function build\(\*\*shape\) -> \(step, init\); got int"),
        (lambda width: width, {"width": [3]}, TypeError, r"build: expected a function that returns \(step, init\); it"),
        (plain, {}, ValueError, "shapes: expected at least one name with at least one value"),
        (plain, 3, TypeError, "shapes: expected a mapping of names to lists, or a list of mappings; got int"),
        (plain, {"width": 3}, TypeError, r"shapes\['width'\]: expected a list of values; got 3"),
        (plain, {"width": [3, 3]}, ValueError, "shapes: expected each cell once; got {'width': 3} twice"),
    ],
)
def test_shapes_that_are_none(digits_like, build, shapes, error, message):
    with pytest.raises(error, match=message):
        training.run_shapes(build, digits_like, shapes=shapes, **OPTIONS)


def test_a_name_of_both_a_shape_and_a_hyperparameter(digits_like):
    for grid in ({"width": [0.1]}, [{"width": 0.1}]):
        with pytest.raises(ValueError, match=r"shapes: expected names that no hyper-parameter has; got \['width'\]"):
            training.run_shapes(build, digits_like, shapes={"width": [3]}, hyperparameters=grid, **OPTIONS)
