"""Training that is resumed goes on as if nothing had happened."""

from dataclasses import replace

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, newest_checkpoint, resume
from tests.training_runs import CASES, N_ENVS, N_STEPS, Case, as_text, logging, outcome

ROLLOUT = N_ENVS * N_STEPS
TOTAL = 4 * ROLLOUT - 5  # rounded up, as ever


def trained(case, folder, callbacks=(), **kwargs):
    """An uninterrupted training with all its checkpoints; its outcome and log."""
    model = case.model()
    rows = model.logger.output_formats[0].rows
    saving = TrainingCheckpoint(N_STEPS, folder, keep=10)
    model.learn(TOTAL, callback=[saving, *callbacks], log_interval=2, **kwargs)
    result = outcome(model)
    model.env.close()
    return result, rows


def gone_on(path, env, callbacks=()):
    set_random_seed(np.random.randint(1000))  # another process has other random numbers
    model, rows = logging(resume(path, env, device="cpu"))
    learn_rest(model, callback=list(callbacks))
    result = outcome(model)
    model.env.close()
    return result, rows.rows


def checkpoints(folder):
    return sorted(folder.iterdir())


def steps_of(path):
    return int(path.name.split("-")[-1])


# --- the same, bit for bit ------------------------------------------------------------------------


QUICK = {"trpo", "workers", "sde", "bits", "maskable", "recurrent"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(name, tmp_path):
    case = CASES[name]
    wanted, rows = trained(case, tmp_path)
    assert len(checkpoints(tmp_path)) == 4
    for path in checkpoints(tmp_path)[::2]:
        found, later = gone_on(path, case.env())
        assert {key for key in wanted if wanted[key] != found[key]} == set()
        assert as_text(later) == as_text([row for row in rows if row["step"] > steps_of(path)])
        assert later


def test_training_without_checkpoints_is_the_same(tmp_path):
    model = CASES["bits"].model()
    model.learn(TOTAL)
    assert outcome(model) == trained(CASES["bits"], tmp_path)[0]


def test_environments_need_not_be_normalised_by_hand(tmp_path):
    case = CASES["trpo"]
    wanted, _ = trained(case, tmp_path)
    found, _ = gone_on(checkpoints(tmp_path)[0], case.venv())
    assert found == wanted


def test_what_is_drawn_between_resuming_and_learning_changes_nothing(tmp_path):
    class Drawing(BaseCallback):
        def _on_training_start(self):
            np.random.random(3), th.rand(3)

        def _on_step(self):
            return True

    case = CASES["sde"]
    wanted, _ = trained(case, tmp_path)
    model, _ = logging(resume(checkpoints(tmp_path)[1], case.env(), device="cpu"))
    model.predict(model._last_obs)
    learn_rest(model, callback=Drawing())
    assert outcome(model) == wanted


def test_interrupted_twice(tmp_path):
    case = CASES["recurrent"]
    wanted, rows = trained(case, tmp_path / "whole")
    first = checkpoints(tmp_path / "whole")[0]
    model, _ = logging(resume(first, case.env(), device="cpu"))
    saving = TrainingCheckpoint(N_STEPS, tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        learn_rest(model, callback=[saving, Interrupting(N_STEPS + 3)])
    assert steps_of(newest_checkpoint(tmp_path / "again")) == 2 * ROLLOUT
    found, later = gone_on(tmp_path / "again", case.env())
    assert found == wanted
    assert as_text(later) == as_text([row for row in rows if row["step"] > 2 * ROLLOUT])


class Interrupting(BaseCallback):
    """Ctrl-C at a step."""

    def __init__(self, n_calls):
        super().__init__()
        self._last = n_calls + 1

    def _on_training_start(self):
        self._last += self.n_calls

    def _on_step(self):
        self._left = getattr(self, "_left", self._last) - 1
        if self._left == 0:
            raise KeyboardInterrupt
        return True


def test_plain_learn_goes_on_too_where_it_is_told_to(tmp_path):
    case = CASES["plain"]
    wanted, _ = trained(case, tmp_path)
    model, _ = logging(resume(checkpoints(tmp_path)[1], case.env(), device="cpu"))
    model.learn(model._total_timesteps - model.num_timesteps, reset_num_timesteps=False)
    assert outcome(model) == wanted


PICKLED = [
    "_last_obs",
    "_last_episode_starts",
    "_last_original_obs",
    "ep_info_buffer",
    "ep_success_buffer",
]


def test_what_the_zip_pickles_of_the_state_is_not_needed(tmp_path):
    case = CASES["trpo"]
    wanted, _ = trained(case, tmp_path)
    path = checkpoints(tmp_path)[1]
    model = resume(path, case.env(), device="cpu", custom_objects=dict.fromkeys(PICKLED))
    assert len(model.ep_info_buffer) == 4 * N_ENVS
    assert outcome(learn_rest(logging(model)[0])) == wanted


def test_memory_and_exploration_matrices_are_there_at_once(tmp_path):
    case = CASES["recurrent_sde_workers"]
    model = replace(case, has_workers=False).model()
    model.learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path))
    found = resume(tmp_path, replace(case, has_workers=False).env(), device="cpu")
    for own, other in zip(found._last_lstm_states, model._last_lstm_states, strict=True):
        assert all(th.equal(*pair) and pair[0].any() for pair in zip(own, other, strict=True))
    for name in ("exploration_mat", "exploration_matrices"):
        assert th.equal(*(getattr(m.policy.action_dist, name) for m in (found, model)))
    assert th.equal(
        th.get_rng_state(), th.from_numpy(found._continuation.stored["random"]["torch"])
    )


