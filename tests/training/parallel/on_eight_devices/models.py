"""The law of devices for every reference model: one device and eight agree.

Run by `test_on_eight_devices.py`.
"""

from jaxdl import training
from tests.models.all_cases import CASES, begun, each_case
from tests.training.parallel.tasks import assert_agree


@each_case
def test_eight_devices_agree_with_one(name):
    step, state = begun(CASES[name])

    def run(layout):
        return training.fit(
            step, state, CASES[name].data, steps=2, batch_size=8, engine="loop", layout=layout, progress=False
        )

    alone, together = run(None), run(training.data_parallel(8))
    assert_agree(together.history.train, alone.history.train, rtol=1e-6)
    assert_agree(together.state.model_state, alone.state.model_state, rtol=1e-6)
