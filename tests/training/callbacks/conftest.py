"""A run as its callbacks hear of it, told without a `fit`."""

import numpy as np
import pytest

from jaxdl.training import callbacks as cb


def tell_run(listeners, *, first=0, last=30, segment=10, losses=None, members=None, reason="done", **start):
    """Tells a run of segments of equal length, evaluated after each, with loss i at step i unless given."""
    losses = np.arange(100, dtype=np.float32) if losses is None else np.asarray(losses, np.float32)
    told = cb.Callbacks(listeners)
    told.tell(cb.RunStart(None, first, last, 10, 5, "epoch", members=members, **start))
    for begin in range(first, last, segment):
        rows = losses[begin : begin + segment]
        rows = rows if members is None else np.stack([rows + member for member in range(members)])
        told.tell(cb.Steps(begin, {"loss": rows}))
        told.tell(cb.Evaluation(begin + segment, {"loss": rows[..., -1] + 0.5}))
    told.tell(cb.RunEnd(last, reason))
    return told


@pytest.fixture
def told():
    return tell_run
