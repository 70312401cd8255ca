"""What the page says of a run follows from the run's own figures, as SB3's logger wrote them."""

import zipfile
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import sb3_trpo
from sb3_trpo.report import learning_advice, step_advice
from sb3_trpo.report.findings import percent
from sb3_trpo.report.runs import read_runs
from tests.report.conftest import train

SEARCHED = {"train/is_line_search_success": 1.0, "train/target_kl": 0.04}


def found(advice, folder):
    (run,) = read_runs([folder])
    (finding,) = advice(run)
    return replace(finding, text=finding.text.replace("\N{NO-BREAK SPACE}", " "))


def rows(key, values, **others):
    return [{key: float(value), **others} for value in values]


def with_model(folder, attributes):
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("data", attributes)


@pytest.mark.parametrize(
    ("values", "text", "look"),
    [
        ([0.95, 0.97, 0.0, 0.96, 0.98, 0.97], "is 0.97 over the 5 updates that moved", False),
        ([0.31, 0.30, 0.32, 0.31, 0.33, 0.29], "is 0.31 over the 6 updates that moved", True),
        ([0.9, 1.2, 1.3, 0.9, 1.1, 0.9], "50 % lie above δ", True),
        ([0.0] * 6, "No update moved the policy", True),
        ([0.2], "is 0.2 over the 1", False),
    ],
)
def test_utilization(log_rows, values, text, look):
    finding = found(step_advice.of_utilization, log_rows(rows("train/kl_utilization", values)))
    assert text in finding.text
    assert finding.worth_a_look is look


@pytest.mark.parametrize(
    ("attributes", "trials", "cause"),
    [
        ('{"match_kl": false}', 3.0, "try match_kl=True"),
        ('{"cg_max_steps": 15}', 3.0, "sb3_contrib's damping shortens"),
        ('{"match_kl": true, "line_search_max_iter": 10}', 10.0, "line_search_max_iter (10)"),
        ('{"match_kl": true, "line_search_max_iter": 10}', 4.0, "stops rising before δ"),
    ],
)
def test_cause_of_a_delta_never_reached(log_rows, attributes, trials, cause):
    extra = {"train/line_search_steps": trials}
    folder = log_rows(rows("train/kl_utilization", [0.3] * 6, **extra))
    with_model(folder, attributes)
    finding = found(step_advice.of_utilization, folder)
    assert "δ is never reached" in finding.text
    assert cause in finding.text


def test_utilization_of_contrib_is_computed_from_its_kl_and_target(runs):
    (run,) = read_runs([runs["contrib"]])
    kl = run.log.series["train/kl_divergence_loss"].values
    median = float(np.median(kl[kl > 0] / 0.02))
    (finding,) = step_advice.of_utilization(run)
    assert f"The median of kl/δ is {median:.3g} " in finding.text


@pytest.mark.parametrize(
    ("outcomes", "extra", "attributes", "texts", "look"),
    [
        ([1] * 9 + [0], {}, "{}", ["1 of 10 updates", "(10 %)"], False),
        ([1, 0] * 5, {}, "{}", ["5 of 10 updates", "fails often", "Usual causes"], True),
        ([1, 0] * 5, {"train/cg_residual": 0.5}, "{}", ["median CG residual is 0.5"], True),
        ([1, 0] * 5, {}, '{"n_steps": 32, "n_envs": 2}', ["only 64 samples"], True),
        ([1, 0] * 5, {"train/explained_variance": 0.0}, "{}", ["advantages are noise"], True),
        ([1, 1, 0, 0, 0, 0], {"train/target_kl": 0.0}, "{}", ["0 of 6", "In 4 more"], False),
    ],
)
def test_searches_that_fail(log_rows, outcomes, extra, attributes, texts, look):
    others = {**SEARCHED, "train/kl_divergence_loss": 0.03, **extra}
    del others["train/is_line_search_success"]
    folder = log_rows(rows("train/is_line_search_success", outcomes, **others))
    with_model(folder, attributes)
    finding = found(step_advice.of_kl, folder)
    for text in texts:
        assert text in finding.text
    assert finding.worth_a_look is look


@pytest.mark.parametrize(
    ("residual", "iterations", "text", "look"),
    [
        (0.01, 15, "Median residual 0.01 after 15 iterations; 100 % of the solves", False),
        (0.4, 15, "Raise cg_max_steps (15)", True),
        (0.4, 2, "stopped early", True),
    ],
)
def test_conjugate_gradient(log_rows, residual, iterations, text, look):
    folder = log_rows(
        rows("train/cg_residual", [residual] * 6, **{"train/cg_iterations": iterations})
    )
    with_model(folder, '{"cg_max_steps": 15}')
    finding = found(step_advice.of_cg, folder)
    assert text in finding.text
    assert finding.worth_a_look is look


