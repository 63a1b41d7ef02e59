"""What is damaged is detected, or does no harm; never a silent wrong restore."""

import random
import shutil
import subprocess
import warnings

import jax
import numpy as np
import pytest

from jaxdl import training
from jaxdl.training.checkpoints import Checkpoints, CheckpointStore, integrity
from tests.training.checkpoints.conftest import make_state


def leaves_of(state):
    plain = jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf,
        state,
    )
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(plain)]


def corrupt(folder, draws: random.Random) -> str:
    """Does one file of a checkpoint some harm, and says what."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = draws.choice(files)
    content = bytearray(path.read_bytes())
    kind = draws.choice(["truncated", "flipped", "missing", "emptied", "swapped", "overwritten", "extra"])
    if kind == "missing" or (kind in ("truncated", "flipped", "overwritten") and not content):
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: draws.randrange(len(content))])
    elif kind == "flipped":
        for _ in range(draws.choice([1, 1, 4])):
            content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        path.write_bytes(content)
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "swapped":
        other = draws.choice(files)
        first, second = path.read_bytes(), other.read_bytes()
        path.write_bytes(second)
        other.write_bytes(first)
    elif kind == "overwritten":
        path.write_bytes(draws.randbytes(len(content)))
    else:
        (path.parent / "stray").write_bytes(draws.randbytes(8))
    return f"{kind} {path.relative_to(folder)}"


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 240), marks=pytest.mark.slow)], ids=len)
def test_random_corruptions_are_detected_or_harmless(tmp_path, seeds):
    older, newer = make_state(step=3), make_state(step=7)
    training.save_checkpoint(tmp_path / "intact", older)
    training.save_checkpoint(tmp_path / "intact", newer)
    expected = leaves_of(newer)
    detected, unseen = [], []
    for seed in seeds:
        folder = tmp_path / f"copy{seed}"
        shutil.copytree(tmp_path / "intact", folder)
        harm = corrupt(folder / "7", random.Random(seed))
        if integrity.damage(folder / "7") is None:
            assert leaves_of(training.restore_checkpoint(folder, newer)) == expected, harm
            unseen.append(harm)
        else:
            with pytest.raises(
                training.DamagedCheckpointError, match=r"newest intact one is that of step 3: pass step=3"
            ):
                training.restore_checkpoint(folder, newer)
            assert leaves_of(training.restore_checkpoint(folder, newer, step=3)) == leaves_of(older), harm
            detected.append(harm)
        shutil.rmtree(folder)
    # What is not seen lies outside of the numbers: files in which Orbax says that it is done, and swaps of equal files.
    assert all("commit_success.txt" in harm or harm.startswith("swapped") for harm in unseen), unseen
    assert len(detected) > len(seeds) / 2


@pytest.mark.parametrize("name", ["SHA256SUMS", "_CHECKPOINT_METADATA", "notes/metadata", "state/manifest.ocdbt"])
@pytest.mark.parametrize("harm", ["missing", "emptied", "flipped"])
def test_each_file_that_is_read(tmp_path, state, name, harm):
    folder = training.save_checkpoint(tmp_path, state)
    path = folder / name
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "emptied" else bytes([content[0] ^ 1]) + content[1:])
    assert integrity.damage(folder) is not None
    with pytest.raises(training.DamagedCheckpointError, match="There is no intact one in this folder"):
        training.restore_checkpoint(tmp_path, state)


def test_the_sums_are_those_of_sha256sum(tmp_path, state):
    folder = training.save_checkpoint(tmp_path, state)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    others = [line for line in lines if not line.endswith("_CHECKPOINT_METADATA")]
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict"], input="\n".join(others), cwd=folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert len(others) == len(lines) - 1 >= 8


def test_damaged_checkpoints_are_set_aside_and_never_lost(tmp_path):
    for step in (1, 2, 3):
        training.save_checkpoint(tmp_path, make_state(step=step))
    for step in (2, 3):
        (tmp_path / str(step) / "notes" / "metadata").write_text("{}")
    store = CheckpointStore(tmp_path, Checkpoints())
    assert store.intact_steps() == [1]
    found = store.set_damaged_aside()
    assert found == dict.fromkeys((2, 3), "the file notes/metadata has changed since it was written")
    assert store.steps() == [1]
    training.save_checkpoint(tmp_path, make_state(step=2))
    (tmp_path / "2" / "notes" / "metadata").write_text("{}")
    assert list(store.set_damaged_aside()) == [2]
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["2", "2-1", "3"]


def test_a_run_goes_on_from_the_newest_intact_checkpoint_and_says_so(task, tmp_path, same_bytes):
    options = dict(batch_size=10, checkpoints=training.Checkpoints(every_steps=12, keep_last=3))
    expected = training.fit(task.step, task.state, task.data, epochs=3, batch_size=10)
    training.fit(task.step, task.state, task.data, epochs=2, folder=tmp_path, **options)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("[0-9]*")) == ["12", "24"]
    (tmp_path / "checkpoints" / "24" / "state" / "manifest.ocdbt").write_bytes(b"")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = training.fit(task.step, task.state, task.data, epochs=3, folder=tmp_path, **options)
    told = [str(warning.message) for warning in caught if "damaged" in str(warning.message)]
    assert len(told) == 1
    assert "step 24: the file state/manifest.ocdbt has changed since it was written" in told[0]
    same_bytes(result.state, expected.state)
    np.testing.assert_array_equal(result.history.train["loss"], expected.history.train["loss"])
    assert (tmp_path / "checkpoints" / "damaged" / "24").is_dir()
