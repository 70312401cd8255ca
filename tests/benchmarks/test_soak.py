"""The soak finds what it looks for."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import __main__ as command
from benchmarks.soak import faults, kinds
from benchmarks.soak.disk import damage_newest, names
from benchmarks.soak.events import Events
from benchmarks.soak.marks import missed
from benchmarks.soak.promises import Unsound, begun_from
from benchmarks.soak.report import measured, table
from benchmarks.soak.supervisor import Supervisor
from benchmarks.soak.training import Training
from benchmarks.soak.vitals import VITALS, VitalsCallback, growth
from sb3_trpo.checkpoint import files
from sb3_trpo.snapshot import Snapshot
from tests.killed import outcome_of

TASK = "Acrobot-v1"
QUICK = ("reward NaN", "observation inf", kinds.EXCEPTION, kinds.DISK_FULL, kinds.TRUNCATED)
NO_VITALS = VitalsCallback(None)


def job(folder, rollouts, **changed):
    """A training of some rollouts, with a fault in each."""
    of = {"task": TASK, "seed": 0, "draws": 0, "size": rollouts * 512 / 51_200, "per_rollout": 1.0}
    return {**of, "folder": str(folder), **changed}


def events_after(folder, rollouts=3, may_die=False, **changed):
    """Train, and read what happened."""
    training = Training(job(folder, rollouts, **changed), NO_VITALS, may_die=may_die)
    outcome = training.run()
    return outcome, Events(folder / "events.jsonl").read()


def of(events, name):
    return [event for event in events if event["event"] == name]


# --- every fault, and what comes of it ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
        for kind in kinds.SURVIVED
    ],
)
def test_each_fault_is_thrown_and_lived_through(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SURVIVED", (kind,))
    outcome, events = events_after(tmp_path, rollouts=8, per_rollout=0.5)
    thrown, judged = of(events, "fault"), of(events, "outcome")
    assert {fault["kind"] for fault in thrown} == {kind}
    assert judged
    assert all(one["is_sound"] for one in judged)
    assert outcome["steps"] >= 8 * 512


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_death_in_writing_leaves_what_is_gone_on_from(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SURVIVED", ())
    statuses = []
    while not statuses or statuses[-1] != 0:
        statuses.append(outcome_of(lambda: events_after(tmp_path, may_die=True, per_rollout=0.4)))
    assert set(statuses) == {0, -signal.SIGKILL}
    events = Events(tmp_path / "events.jsonl").read()
    assert len(of(events, "start")) == len(statuses)
    assert len(of(events, "resume")) + len(of(events, "begin")) == len(statuses)


# --- what must be noticed -------------------------------------------------------------------------


def test_update_that_is_not_undone_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "SURVIVED", (kinds.EXCEPTION,))
    monkeypatch.setattr(Snapshot, "restore", lambda _: None)
    _, events = events_after(tmp_path, rollouts=6)
    torn = [event["outcome"] for event in of(events, "outcome") if not event["is_sound"]]
    assert "update torn by Injected" in torn


def test_checkpoint_that_is_lost_damaged_or_another_is_noticed(tmp_path):
    events_after(tmp_path, per_rollout=0.0)
    folder, log = tmp_path / "checkpoints", Events(tmp_path / "events.jsonl")
    last = names(folder)[-1]
    assert begun_from(folder, log) == folder / last
    (folder / last).rename(tmp_path / "elsewhere")
    with pytest.raises(Unsound, match=f"{last} was written, and the newest is"):
        begun_from(folder, log)
    (tmp_path / "elsewhere").rename(folder / last)
    log.add("writing", steps=int(last.split("-")[-1]), digest="another")
    with pytest.raises(Unsound, match="is not what was written"):
        events_after(tmp_path, per_rollout=0.0)
    os.truncate(folder / last / "model.zip", 10)
    with pytest.raises(Unsound, match="damaged, and not by the soak"):
        begun_from(folder, log)


def test_checkpoint_that_the_soak_damaged_is_passed_over(tmp_path):
    events_after(tmp_path, per_rollout=0.0)
    folder, log = tmp_path / "checkpoints", Events(tmp_path / "events.jsonl")
    older, newest = names(folder)
    damage_newest(folder, log, 12345)
    damage_newest(folder, log, 54321)  # one whole one remains
    assert [event["name"] for event in log.read("damage")] == [newest]
    with pytest.warns(UserWarning, match=f"passed over: .*{newest}"):
        assert begun_from(folder, log) == folder / older


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_exception_that_no_fault_explains_ends_the_training(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(files, "_write", broken)
    with pytest.raises(ZeroDivisionError):
        events_after(tmp_path)


# --- figures --------------------------------------------------------------------------------------


def test_growth_is_that_after_the_warm_up():
    flat = [{"rss": 100.0}] * 20 + [{"rss": 200.0}] * 80
    assert growth(flat, "rss")["growth"] == 0
    leaking = [{"rss": 100.0 + i} for i in range(100)]
    assert growth(leaking, "rss") == {
        "first": 129.5, "last": 189.5, "peak": 199.0, "growth": 189.5 / 129.5 - 1
    }  # fmt: skip
    assert growth(flat[:8], "rss") is None


def test_vitals_count_memory_and_files(tmp_path):
    # In a process of its own: what earlier tests left behind is freed at any time here.
    code = """