@pytest.mark.parametrize(("ratio", "look"), [(0.9, False), (0.2, True), (-0.5, True)])
def test_improvement(log_rows, ratio, look):
    folder = log_rows(rows("train/improvement_ratio", [ratio, 0.0] * 6))
    finding = found(step_advice.of_improvement, folder)
    assert f"gained {ratio:.3g}".replace("-", "−") in finding.text
    assert finding.worth_a_look is look


def test_critic_that_does_not_fit(log_rows):
    folder = log_rows(rows("train/explained_variance", [0.9] * 9 + [0.05, 0.02, 0.01]))
    with_model(folder, '{"match_kl": true, "n_critic_updates": 1, "learning_rate": 1e-05}')
    finding = found(learning_advice.of_explained_variance, folder)
    assert finding.worth_a_look
    assert "over the last quarter is 0.02. The critic is not fitting" in finding.text
    assert finding.text.endswith("(n_critic_updates is 1, learning_rate is 1e-05).")


def test_critic_that_fits(log_rows):
    folder = log_rows(rows("train/explained_variance", [-3, 0.1, 0.5, 0.8, 0.9, 0.7, 0.8, 0.9]))
    finding = found(learning_advice.of_explained_variance, folder)
    assert (finding.text, finding.worth_a_look) == (
        "The median over the last quarter is 0.85.",
        False,
    )


@pytest.mark.parametrize(
    ("values", "text", "look"),
    [
        ([10, 50, 90, 120, 130, 140], "From 10 to 140; best 140 at 6,144 steps.", False),
        ([10, 90, 140, 120, 80, 60], "62 % of its range below its best", True),
        ([-200, -201, -199, -200, -202, -200], "did not rise", True),
        ([10, 20], "From 10 to 20", False),
    ],
)
def test_course_of_the_return(log_rows, values, text, look):
    finding = found(learning_advice.of_return, log_rows(rows("rollout/ep_rew_mean", values)))
    assert text in finding.text
    assert finding.worth_a_look is look


@pytest.mark.parametrize(
    ("key", "values", "text", "look"),
    [
        ("train/std", [1, 0.9, 0.8, 0.7, 0.6], "deviation went from 1 to 0.6.", False),
        ("train/std", [1, 0.5, 0.2, 0.1, 0.05], "hardly tries", True),
        ("train/std", [1, 1.5, 2, 4, 9], "It grows", True),
        ("train/entropy", [0.69, 0.4, 0.2, 0.1, 0.01], "The entropy went from 0.69 to 0.01", True),
        ("train/entropy_loss", [-0.69, -0.6, -0.5, -0.4, -0.3], "from 0.69 to 0.3.", False),
    ],
)
def test_entropy(log_rows, key, values, text, look):
    finding = found(learning_advice.of_entropy, log_rows(rows(key, values)))
    assert text in finding.text
    assert finding.worth_a_look is look


def test_no_line_breaks_before_a_percent_sign():
    assert (percent(0.5), percent(0.001)) == ("50\xa0%", "below 1\xa0%")


def test_parts_of_an_update(log_rows):
    parts = {"time/policy_step_s": 0.2, "time/critic_step_s": 0.1}
    finding = found(learning_advice.of_time, log_rows(rows("time/rollout_s", [0.7] * 6, **parts)))
    assert finding.text == "A mean update takes 1 s: rollout 70 %, policy 20 %, critic 10 %."


class FaultyReward(gym.Wrapper):
    """CartPole with one reward that is not a number."""

    steps = 0

    def step(self, action):
        self.steps += 1
        observation, reward, *rest = self.env.step(action)
        return observation, float("nan") if self.steps == 100 else reward, *rest


def test_skipped_updates_and_their_reasons(tmp_path):
    gym.register("FaultyReward-v0", lambda: FaultyReward(gym.make("CartPole-v1").unwrapped))
    try:
        with pytest.warns(UserWarning, match="finite"):
            train(
                sb3_trpo.TRPO,
                "FaultyReward-v0",
                tmp_path,
                ["csv", "tensorboard"],
                320,
                n_steps=64,
                batch_size=64,
            )
    finally:
        gym.registry.pop("FaultyReward-v0")
    finding = found(step_advice.of_skips, tmp_path)
    assert finding.worth_a_look
    assert finding.text.startswith("1 updates were skipped. Reasons logged: ")
    assert "reward" in finding.text
    (tmp_path / "progress.csv").unlink()  # the words are in the event file, too
    assert found(step_advice.of_skips, tmp_path).text == finding.text
