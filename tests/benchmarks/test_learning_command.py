import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.learning import __main__ as command
from benchmarks.learning import selection, single_run, store
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.runner import sole_runner

ROOT = Path(__file__).parents[2]


def arguments(*options, out, steps=256):
    common = ["--env", "CartPole-v1", "--steps", str(steps), "--out", str(out)]
    return ["-m", "benchmarks.learning", "run", *common, *options]


def run_command(*options, **where):
    answer = subprocess.run(
        [sys.executable, *arguments(*options, **where)], cwd=ROOT, capture_output=True, text=True
    )
    return answer.returncode, answer.stdout + answer.stderr


def call_command(monkeypatch, *options, **where):
    """The command in this process, for what ends before a run starts."""
    monkeypatch.setattr(sys, "argv", ["benchmarks.learning", *arguments(*options, **where)[2:]])
    return command.main()


def test_tuning_refuses_reported_seeds_and_settings_need_a_label(monkeypatch, tmp_path, capsys):
    assert call_command(monkeypatch, "--label", "a", "--seeds", "4", out=tmp_path) == 2
    assert "seeds must be >= 100 for tuning, got [4]" in capsys.readouterr().err
    assert call_command(monkeypatch, "--setting", "{}", out=tmp_path) == 2
    assert "--setting needs a --label" in capsys.readouterr().err
    assert call_command(monkeypatch, "--experiment", "ablation", out=tmp_path) == 2
    assert "--experiment has its own settings, got --steps" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_steps_in_a_peers_time_come_from_the_paces(monkeypatch, tmp_path, capsys):
    for algorithm in ("trpo", "ppo"):
        (job,) = selection.trial_jobs(
            tmp_path, [algorithm], ["Hopper-v5"], seeds=[0], steps=8, changes={}
        )
        store.write(job.path, single_run.perform(job.configuration, 0))
    monkeypatch.setattr(sys, "argv", ["benchmarks.learning", "steps", "--paces", str(tmp_path)])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("{'Hopper-v5': ")


def finished_job(folder, algorithm, seed=0):
    (job,) = selection.trial_jobs(
        folder, [algorithm], ["CartPole-v1"], seeds=[seed], steps=256, changes={}
    )
    store.write(job.path, single_run.perform(job.configuration, seed))
    return job


def test_command_keeps_finished_runs_and_redoes_broken_ones(tmp_path):
    folder = tmp_path / "steps-256"  # trials lie apart, whatever the folder
    kept, broken = (finished_job(folder, algorithm).path for algorithm in ("trpo", "a2c"))
    stamp, text = kept.stat().st_mtime_ns, broken.read_text()
    broken.write_text(text[: len(text) // 2])
    status, output = run_command("--only", "trpo,a2c", "--jobs", "2", out=tmp_path)
    assert status == 0, output
    assert "1 of 2 runs to do" in output
    assert kept.stat().st_mtime_ns == stamp
    # in a process of its own and in this one: the same seed, the same run
    assert store.read(broken).evaluation == json.loads(text)["evaluation"]
    assert store.read(broken).curve["return"] == json.loads(text)["curve"]["return"]


def test_failed_run_is_reported_and_the_rest_goes_on(tmp_path):
    setting = '{"n_epochs": 2}'  # PPO has it, A2C does not
    options = ("--only", "ppo,a2c", "--label", "epochs", "--setting", setting, "--seeds", "100")
    status, output = run_command(*options, out=tmp_path)
    assert status == 1
    assert "unexpected keyword argument 'n_epochs'" in output
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert files == [Path("epochs", "steps-256", "CartPole-v1", "ppo-seed100.json")]


def test_runs_with_other_settings_are_neither_kept_nor_lost(tmp_path, monkeypatch, capsys):
    job = finished_job(tmp_path / "a" / "steps-256", "a2c", seed=100)
    options = ("--only", "a2c", "--label", "a", "--seeds", "100", "--setting", '{"n_steps": 6}')
    assert call_command(monkeypatch, *options, out=tmp_path) == 2
    assert "made with other settings" in capsys.readouterr().err
    assert store.read(job.path).is_of(job.configuration, constructor_defaults(job.configuration))


def test_a_folder_has_one_runner(tmp_path, monkeypatch, capsys):
    with sole_runner(tmp_path / "steps-256"):
        assert call_command(monkeypatch, out=tmp_path) == 2
    assert "another runner is at work" in capsys.readouterr().err


def processes_with(*texts):
    """Ids of the living processes with all of some texts on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if all(text in arguments for text in texts):
            found.append(int(process.name))
    return found


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_runner_takes_its_runs_along_and_leaves_no_file(how, tmp_path):
    # Started in the background of a shell, we ignore it, and so would the runner.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runner = subprocess.Popen(
        [sys.executable, *arguments("--only", "a2c", out=tmp_path, steps=10_000_000)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        its_child = ("benchmarks.learning.single_run", str(tmp_path))
        wait_until(lambda: processes_with(*its_child))
        (child,) = processes_with(*its_child)
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=1" in environment
        runner.send_signal(how)
        output = runner.communicate(timeout=60)[0].decode()
    finally:
        runner.kill()
    assert runner.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130), output
    wait_until(lambda: not processes_with(str(tmp_path)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with sole_runner(tmp_path / "steps-10000000"):  # the dead runner's claim is gone
        pass


def test_next_runner_clears_away_what_a_killed_writer_left(tmp_path):
    leftover = tmp_path / "CartPole-v1" / "a2c-seed0.json.17.tmp"
    leftover.parent.mkdir()
    leftover.write_text("{")
    with sole_runner(tmp_path):
        assert not leftover.exists()
