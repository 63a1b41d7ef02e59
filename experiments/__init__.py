"""The lectures' claims as experiments: `python -m experiments` lists them, `python -m experiments NAME` runs one.

One room a theme; each room's `NAMES` are its experiments, `experiments/ROOM/NAME.py`.
"""

import importlib

from experiments import generalization, gradients, images, reuse, theory, training
from experiments.harness.claims import Experiment

ROOMS = (gradients, theory, training, generalization, images, reuse)
NAMES = tuple(name for room in ROOMS for name in room.NAMES)


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
      ValueError: there is none.
    """
    for room in ROOMS:
        if name in room.NAMES:
            return importlib.import_module(f"{room.__name__}.{name}").EXPERIMENT
    raise ValueError(f"NAME: expected one of {', '.join(NAMES)}; got {name!r}. Run without a name to list them.")
