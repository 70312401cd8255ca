import csv
import json

import pytest

from benchmarks.learning import experiments, store
from benchmarks.learning.configurations import configuration
from benchmarks.learning.recorder import FIGURES
from benchmarks.learning.tables import first_step_above
from tests.benchmarks.synthetic_runs import MUJOCO, full_mujoco, report, row, save, synthetic


def test_report_has_the_numbers_of_the_raw_files(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 2.0))
    text = report(tmp_path)
    assert "`the command` from the 20 runs" in text
    assert "20.00 CPU hours" in text
    assert "Ours were made by the code of unknown (10 runs). All runs are of one kind" in text
    text = text[text.index("## MuJoCo") :]
    assert row(text, "Ant-v5")[2:] == ["200.0 ± 28.3 (2)", "100.0 ± 14.1 (2)", "none", "none"]
    ours = row(text, "TRPO (sb3_trpo)")
    assert ours[1] == "2"
    # ten normalised scores, five of 1.8 and five of 2.2: the middle six are three of each
    assert ours[2].startswith("2.00 [1.8")
    assert row(text, "TRPO (sb3_contrib)")[2:4] == ["1.00 [1.00, 1.00]"] * 2
    assert ours[3].startswith("2.00 [")
    assert ours[4:] == ["2.00"] * 5
    assert "no seed has a run on every task: PPO (SB3), A2C (SB3)." in text
    improvement = text.split("probability of improvement |")[1]
    assert row(improvement, "TRPO (sb3_contrib)")[1] == "1.00 [1.00, 1.00]"


def test_report_says_which_code_and_which_machines_made_the_runs(tmp_path):
    for seed, cpu in enumerate("abb"):
        versions = {"sb3_trpo_commit": "0123456789", "sb3_trpo_changed_since": seed == 2}
        run = synthetic("trpo", "Ant-v5", seed, 1.0, machine={"cpu": cpu}, versions=versions)
        save(tmp_path / "results", run)
    text = " ".join(report(tmp_path).split())
    assert "by the code of 0123456 (2 runs), 0123456 and changes (1 run)." in text
    assert "several kinds of machines, a (1 run), b (2 runs), so that" in text


def test_marks_are_met_or_missed_or_open_while_runs_are_missing(tmp_path):
    results = tmp_path / "results"
    save(results, *full_mujoco("contrib_trpo", 1.0, n_seeds=5))
    save(results, *full_mujoco("trpo", 2.0, n_seeds=4))
    save(results, *(synthetic("trpo", "Acrobot-v1", seed, -85.0) for seed in range(5)))
    folder = tmp_path / "experiments"
    for task, seeds, scores in (
        ("Ant-v5", (0, 1, 2), (190.0, 190.5)),
        ("Hopper-v5", (0, 1, 2), (190.0, 190.0)),
        ("Swimmer-v5", (0, 1), (190.0, 190.5)),
    ):
        save(results, *(synthetic("ppo", task, seed, scores[0]) for seed in range(3)))
        for job in experiments.jobs(experiments.EQUAL_TIME, folder, [task], seeds):
            as_json = job.configuration.as_json()
            run = synthetic("trpo", task, job.seed, scores[1], configuration=as_json)
            store.write(job.path, run)

    def marks():
        text = report(tmp_path)
        return text[text.index("## What was asked") : text.index("## MuJoCo")]

    text, over = marks(), "over TRPO (sb3_contrib)"
    assert row(text, "Swimmer-v5")[1:] == ["≥ 355", "200.0 ± 23.1 (4)", "open"]
    assert row(text, "Acrobot-v1")[1:] == ["≥ −85", "−85.0 ± 0.0 (5)", "met"]
    assert row(text, f"IQM {over}")[3] == row(text, f"mean of the ratios {over}")[3] == "open"
    in_time = [row(text, f"{task}-v5, in PPO's time")[1:] for task in ("Ant", "Hopper", "Swimmer")]
    asked = "> 190.0 ± 0.0 (3)"
    assert in_time == [
        [asked, "190.5 ± 0.0 (3)", "met"],
        [asked, "190.0 ± 0.0 (3)", "**missed**"],
        [asked, "190.5 ± 0.0 (2)", "open"],
    ]
    assert "HalfCheetah-v5, in" not in text
    assert "CartPole-v1" not in text

    save(results, *(synthetic("trpo", task, 4, 200.0) for task in MUJOCO))
    text = marks()
    assert row(text, "Swimmer-v5")[1:] == ["≥ 355", "200.0 ± 20.0 (5)", "**missed**"]
    assert row(text, f"IQM {over}")[1] == "≥ 1.1, lower bound > 1"
    assert row(text, f"IQM {over}")[3] == row(text, f"mean of the ratios {over}")[3] == "met"
    assert row(text, f"probability of improvement {over}")[2:] == ["1.00 [1.00, 1.00]", "met"]


