from experiments.training import optimizers
from tests.experiments.training.planted import Planted, small_splits


def test_all_four_parts_are_run_in_order(monkeypatch):
    seen = []
    parts = ("judge_unbiasedness", "judge_paths", "judge_adam", "judge_sensitivity")
    for name in parts:
        monkeypatch.setattr(optimizers, name, lambda run, name=name: seen.append((name, run)))
    run = Planted("digits", small_splits(), 5, {})
    optimizers.EXPERIMENT.run(run)
    assert [name for name, _ in seen] == list(parts)
    assert all(one is run for _, one in seen)