class Poisoning(BaseCallback):
    """Rewards that are not finite, from some rollout on."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        if self.num_timesteps > ROLLOUT:
            self.model.rollout_buffer.rewards[0] = np.nan


def test_skipped_updates_are_counted_on(tmp_path):
    case = CASES["plain"]
    model = case.model()
    callbacks = [TrainingCheckpoint(1, tmp_path), Poisoning()]
    with pytest.warns(UserWarning, match="Update skipped"):
        model.learn(3 * ROLLOUT, callback=callbacks)
    assert model._n_skipped_updates == 2
    found, _ = logging(resume(tmp_path, case.env(), device="cpu"))
    assert found._n_skipped_updates == 2
    with pytest.raises(RuntimeError, match="3 updates in a row were skipped"):
        found.learn(ROLLOUT, callback=Poisoning(), reset_num_timesteps=False)


# --- schedules, counters, log ---------------------------------------------------------------------


def test_schedules_and_counters_go_on(tmp_path):
    _, rows = trained(CASES["trpo"], tmp_path)
    model, log = logging(resume(checkpoints(tmp_path)[1], CASES["trpo"].env(), device="cpu"))
    assert model.num_timesteps == 2 * ROLLOUT
    assert model._n_updates == 2
    learn_rest(model)
    last = log.rows[-1]  # of the update before the last, which three of four rollouts have led to
    assert last["train/learning_rate"] == pytest.approx(1e-2 * (1 - 3 * ROLLOUT / TOTAL))
    assert last["train/target_kl"] == pytest.approx(0.01 + 0.02 * (1 - 3 * ROLLOUT / TOTAL))
    assert last["train/n_updates"] == 3
    assert [row["time/iterations"] for row in log.rows] == [4]  # log_interval was 2
    assert [row["step"] for row in rows] == [2 * ROLLOUT, 4 * ROLLOUT]


def test_learn_with_reset_begins_at_zero_and_says_so(tmp_path):
    trained(CASES["plain"], tmp_path)
    model, _ = logging(resume(tmp_path, CASES["plain"].env(), device="cpu"))
    with pytest.warns(UserWarning, match="learn_rest"):
        model.learn(ROLLOUT)
    assert model.num_timesteps == ROLLOUT
    assert model._call.n_iterations_before == 0
    with pytest.raises(ValueError, match="resume"):
        learn_rest(model)


def test_finished_training_has_no_rest(tmp_path):
    wanted, _ = trained(CASES["plain"], tmp_path)
    found, rows = gone_on(tmp_path, CASES["plain"].env())
    assert rows == []
    assert found == wanted


def test_tensorboard_goes_on_in_its_folder_though_another_run_has_begun(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    case, log = CASES["plain"], tmp_path / "log"

    def begun():
        model = case.model(tensorboard_log=str(log))
        model._custom_logger = False
        return model

    begun().learn(
        2 * ROLLOUT, callback=TrainingCheckpoint(N_STEPS, tmp_path / "c"), tb_log_name="mine"
    )
    begun().learn(ROLLOUT, tb_log_name="mine")
    learn_rest(resume(checkpoints(tmp_path / "c")[0], case.env(), device="cpu"))
    assert {path.name for path in log.iterdir()} == {"mine_1", "mine_2"}
    found = accumulators.EventAccumulator(str(log / "mine_1")).Reload()
    steps = [event.step for event in found.Scalars("rollout/ep_rew_mean")]
    assert steps == [ROLLOUT, 2 * ROLLOUT, 2 * ROLLOUT]  # twice: before and after


def test_logger_of_ones_own_is_not_written_to_unasked(tmp_path):
    case = CASES["plain"]
    model = case.model()
    model.set_logger(configure(str(tmp_path / "mine"), ["csv"]))
    model.learn(2 * ROLLOUT, callback=TrainingCheckpoint(N_STEPS, tmp_path / "c"))
    before = (tmp_path / "mine" / "progress.csv").read_bytes()
    learn_rest(resume(checkpoints(tmp_path / "c")[0], case.env(), device="cpu"))
    assert (tmp_path / "mine" / "progress.csv").read_bytes() == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["progress.csv"]


def test_callbacks_of_sb3_go_on(tmp_path):
    case = Case(noise="floats")

    def callbacks(folder):
        evaluating = EvalCallback(
            VecNormalize(case.venv()),
            eval_freq=10,  # not in step with the rollouts
            n_eval_episodes=4,
            log_path=str(folder),
            verbose=0,
        )
        stopping = StopTrainingOnMaxEpisodes(7)  # of each environment; eight are begun
        every = EveryNTimesteps(50, Interrupting(10**6))
        return [evaluating, stopping, every]

    first = callbacks(tmp_path / "a")
    _, rows = trained(case, tmp_path / "c", first)
    for path in checkpoints(tmp_path / "c")[:2]:
        again = callbacks(tmp_path / path.name)
        _, later = gone_on(path, case.env(), again[::-1])  # in another order
        assert as_text(later) == as_text([row for row in rows if row["step"] > steps_of(path)])
        assert any("eval/mean_reward" in row for row in later)
        assert again[0].best_mean_reward == first[0].best_mean_reward
        assert again[0].evaluations_timesteps == first[0].evaluations_timesteps
        assert again[1].n_episodes == first[1].n_episodes
        assert again[2].last_time_trigger == first[2].last_time_trigger


# --- when a checkpoint is written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("save_freq", "keep", "found"),
    [
        (1, 2, [3, 4]),
        (1, 10, [1, 2, 3, 4]),
        (N_STEPS + 1, 10, [2, 4]),
        (3 * N_STEPS, 10, [3, 4]),  # the last one when learn() is through
        (10**6, 10, [4]),
    ],
)
def test_frequency_and_number_kept(save_freq, keep, found, tmp_path):
    model = CASES["plain"].model()
    model.learn(TOTAL, callback=TrainingCheckpoint(save_freq, tmp_path, keep))
    assert [steps_of(path) // ROLLOUT for path in checkpoints(tmp_path)] == found


def test_frequency_goes_on(tmp_path):
    case = CASES["plain"]
    trained(case, tmp_path / "a")
    for path in checkpoints(tmp_path / "a")[:2]:
        model, _ = logging(resume(path, case.env(), device="cpu"))
        learn_rest(model, callback=TrainingCheckpoint(2 * N_STEPS, tmp_path / path.name, 10))
        found = [steps_of(one) // ROLLOUT for one in checkpoints(tmp_path / path.name)]
        assert found == ([3, 4] if path.name.startswith("000001") else [4])


def test_training_that_a_callback_ends_in_a_rollout_keeps_the_checkpoint_before(tmp_path):
    class Ending(BaseCallback):
        def _on_step(self):
            return self.n_calls < N_STEPS + 5

    model = CASES["plain"].model()
    model.learn(TOTAL, callback=[TrainingCheckpoint(1, tmp_path), Ending()])
    assert [steps_of(path) for path in checkpoints(tmp_path)] == [ROLLOUT]


def spoil_one_reward(walk, at, value):
    """Let a walk return a reward once that is not sound."""
    step, n_steps = walk.step, 0

    def spoilt(action):
        nonlocal n_steps
        n_steps += 1
        observation, reward, *rest = step(action)
        return observation, value if n_steps == at else reward, *rest

    walk.step = spoilt


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_reward_that_ruins_the_statistics_leaves_a_checkpoint_to_go_on_from(value, tmp_path):
    case = CASES["trpo"]
    wanted, _ = trained(case, tmp_path / "whole")
    model = case.model()
    spoil_one_reward(model.env.venv.envs[0].unwrapped, N_STEPS + 3, value)
    with (
        pytest.warns(UserWarning, match="VecNormalize are not finite.*Older ones are still there"),
        pytest.raises(RuntimeError, match="3 updates in a row were skipped"),
        np.errstate(invalid="ignore"),
    ):
        model.learn(TOTAL, callback=TrainingCheckpoint(1, tmp_path / "c"))
    assert [steps_of(path) for path in checkpoints(tmp_path / "c")] == [ROLLOUT]
    assert gone_on(tmp_path / "c", case.env())[0] == wanted


def test_rewards_that_are_not_normalised_do_not_keep_checkpoints_from_being_written(tmp_path):
    model = CASES["trpo"].model()
    model.env.norm_reward = False
    spoil_one_reward(model.env.venv.envs[0].unwrapped, N_STEPS + 3, np.nan)
    with pytest.warns(UserWarning, match="Update skipped"), np.errstate(invalid="ignore"):
        model.learn(TOTAL, callback=TrainingCheckpoint(1, tmp_path))
    assert np.isnan(model.env.ret_rms.var)
    assert steps_of(checkpoints(tmp_path)[-1]) == 4 * ROLLOUT
    assert model._n_updates == 3


def test_verbose_says_what_is_written(tmp_path, capsys):
    CASES["plain"].model().learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path, verbose=1))
    assert f"{tmp_path}/000001-steps-{ROLLOUT}" in capsys.readouterr().out


def test_one_folder_is_for_one_training(tmp_path):
    case = CASES["plain"]
    model = case.model()
    model.learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path))
    model.learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path), reset_num_timesteps=False)
    assert [steps_of(path) for path in checkpoints(tmp_path)] == [ROLLOUT, 2 * ROLLOUT]
    with pytest.raises(ValueError, match="path must be a folder without checkpoints of another"):
        case.model().learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path))
    resumed = resume(tmp_path, case.env(), device="cpu")
    resumed.learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path), reset_num_timesteps=False)
    assert [steps_of(path) for path in checkpoints(tmp_path)] == [2 * ROLLOUT, 3 * ROLLOUT]


# --- bad arguments --------------------------------------------------------------------------------


def test_folder_that_cannot_be_made_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="path must be a folder to write to"):
        CASES["plain"].model().learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path / "file"))


def test_callback_refuses_other_algorithms_and_other_callbacks(tmp_path):
    with pytest.raises(ValueError, match="TRPO, MaskableTRPO and RecurrentTRPO, got PPO"):
        PPO("MlpPolicy", "CartPole-v1", device="cpu").learn(1, TrainingCheckpoint(1, tmp_path))
    nested = EveryNTimesteps(8, TrainingCheckpoint(1, tmp_path))
    with pytest.raises(ValueError, match="not to EveryNTimesteps"):
        CASES["plain"].model().learn(ROLLOUT, callback=nested)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    for name in ("plain", "trpo", "maskable"):
        trained(CASES[name], folder / name)
    return folder


class Mine(TRPO):
    """A class of the user's own."""