def test_aggregate_above_its_mark_is_missed_if_its_interval_is_not(tmp_path):
    theirs, ours = (
        [synthetic(algorithm, task, s, v) for task in MUJOCO for s, v in enumerate(values)]
        for algorithm, values in (
            ("contrib_trpo", (1.0, 1.0, 1.0, 99.0, 99.0)),
            ("trpo", (2.0, 2.0, 60.0, 100.0, 100.0)),
        )
    )
    save(tmp_path / "results", *theirs, *ours)
    over = "over TRPO (sb3_contrib)"
    cells = row(report(tmp_path), f"IQM {over}")
    assert float(cells[2].split()[0]) >= 1.1
    assert cells[3] == "**missed**"


def test_scores_below_those_of_an_agent_that_never_acts_are_named(tmp_path):
    save(tmp_path / "results", synthetic("trpo", "Ant-v5", 0, 9.0))
    save(tmp_path / "results", *(synthetic("ppo", "Ant-v5", n, 10.5 - n) for n in range(2)))
    text = report(tmp_path, idle={"Ant-v5": 9.5, "Hopper-v5": -3.0})
    assert "gets 10 on Ant-v5, −3 on Hopper-v5. Below it end: TRPO (sb3_trpo) on Ant-v5; a" in text
    assert "Below it" not in report(tmp_path, idle={"Ant-v5": 9.0})
    assert "never acts" not in report(tmp_path)


def test_aggregates_are_held_against_their_marks_without_what_the_reference_fails_on(tmp_path):
    theirs = full_mujoco("contrib_trpo", 1.0, n_seeds=5)
    ours = [
        synthetic("trpo", task, seed, 500.0 if task == "Ant-v5" else 100.0)
        for task in MUJOCO
        for seed in range(5)
    ]
    save(tmp_path / "results", *theirs, *ours)
    what = "mean of the ratios over TRPO (sb3_contrib)"
    text = report(tmp_path, idle={"Ant-v5": 98.1, "Hopper-v5": 97.9})
    assert row(text, what)[2].startswith("1.84 [")  # (4 + 5) / 5 of 98 by 100
    assert row(text, what)[3] == "met"
    assert row(text, f"{what}, without Ant-v5")[2].startswith("1.02 [")
    assert row(text, f"{what}, without Ant-v5")[3] == "**missed**"
    assert "without Ant" not in report(tmp_path, idle={"Ant-v5": 97.9})


def test_updates_are_medians_over_all_seeds(tmp_path):
    columns = {name: [1.0] for name in FIGURES}
    for seed, (kl, skipped) in enumerate([([0.9, None, 0.96], 1), ([0.98], 2)]):
        noted = {**columns, "kl_utilization": kl, "line_search_steps": [2.0 + seed]}
        run = synthetic("trpo", "Ant-v5", seed, 1.0, updates=noted, skipped_updates=skipped)
        save(tmp_path / "results", run)
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0))
    text = report(tmp_path)
    text = text[text.index("### Updates of TRPO (sb3_trpo)") :]
    assert row(text, "Ant-v5")[1:] == ["0.96", "2.5", "3"]
    assert "| Hopper-v5 |" not in text


def test_csv_has_a_sorted_row_per_run(tmp_path):
    runs = [
        synthetic("trpo", "Hopper-v5", 1, 2.0),
        synthetic("trpo", "Hopper-v5", 0, 1.0, train_last100=None),
        synthetic("a2c", "Walker2d-v5", 0, 3.0),
    ]
    save(tmp_path / "results", *runs)
    report(tmp_path)
    with (tmp_path / "report" / "results.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == ("algo,env,seed,steps,eval_mean,eval_std,train_last100,wall_s,cpu_s")
    assert rows == [
        ["a2c", "Walker2d-v5", "0", "1000", "3.000", "0.500", "3.000", "4.0", "3600.0"],
        ["trpo", "Hopper-v5", "0", "1000", "1.000", "0.500", "", "4.0", "3600.0"],
        ["trpo", "Hopper-v5", "1", "1000", "2.000", "0.500", "2.000", "4.0", "3600.0"],
    ]


def test_partial_results_make_a_report_that_says_what_is_missing(tmp_path, capsys):
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 5.0))
    save(tmp_path / "results", synthetic("ppo", "Pendulum-v1", 0, -5.0))
    broken = tmp_path / "results" / "Hopper-v5" / "a2c-seed0.json"
    broken.write_text("{}")
    text = report(tmp_path)
    assert "No picture over time" in text
    text = text[text.index("## MuJoCo") :]
    assert row(text, "Hopper-v5")[2:] == ["5.0 (1)", "none", "none", "none"]
    assert row(text, "Pendulum-v1")[4] == "−5.0 (1)"
    assert "No aggregates yet" in text
    assert str(broken) in capsys.readouterr().err
    assert "return over time" not in text
    pictures = {path.name for path in (tmp_path / "report").glob("*_*.*")}
    assert pictures == {
        f"{suite}_steps.{suffix}" for suite in ("mujoco", "classic") for suffix in ("png", "svg")
    }


