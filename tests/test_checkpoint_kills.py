"""Whatever moment a process is killed at, the newest whole checkpoint is there to go on from."""

import io
import os
import resource
import shutil
import signal
import warnings

import numpy as np
import pytest

from sb3_trpo import whole_files
from sb3_trpo.checkpoint import TrainingCheckpoint, files, learn_rest, newest_checkpoint, resume
from sb3_trpo.checkpoint.files import newest, write_checkpoint
from tests.killed import CallCounter, Disk, names_in, outcome_of
from tests.training_runs import CASES, N_ENVS, N_STEPS, logging, outcome

ROLLOUT = N_ENVS * N_STEPS
TOTAL = 4 * ROLLOUT
KILLED = -signal.SIGKILL


def train(case, folder):
    model = case.model()
    model.learn(TOTAL, callback=TrainingCheckpoint(1, folder))
    return model


def go_on(case, folder):
    """What a script does that is started again and again: go on, or begin."""
    if newest_checkpoint(folder) is None:
        return train(case, folder)
    model, _ = logging(resume(folder, case.env(), device="cpu"))
    return learn_rest(model, callback=TrainingCheckpoint(1, folder))


def check_folder(folder):
    """All that bears the name of a checkpoint is one; at most two of them."""
    named = [name for name in names_in(folder) if not name.startswith(".")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(newest(folder / name) for name in named)
    return named


# --- in training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_kills"),
    [
        ("trpo", 2),
        *(pytest.param(name, 2, marks=pytest.mark.slow) for name in CASES if name != "trpo"),
    ],
)
def test_training_killed_anywhere_goes_on_bit_for_bit(name, n_kills, tmp_path, record_property):
    case = CASES[name]
    wanted = outcome(train(case, tmp_path / "whole"))
    with CallCounter() as counter:
        train(case, tmp_path / "counted")
    moments = np.random.default_rng(0).integers(1, counter.n_calls, n_kills)
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)

        def job(folder=folder, moment=moment):
            with CallCounter(moment):
                train(case, folder)

        assert outcome_of(job) == KILLED
        if folder.exists():
            check_folder(folder)
        assert outcome(go_on(case, folder)) == wanted
        assert len(names_in(folder)) == 2  # no leftovers
    record_property("kills", len(moments))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_training_killed_at_many_moments(name, tmp_path, record_property):
    """Killed again and again until it gets through."""
    case = CASES[name]
    wanted = outcome(train(case, tmp_path / "whole"))
    with CallCounter() as counter:
        train(case, tmp_path / "counted")
    draws, folder = np.random.default_rng(list(CASES).index(name)), tmp_path / "killed"
    n_killed = 0
    for _ in range(8):
        moment = draws.integers(1, counter.n_calls // 2)

        def job(moment=moment):
            with CallCounter(moment):
                go_on(case, folder)

        status = outcome_of(job)
        assert status in (KILLED, 0)
        n_killed += status == KILLED
        if folder.exists():
            check_folder(folder)
    assert outcome(go_on(case, folder)) == wanted
    assert n_killed >= 2
    record_property("kills", n_killed)


# --- in writing -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """What real checkpoints hold."""
    folder = tmp_path_factory.mktemp("contents")
    train(CASES["plain"], folder)
    return [newest(folder / name).files for name in names_in(folder)]


def written(folder, content, number):
    return write_checkpoint(folder, content, run="r", num_timesteps=number, keep=2)


def operations(monkeypatch, tmp_path, content):
    """What writing a third checkpoint does to the disk."""
    disk, folder = Disk(), tmp_path / "counted"
    for number in (1, 2):
        written(folder, content, number)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", disk)
        patch.setattr(whole_files, "os", disk)
        written(folder, content, 3)
    return disk.done


def attempt(folder, content, number, disk):
    files.os = whole_files.os = disk
    written(folder, content, number)


def test_killed_at_each_step_of_writing(monkeypatch, tmp_path, contents, record_property):
    old, new = contents
    done = operations(monkeypatch, tmp_path, new)
    points = [(last, False) for last in range(1, len(done) + 1)]
    points += [(last, True) for last, _ in points if done[last - 1] == "write"]
    assert {"mkdir", "open", "write", "fsync", "close", "rename", "unlink", "rmdir"} == set(done)
    assert done.count("fsync") == len(new) + 3  # the manifest, the draft, and their folder
    for number in (1, 2):
        written(tmp_path / "before", old, number)
    for last, halfway in points:
        folder = shutil.copytree(tmp_path / "before", tmp_path / f"{last}-{halfway}")
        disk = Disk(last, halfway=halfway)
        assert outcome_of(lambda f=folder, d=disk: attempt(f, new, 3, d)) == KILLED
        check_folder(folder)
        is_new = "rename" in done[: last - 1]
        assert newest(folder).files == (new if is_new else old)
        assert newest(folder).path.name == f"00000{3 if is_new else 2}-steps-{3 if is_new else 2}"
        written(folder, new, 4)
        assert len(names_in(folder)) == 2  # what was left over is gone
        assert newest(folder).path.name.endswith("-4")
    record_property("kills", len(points))


def test_disk_full_at_each_step_of_writing(monkeypatch, tmp_path, contents, record_property):
    old, new = contents
    done = operations(monkeypatch, tmp_path, new)
    for number in (1, 2):
        written(tmp_path / "before", old, number)
    points = range(1, done.index("rename") + 2)
    for last in points:
        folder = shutil.copytree(tmp_path / "before", tmp_path / str(last))
        with monkeypatch.context() as patch:
            disk = Disk(last, fails=True, halfway=True)
            patch.setattr(files, "os", disk)
            patch.setattr(whole_files, "os", disk)
            with pytest.raises(OSError, match="No space left"):
                written(folder, new, 3)
        assert names_in(folder) == ["000001-steps-1", "000002-steps-2"]
        assert newest(folder).files == old
    record_property("failed writes", len(points))


def limited(size):
    """No file may become larger: the kernel refuses, as where a disk is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_training_survives_a_disk_that_is_full(tmp_path):
    case = CASES["plain"]
    wanted = outcome(train(case, tmp_path / "whole"))

    def job():
        model = case.model()
        model.learn(2 * ROLLOUT, callback=TrainingCheckpoint(1, tmp_path / "c"))
        limited(5000)
        with pytest.warns(UserWarning, match=f"No checkpoint could be written to {tmp_path}/c at"):
            model.learn(
                2 * ROLLOUT,
                callback=TrainingCheckpoint(1, tmp_path / "c"),
                reset_num_timesteps=False,
            )
        assert model.num_timesteps == 4 * ROLLOUT

    assert outcome_of(job) == 0
    assert names_in(tmp_path / "c") == [f"00000{n}-steps-{n * ROLLOUT}" for n in (1, 2)]
    model, _ = logging(resume(tmp_path / "c", case.env(), device="cpu"))
    model._total_timesteps = TOTAL  # of the whole training; the first call had a half
    found = outcome(learn_rest(model))
    same = {"parameters", "optimizer"} & {key for key in wanted if wanted[key] == found[key]}
    assert not same  # the schedules of the first half knew of half the steps
    assert found["counters"] == wanted["counters"]


def test_model_survives_a_save_that_fails(tmp_path):
    model = CASES["trpo"].model()
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    model.learn(ROLLOUT)

    def full():
        limited(5000)
        with pytest.raises(OSError):  # noqa: PT011  # the kernel's words differ
            model.save(tmp_path / "model")

    assert outcome_of(full) == 0
    assert (tmp_path / "model.zip").read_bytes() == before
    assert names_in(tmp_path) == ["model.zip"]
    with CallCounter() as counter:
        model.save(io.BytesIO())
    for moment in np.linspace(1, counter.n_calls, 6, dtype=int):

        def job(moment=moment):
            with CallCounter(moment):
                model.save(tmp_path / "model")

        assert outcome_of(job) == KILLED
        assert (tmp_path / "model.zip").read_bytes() == before
    model.save(tmp_path / "model")
    assert names_in(tmp_path) == ["model.zip"]
    assert (tmp_path / "model.zip").read_bytes() != before


# --- damage ---------------------------------------------------------------------------------------


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


@pytest.mark.parametrize("name", ["model.zip", "rank0.json", "rank0.npz", "manifest.json"])
@pytest.mark.parametrize("damage", [truncated, flipped, emptied, removed])
def test_damaged_checkpoint_is_passed_over_for_the_older_one(damage, name, tmp_path, contents):
    for number, content in enumerate(contents, start=1):
        written(tmp_path, content, number)
    last = tmp_path / "000002-steps-2"
    damage(last / name)
    what = "" if (damage, name) == (flipped, "manifest.json") else name
    with pytest.warns(UserWarning, match=f"damaged checkpoint is passed over: {last}: .*{what}"):
        assert newest_checkpoint(tmp_path) == tmp_path / "000001-steps-1"
    with pytest.warns(UserWarning, match="damaged"):
        assert resume(tmp_path, CASES["plain"].env(), device="cpu").num_timesteps == 3 * ROLLOUT
    with pytest.raises(ValueError, match=str(last)):
        resume(last, CASES["plain"].env())
    damage(tmp_path / "000001-steps-1" / name)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match="path must hold a whole checkpoint"),
    ):
        resume(tmp_path, CASES["plain"].env())


def test_manifest_that_names_files_elsewhere_is_refused(tmp_path, contents):
    path = written(tmp_path, contents[0], 1)
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("rank0.json", "../../rank0.json"))
    with pytest.raises(ValueError, match="is no name of a file in it"):
        newest(path)