import json, os, sys
from benchmarks.soak.vitals import vitals
before = vitals()
held = bytearray(os.urandom(2**20)) * 64
with open(sys.argv[1], "w"):
    print(json.dumps([before, vitals(), len(held)]))
"""
    printed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    before, after, size = json.loads(printed)
    assert after["descriptors"] == before["descriptors"] + 1
    assert 0.9 * size < after["anonymous"] - before["anonymous"] < 1.1 * size
    assert after["rss"] >= after["anonymous"]


def scores(mean, spread):
    return {"mean": mean, "spread": spread, "scores": [mean]}


def test_each_mark_that_is_missed_is_named():
    life = {name: {"growth": 0.04} for name in VITALS}
    by_kind = {"undisturbed": scores(-80, 5), "faults": scores(-84, 9), "kills": scores(-85, 9)}
    sound = {"failed": [], "unsound": [], "processes": {"p": life}, "scores": {TASK: by_kind}}
    assert missed(sound, with_scores=True) == []
    assert missed({**sound, "failed": [{}]}, with_scores=True) == ["1 failed"]
    assert missed({**sound, "unsound": [{}]}, with_scores=True) == ["1 unsound"]
    for name in VITALS:
        grown = {"p": {**life, name: {"growth": 0.051}}}
        assert missed({**sound, "processes": grown}, with_scores=True) == [
            f"p: {name} grew by 5.1%"
        ]
    for kind in ("faults", "kills"):
        lower = {TASK: {**by_kind, kind: scores(-85.1, 9)}}
        assert missed({**sound, "scores": lower}, with_scores=False) == []
        (said,) = missed({**sound, "scores": lower}, with_scores=True)
        assert said == f"{TASK}, {kind}: return -85.1 against -80.0 ± 5.0"
    alone = {TASK: {**by_kind, "undisturbed": scores(-80, None)}}
    assert len(missed({**sound, "scores": alone}, with_scores=True)) == 2


# --- the whole ------------------------------------------------------------------------------------


def test_what_there_is_when_it_is_interrupted_is_reported(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Supervisor, "round", interrupted)
    assert command.main(["--out", str(tmp_path)]) == 1
    assert "interrupted" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["trainings"] == {}


@pytest.mark.slow
def test_short_soak_kills_and_resumes_and_meets_its_marks(tmp_path, capsys):
    arguments = ["--minutes", "0.01", "--size", "0.06", "--per-rollout", "0.5", "--seed", "5"]
    assert command.main([*arguments, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["trainings"] == {"undisturbed": 1, "faults": 1, "kills": 1}
    assert found["processes killed"] >= 1
    assert found["faults injected"] >= 4
    assert found["missed"] == []
    assert table(measured(tmp_path)) in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main([*arguments, "--out", str(tmp_path)])
