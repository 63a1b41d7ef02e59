"""Run by test_devices.py in a process of its own, on simulated devices: what members on several devices are."""

import json
import sys

import jax
import numpy as np
import optax

import jaxdl
from jaxdl import training
from jaxdl.training.sweep import strategies

DRAWS = np.random.RandomState(0)
DATA = DRAWS.rand(60, 4).astype(np.float32), DRAWS.randint(0, 3, 60).astype(np.int32)
MODEL = jaxdl.models.MLP((6, 3))
OBJECTIVE = training.supervised(MODEL, jaxdl.losses.softmax_cross_entropy)
# Mode, members, devices, members at once; without and with a shared order.
CASES = (
    (("vmap", 7, 4, None), ("vmap", 8, 8, None), ("vmap", 7, 4, 5), ("map", 7, 4, None)),
    (("vmap", 7, 4, None), ("vmap", 3, 8, None), ("map", 3, 2, 2)),
)


def make_step(rate):
    return training.make_train_step(OBJECTIVE, optax.adam(rate))


def init(key, rate):
    return training.init_state(MODEL, optax.adam(rate), DATA[0][:1], key=key)


def farthest(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)), initial=0)) for x, y in leaves)


def main():
    devices = jax.devices()
    options = dict(hyperparameters={"rate": [0.01]}, epochs=2, batch_size=10, validation=DATA, progress=False)
    found = {"devices": len(devices)}
    for shared in (False, True):
        key = jax.random.key(4) if shared else None
        reference = training.run_many(
            make_step, init, DATA, seeds=range(7), mode="map", devices=devices[:1], order_key=key, **options
        )
        for mode, num_seeds, count, at_once in CASES[shared]:
            runs = training.run_many(
                make_step, init, DATA, seeds=range(num_seeds), mode=mode, devices=devices[:count],
                members_at_once=at_once, order_key=key, **options,
            )  # fmt: skip
            both = min(num_seeds, 7)
            train, theirs = (each.history.train["loss"][:both] for each in (runs, reference))
            ours = [training.member(runs.states, i).params for i in range(both)]
            single = [training.member(reference.states, i).params for i in range(both)]
            validation = [each.history.validation["loss"][:both] for each in (runs, reference)]
            found[f"{mode} of {num_seeds} on {count}, {at_once} at once, shared {shared}"] = dict(
                engine=runs.history.engine,
                shape=runs.history.train["loss"].shape,
                members=runs.states.params["Dense_0"]["bias"].shape[0],
                params=farthest(ours, single),
                loss=farthest(train, theirs),
                validation=farthest(*validation),
            )
    auto = training.run_many(make_step, init, DATA, seeds=range(5), devices=devices[:2], **options)
    found["auto"] = dict(engine=auto.history.engine, timings=sorted(auto.timings))
    found["exchanges"] = exchanges(devices, options)
    print(json.dumps(found))


def exchanges(devices, options):
    """Which of the operations that exchange data among devices the program of members side by side has."""
    texts = []
    advance = strategies.SideBySide.advance

    def advance_and_look(self, group, length):
        from jaxdl.training.sweep import member_programs

        arguments = (group.states, group.cells, self._data, self._order_key)
        kept = self.job.epoch_options(length) | self._options
        texts.append(member_programs.epoch_program.lower(*arguments, **kept).compile().as_text())
        places.append({leaf.sharding.num_devices for leaf in jax.tree.leaves(group.states.params)})
        return advance(self, group, length)

    places = []
    strategies.SideBySide.advance = advance_and_look
    training.run_many(make_step, init, DATA, seeds=range(8), mode="vmap", devices=devices, **options)
    assert all(place == {8} for place in places), places
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    return [name for name in names if any(name in text for text in texts)]


if __name__ == "__main__":
    sys.exit(main())
