import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning import __main__ as command
from benchmarks.learning import selection, single_run, store
from benchmarks.learning.models import constructor_defaults
from benchmarks.learning.runner import do_missing, sole_runner

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


@pytest.mark.parametrize(("peer", "steps"), [("ppo", 4_000_000), ("a2c", 2_500_000)])
def test_steps_in_a_peers_time_come_from_the_paces(monkeypatch, tmp_path, capsys, peer, steps):
    for algorithm, pace in (("trpo", 1.0), ("ppo", 4.0), ("a2c", 2.5)):
        path = finished_job(tmp_path, algorithm, task="Hopper-v5", steps=8).path
        run = store.read(path)
        store.write(path, replace(run, cpu_s=pace * run.steps))
    broken = tmp_path / "Ant-v5" / "ppo-seed0.json"
    broken.parent.mkdir()
    broken.write_text("{")
    options = ["steps", "--paces", str(tmp_path), "--peer", peer]
    monkeypatch.setattr(sys, "argv", ["benchmarks.learning", *options])
    assert command.main() == 0
    said = capsys.readouterr()
    assert said.out == f"{{'Hopper-v5': {steps}}}\n"
    assert str(broken) in said.err


def test_report_says_the_command_that_made_it(monkeypatch, tmp_path, capsys):
    job = finished_job(tmp_path / "results", "a2c", steps=None)
    folders = [("results", "results"), ("experiments", "none"), ("paces", "none"), ("out", "here")]
    options = [part for name, folder in folders for part in (f"--{name}", str(tmp_path / folder))]
    monkeypatch.setattr(sys, "argv", ["benchmarks.learning", "report", *options])
    assert command.main() == 0
    said = f"1 runs: {tmp_path / 'here' / 'report.md'}"
    assert capsys.readouterr().out.strip() == said
    text = (tmp_path / "here" / "report.md").read_text()
    assert f"Made by `python -m benchmarks.learning report --results {tmp_path}/results" in text
    score = store.read(job.path).evaluation["mean"]
    assert f"| none | none | none | {score:.1f} (1) |" in text


def test_suite_and_seeds_narrow_what_is_run(monkeypatch, tmp_path):
    wanted = []

    def do_missing(folder, jobs, *, n_jobs):
        wanted.extend((folder, str(job), n_jobs) for job in jobs)
        return []

    monkeypatch.setattr(command, "do_missing", do_missing)
    options = ["run", "--suite", "memory", "--only", "recurrent_trpo,trpo", "--seeds", "1,1"]
    where = ["--env", "PendulumNoVelocity-v1,Ant-v5", "--out", str(tmp_path), "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmarks.learning", *options, *where])
    assert command.main() == 0
    assert wanted == [
        (tmp_path, f"{tmp_path.name}: recurrent_trpo PendulumNoVelocity-v1 seed 1", 1)
    ]


def finished_job(folder, algorithm, seed=0, *, task="CartPole-v1", steps=256):
    (job,) = selection.trial_jobs(
        folder, [algorithm], [task], seeds=[seed], steps=steps, changes={}
    )
    short = replace(job.configuration, steps=steps or 256)
    run = single_run.perform(short, seed)
    store.write(job.path, replace(run, configuration=job.configuration.as_json()))
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


def test_next_runner_clears_away_what_a_killed_writer_left_and_no_more(tmp_path):
    job = finished_job(tmp_path, "a2c")
    leftover = job.path.with_name(f"{job.path.name}.17.tmp")
    of_a_runner_within = tmp_path / "steps-8" / "CartPole-v1" / f"{job.path.name}.17.tmp"
    of_a_runner_within.parent.mkdir(parents=True)
    for path in (leftover, of_a_runner_within):
        path.write_text("{")
    assert do_missing(tmp_path, [job], n_jobs=1) == []
    assert not leftover.exists()
    assert of_a_runner_within.exists()


def test_run_of_another_seed_is_refused(tmp_path):
    first, second = (finished_job(tmp_path, "a2c", seed) for seed in range(2))
    second.path.write_text(first.path.read_text())
    with pytest.raises(ValueError, match=r"other settings or seeds.*\n.*a2c-seed1.json$"):
        selection.finished([first, second])
