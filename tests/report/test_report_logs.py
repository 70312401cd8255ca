"""Logs are read as they lie there: whole, cut off, restarted, or with a kind missing."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from stable_baselines3.common.monitor import load_results

import sb3_trpo
from sb3_trpo.report.discovery import find_runs
from sb3_trpo.report.runs import clock, kl_utilization, read_runs, training_return


def only(*folders):
    (run,) = read_runs(folders)
    return run


def copied(source, target, *patterns):
    target.mkdir(parents=True, exist_ok=True)
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.copy(file, target)
    return target


@pytest.mark.parametrize("name", ["trpo", "ppo", "contrib", "pendulum"])
def test_figures_of_progress_csv_are_those_that_pandas_reads(runs, tmp_path, name):
    folder = copied(runs[name], tmp_path, "progress.csv")
    frame = pd.read_csv(folder / "progress.csv", float_precision="round_trip")
    series = only(folder).log.series
    numeric = [key for key in frame if frame[key].notna().any()]
    assert sorted(series) == sorted(numeric)
    for key in numeric:
        filled = frame[frame[key].notna()]
        np.testing.assert_array_equal(series[key].steps, filled["time/total_timesteps"])
        np.testing.assert_array_equal(series[key].values, filled[key])


def test_event_files_hold_what_progress_csv_holds(runs, tmp_path):
    csv = only(copied(runs["trpo"], tmp_path / "csv", "progress.csv")).log.series
    events = only(copied(runs["trpo"], tmp_path / "events", "*tfevents*")).log.series
    assert "train/kl_utilization" in events
    for key, series in events.items():
        np.testing.assert_array_equal(series.steps, csv[key].steps)
        np.testing.assert_allclose(series.values, csv[key].values, rtol=1e-6)  # float32


def test_progress_csv_counts_where_both_are_there(runs):
    frame = pd.read_csv(runs["trpo"] / "progress.csv", float_precision="round_trip")
    series = only(runs["trpo"]).log.series["rollout/ep_rew_mean"]
    np.testing.assert_array_equal(series.values, frame["rollout/ep_rew_mean"].dropna())


def test_episodes_are_those_that_sb3_loads_from_monitor_files(runs, tmp_path):
    folder = copied(runs["trpo"], tmp_path, "*monitor.csv")
    assert len(list(folder.iterdir())) == 2
    expected, episodes = load_results(str(folder)), only(folder).episodes
    np.testing.assert_array_equal(episodes.returns, expected["r"])
    np.testing.assert_array_equal(episodes.steps, expected["l"].cumsum())
    np.testing.assert_allclose(episodes.seconds, expected["t"], atol=1e-5)
    assert only(folder).environment == "CartPole-v1"


def test_return_comes_from_monitor_files_where_nothing_else_is_there(runs, tmp_path):
    folder = copied(runs["trpo"], tmp_path, "*monitor.csv")
    series, returns = training_return(only(folder)), load_results(str(folder))["r"]
    np.testing.assert_allclose(series.values, returns.rolling(100, min_periods=1).mean())


def test_progress_csv_cut_at_any_byte_loses_its_last_row_alone(runs, tmp_path):
    content = (runs["trpo"] / "progress.csv").read_bytes()
    whole = only(runs["trpo"]).log.series
    last_row = content.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last_row + 1, len(content)):
        (tmp_path / "progress.csv").write_bytes(content[:end])
        run = only(tmp_path)
        assert any("cut off" in note for note in run.notes)
        for key, series in run.log.series.items():
            np.testing.assert_array_equal(series.values, whole[key].values[: len(series)])
            assert series.steps[-1] <= 1024 - 128


def test_broken_lines_of_progress_csv_are_left_out_and_counted(runs, tmp_path):
    lines = (runs["ppo"] / "progress.csv").read_text().splitlines(keepends=True)
    (tmp_path / "progress.csv").write_text("".join([*lines[:3], "1,2\n", "\0\0,3\n", *lines[3:]]))
    run = only(tmp_path)
    assert any("2 broken lines" in note for note in run.notes)
    assert len(run.log.series["time/fps"]) == len(lines) - 1


def test_event_file_cut_anywhere_yields_what_comes_before(runs, tmp_path):
    source = next(runs["a2c"].glob("*tfevents*"))
    content = source.read_bytes()
    whole = only(runs["a2c"]).log.series["train/value_loss"].values
    lengths = set()
    for end in np.linspace(len(content) // 3, len(content) - 1, 12).astype(int):
        (tmp_path / source.name).write_bytes(content[:end])
        run = only(tmp_path)
        values = run.log.series["train/value_loss"].values
        np.testing.assert_array_equal(values, whole[: len(values)])
        lengths.add(len(values))
    assert len(lengths) > 5
    assert any("cut off" in note for note in run.notes)


def test_monitor_file_cut_in_a_line_or_in_its_header_is_read(runs, tmp_path):
    source = next(runs["trpo"].glob("0.monitor.csv"))
    lines = source.read_text().splitlines(keepends=True)
    (tmp_path / "0.monitor.csv").write_text("".join(lines)[:-3])
    assert len(only(tmp_path).episodes.returns) == len(lines) - 3
    (tmp_path / "0.monitor.csv").write_text("#{" + "".join(lines)[9:])
    run = only(tmp_path)
    assert len(run.episodes.returns) == len(lines) - 2
    assert any("first line is broken" in note for note in run.notes)


@pytest.mark.parametrize("header", ["[1]", "7", '{"t_start": "x"}', '{"env_id": "X"}', "{"])
def test_monitor_file_with_a_strange_header_is_read(tmp_path, header):
    (tmp_path / "monitor.csv").write_text(f"#{header}\nr,l,t\n1,5,1.0\n")
    run = only(tmp_path)
    np.testing.assert_array_equal(run.episodes.returns, [1.0])
    assert run.notes == ("monitor.csv: its first line is broken, its start is unknown",)


def test_episodes_without_a_finite_return_are_left_out(tmp_path):
    rows = "1,5,1.0\nnan,5,2.0\ninf,5,3.0\n3,5,4.0\n"
    (tmp_path / "monitor.csv").write_text(f'#{{"t_start": 1.0}}\nr,l,t\n{rows}')
    run = only(tmp_path)
    np.testing.assert_array_equal(run.episodes.returns, [1.0, 3.0])
    np.testing.assert_allclose(training_return(run).values, [1.0, 2.0])
    assert run.notes == ("monitor.csv: 2 episodes without a finite return are left out",)


def test_rows_before_a_restart_are_superseded(runs, tmp_path):
    lines = (runs["trpo"] / "progress.csv").read_text().splitlines(keepends=True)
    (tmp_path / "progress.csv").write_text("".join([*lines[:7], *lines[4:]]))
    run, whole = only(tmp_path), only(copied(runs["trpo"], tmp_path / "whole", "progress.csv"))
    for key, series in run.log.series.items():
        np.testing.assert_array_equal(series.steps, whole.log.series[key].steps)
    assert any("2 rows from before a restart" in note for note in run.notes)


def test_two_sessions_of_one_run_are_one_line_and_one_clock(tmp_path):
    agent = sb3_trpo.TRPO(
        "MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, tensorboard_log=str(tmp_path)
    )
    agent.learn(256)
    first = only(tmp_path)
    agent.learn(256, reset_num_timesteps=False)
    assert len(list(tmp_path.glob("TRPO_1/*tfevents*"))) == 2
    run = only(tmp_path)
    steps = run.log.series["time/fps"].steps
    np.testing.assert_array_equal(steps, 64.0 * np.arange(1, 9))
    assert (np.diff(clock(run).values) > 0).all()
    np.testing.assert_allclose(clock(run).values[:4], clock(first).values)


def test_a_folder_of_runs_holds_each_of_them(runs):
    root = runs["trpo"].parent
    assert {run.name for run in read_runs([root])} == set(runs)
    assert read_runs([runs["ppo"], root, runs["ppo"]])[0].name == "ppo"
    assert len(read_runs([runs["ppo"], root])) == len(runs)


def test_names_are_as_short_as_tells_them_apart(runs, tmp_path):
    copied(runs["ppo"], tmp_path / "a" / "ppo", "*")
    copied(runs["ppo"], tmp_path / "b" / "ppo", "*")
    copied(runs["ppo"], tmp_path / "b" / "other", "*")
    assert [run.name for run in read_runs([tmp_path])] == ["a/ppo", "other", "b/ppo"]


def test_second_run_in_a_folder_is_told_apart_and_gets_the_model(runs, tmp_path):
    """What examples/train.py leaves when it is run twice."""
    for number in (1, 2):
        copied(runs["trpo"], tmp_path / "walker" / "tensorboard" / f"TRPO_{number}", "*tfevents*")
    copied(runs["trpo"], tmp_path / "walker", "model.zip", "*monitor.csv")
    first, second = read_runs([tmp_path])
    names = [f"walker/tensorboard/TRPO_{number}" for number in (1, 2)]
    assert [first.name, second.name] == names
    assert first.hyperparameters == {}
    assert second.hyperparameters["n_steps"] == "64"
    assert first.episodes is None
    assert len(second.episodes.returns)


def test_logs_of_one_run_may_lie_in_subfolders(runs, tmp_path):
    copied(runs["trpo"], tmp_path / "csv", "progress.csv")
    copied(runs["trpo"], tmp_path / "tb" / "TRPO_1", "*tfevents*")
    copied(runs["trpo"], tmp_path / "monitors", "*monitor.csv")
    run = only(tmp_path)
    assert run.sources == "progress.csv, 1 event file, 2 monitor files"
    assert run.name == tmp_path.name


def test_a_run_that_is_alone_in_the_folder_given_has_its_own_name(runs, tmp_path):
    copied(runs["trpo"], tmp_path / "walker", "model.zip", "*monitor.csv", "*tfevents*")
    assert only(tmp_path).name == "walker"


def test_environments_with_a_folder_each_belong_to_the_log_above(runs, tmp_path):
    copied(runs["trpo"], tmp_path, "progress.csv")
    copied(runs["trpo"], tmp_path / "env0", "0.monitor.csv")
    copied(runs["trpo"], tmp_path / "env1", "1.monitor.csv")
    assert only(tmp_path).sources == "progress.csv, 2 monitor files"


def test_folders_joined_by_plus_are_one_run(runs, tmp_path):
    copied(runs["trpo"], tmp_path / "zoo", "*monitor.csv", "model.zip")
    copied(runs["trpo"], tmp_path / "tb", "*tfevents*")
    run = only(f"{tmp_path / 'zoo'}+{tmp_path / 'tb'}")
    assert run.name == "zoo"
    assert run.sources == "1 event file, 2 monitor files"
    assert kl_utilization(run) is not None


def test_episodes_of_evaluations_are_not_taken_for_training(runs, tmp_path):
    copied(runs["trpo"], tmp_path, "0.monitor.csv")
    copied(runs["trpo"], tmp_path / "eval", "1.monitor.csv")
    (files,) = find_runs([tmp_path])
    assert [path.name for path in files.monitors] == ["0.monitor.csv"]


def test_evaluations_come_from_their_file_where_no_log_has_them(evaluated, tmp_path):
    copied(evaluated, tmp_path, "evaluations.npz")
    logged = only(evaluated).log.series["eval/mean_reward"]
    with pytest.raises(ValueError, match="holds no logs"):
        read_runs([tmp_path])
    (tmp_path / "progress.csv").write_text("time/total_timesteps,time/fps\n64,100\n")
    series = only(tmp_path).log.series["eval/mean_reward"]
    np.testing.assert_array_equal(series.steps, logged.steps)
    np.testing.assert_allclose(series.values, logged.values)


def test_appended_monitor_file_has_one_clock(tmp_path):
    """Monitor(override_existing=False) goes on with the file, and its t begins again."""
    header = "#" + json.dumps({"t_start": 10.0, "env_id": "X"})
    rows = ["1,5,1.0", "2,5,2.0", "3,5,0.5", "4,5,1.5"]
    (tmp_path / "monitor.csv").write_text("\n".join([header, "r,l,t", *rows]) + "\n")
    np.testing.assert_allclose(only(tmp_path).episodes.seconds, [1, 2, 2.5, 3.5])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no logs; looked for progress.csv, TensorBoard"),
        ({"progress.csv": ""}, "without a single figure"),
        ({"progress.csv": "a,b\n1,2\n"}, "no column time/total_timesteps"),
        ({"events.out.tfevents.1": "rubbish " * 40}, "broken or cut off"),
        ({"monitor.csv": "r,l,t\n"}, "without a single figure"),
    ],
)
def test_folder_without_a_figure_is_named(tmp_path, files, message):
    folder = tmp_path / "empty"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_runs([folder])
    assert str(folder) in str(error.value)


def test_run_without_a_figure_is_left_out_where_there_are_others(log_rows, tmp_path):
    """A training that failed at once, or a search of rl_zoo3, must not cost the page of others."""
    log_rows([{"train/kl_utilization": 0.9}], tmp_path / "good")
    (tmp_path / "ended").mkdir()
    (tmp_path / "ended" / "progress.csv").touch()
    with pytest.warns(UserWarning, match="ended holds logs without a single figure.*left out"):
        (run,) = read_runs([tmp_path])
    assert run.name == "good"
    with pytest.raises(ValueError, match="ended holds logs without a single figure"):
        read_runs([tmp_path / "good", tmp_path / "ended"])


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        read_runs([tmp_path / "nowhere"])