def test_aggregates_without_each_task(tmp_path):
    theirs = full_mujoco("contrib_trpo", 1.0)
    ours = [
        synthetic("trpo", task, s, 100.0 * (2 if task == "Ant-v5" else 1))
        for task in MUJOCO
        for s in (0, 1)
    ]
    save(tmp_path / "results", *theirs, *ours)
    text = report(tmp_path).split("| without |")[1]
    # ours is 100 beside 90 and 110, and 200 on Ant: two of eight ratios of 2, which IQM leaves out
    assert row(text, "Ant-v5")[1:] == ["1.00", "1.00", "none", "none", "0.50"]
    assert row(text, "Hopper-v5")[1:] == ["1.00", "1.25", "none", "none", "0.62"]


def test_ratios_to_a_negative_mean_are_refused(tmp_path):
    runs = full_mujoco("contrib_trpo", 1.0)
    runs = [run for run in runs if run.environment != "Ant-v5"]
    runs += [synthetic("contrib_trpo", "Ant-v5", seed, -20.0) for seed in (0, 1)]
    save(tmp_path / "results", *runs)
    assert "the mean of TRPO (sb3_contrib) is not positive on Ant-v5" in report(tmp_path)


def test_runs_with_other_settings_than_todays_are_refused(tmp_path):
    other = configuration("trpo", "Hopper-v5").changed({"n_steps": 64}).as_json()
    old = synthetic("trpo", "Hopper-v5", 1, 1.0, configuration=other)
    save(tmp_path / "results", synthetic("trpo", "Hopper-v5", 0, 1.0), old)
    with pytest.raises(ValueError, match=r"other settings.*\n.*Hopper-v5/trpo-seed1.json$"):
        report(tmp_path)


def test_report_is_the_same_every_time(tmp_path):
    save(tmp_path / "results", *full_mujoco("contrib_trpo", 1.0), *full_mujoco("trpo", 1.5))
    save(tmp_path / "paces", synthetic("trpo", "Hopper-v5", 0, 1.0))
    report(tmp_path, "first")
    report(tmp_path, "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 2 + 4
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second, name


def test_no_finished_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no finished run"):
        report(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"algorithm": "trpo"}), "\udcff"])
def test_files_that_hold_no_run_are_broken(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(store.BrokenRunError):
        store.read(path)


# --- variants -------------------------------------------------------------------------------------


def with_curve(run, steps, returns, rows):
    times = [0.01 * step for step in steps]
    curve = {**run.curve, "step": steps, "return": returns, "rows": rows, "cpu_s": times}
    return store.Run(**{**vars(run), "curve": curve})


def test_threshold_is_reached_when_the_last_twenty_episodes_are_above_it():
    task = "CartPoleNoVelocity-v1"
    run = synthetic("recurrent_trpo", task, 0, 500.0)
    lucky = with_curve(run, [10, 20, 30], [500.0, 0.0, 450.0], [1, 19, 25])
    assert first_step_above(lucky, 400.0) == 30  # a single episode is not enough
    assert first_step_above(lucky, 460.0) is None
    assert first_step_above(with_curve(run, [10], [500.0], [19]), 400.0) is None
    broken = with_curve(run, [10, 20, 30], [500.0, None, 450.0], [10, 100, 10])
    assert first_step_above(broken, 460.0) == 30  # an episode of no finite return is none


def test_report_has_the_variants_beside_their_counterparts(tmp_path):
    task = "CartPoleNoVelocity-v1"
    runs = []
    for algorithm, steps in (("recurrent_trpo", (100, 300)), ("recurrent_ppo", (700, None))):
        for seed, step in enumerate(steps):
            run = synthetic(algorithm, task, seed, 490.0 if step else 100.0)
            runs.append(with_curve(run, [step or 999], [run.evaluation["mean"]], [20]))
    save(tmp_path / "results", *runs)
    markdown = report(tmp_path)
    scores, thresholds = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith(f"| {task} |")
    )
    assert scores[2:] == ["490.0 ± 0.0 (2)", "295.0 ± 275.8 (2)"]
    assert thresholds[1:] == ["400", "200 (2 of 2)", "none (1 of 2)"]
    assert (tmp_path / "report" / "memory_steps.png").exists()