@pytest.mark.parametrize(
    ("name", "env", "options", "message"),
    [
        ("nothing", CASES["plain"].env, {}, "path must hold a whole checkpoint, got .*nothing"),
        ("plain", lambda: None, {}, "env must be an environment, got None"),
        ("plain", lambda: "CartPole-v1", {}, "env must be an environment, got 'CartPole-v1'"),
        ("plain", CASES["trpo"].env, {}, "env must have no VecNormalize"),
        ("plain", CASES["discrete"].venv, {}, r"env's action_space must be Box.*got Discrete\(4\)"),
        ("maskable", CASES["plain"].venv, {}, r"env's action_space must be Discrete\(4\).*Box"),
        ("plain", CASES["plain"].venv, {"model_class": Mine}, "model_class must be TRPO.*Mine"),
        ("maskable", CASES["plain"].venv, {"model_class": TRPO}, "must be MaskableTRPO.*got TRPO"),
        ("plain", CASES["plain"].venv, {"model_class": dict}, "must be a subclass of TRPO"),
        ("plain", CASES["plain"].venv, {"model_class": "TRPO"}, "must be a subclass of TRPO"),
        (
            "trpo",
            lambda: VecNormalize(CASES["plain"].venv(), norm_obs=False),
            {},
            r"must be those of the file, of shape \(3,\), got none",
        ),
    ],
)
def test_resume_says_what_differs(name, env, options, message, stored):
    with pytest.raises(ValueError, match=message):
        resume(stored / name, env(), device="cpu", **options)


def test_learn_rest_refuses_a_model_that_was_not_resumed():
    with pytest.raises(ValueError, match="resume"):
        learn_rest(CASES["plain"].model())


def test_class_of_ones_own(tmp_path):
    case = CASES["plain"]
    model = Mine("MlpPolicy", case.env(), n_steps=N_STEPS, device="cpu")
    model.learn(ROLLOUT, callback=TrainingCheckpoint(1, tmp_path))
    with pytest.raises(ValueError, match=r"model_class must be given: .* is of Mine"):
        resume(tmp_path, case.env())
    assert type(resume(tmp_path, case.env(), model_class=Mine, device="cpu")) is Mine
