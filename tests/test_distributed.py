"""Several processes learn as one with all their data; the ranks here are real processes."""

import warnings
from collections import deque

import numpy as np
import pytest
import torch as th
import torch.distributed as dist
from sb3_contrib import TRPO as ContribTRPO
from stable_baselines3.common.callbacks import (
    CallbackList,
    CheckpointCallback,
    EveryNTimesteps,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_trpo import TRPO
from sb3_trpo.distributed import _warn_of_separate_learning
from sb3_trpo.rank_callbacks import called_here
from tests import rank_jobs
from tests.rank_jobs import SEED, build, stored, update_on
from tests.ranks import TIMEOUT_S, Ranks

CELLS = [
    *[("plain", name) for name in rank_jobs.SPACES],
    *[("maskable", name) for name in ("discrete", "multi_discrete", "multi_binary")],
    *[("recurrent", name) for name in ("gaussian", "categorical")],
]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    ranks = Ranks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.close()


@pytest.fixture
def doomed_ranks(tmp_path):
    ranks = Ranks(tmp_path)
    yield ranks
    ranks.close()


# --- the update is that of one process with all the data -----------------------------------------


def rollouts_of_one(kind, name, n_envs, options, n=2):
    """Parameters, and rollouts of a single process from them."""
    model = build(kind, name, n_envs, **options)
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    parameters = {key: value.clone() for key, value in model.policy.state_dict().items()}
    rollouts = []
    for _ in range(n):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        rollouts.append(stored(model))
    return parameters, rollouts


def assert_same_updates(two_ranks, kind, name, shares, **options):
    """Shares: (first, last + 1) environment of each rank."""
    n_envs = shares[-1][1]
    parameters, rollouts = rollouts_of_one(kind, name, n_envs, options)
    alone = update_on(kind, name, rollouts, parameters, (0, n_envs), options)
    together = two_ranks.run(
        update_on, kind, name, rollouts_for_all(rollouts), parameters, shares, options
    )
    for update, (expected, log) in enumerate(alone):
        moved = th.cat([(expected[key] - parameters[key]).reshape(-1) for key in parameters])
        for rank in range(2):
            got, _ = together[rank][update]
            error = th.cat([(got[key] - expected[key]).reshape(-1) for key in parameters])
            whole = th.cat([expected[key].reshape(-1) for key in parameters])
            assert error.norm() <= 1e-5 * whole.norm()
            assert error.norm() <= 1e-3 * moved.norm() > 0
            assert all(th.equal(got[key], together[0][update][0][key]) for key in got)
        of_first = together[0][update][1]
        for key, value in log.items():
            if key.startswith("train/") and key != "train/cg_residual":  # rounding, once small
                near = 1 if key == "train/cg_iterations" else 1e-6  # rounding ends a solve, too
                assert of_first[key] == pytest.approx(value, rel=2e-3, abs=near), key


def rollouts_for_all(rollouts):
    return tuple(rollouts)  # a list would hold one argument per rank


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_two_ranks_make_the_update_of_one_process_with_all_environments(two_ranks, kind, name):
    assert_same_updates(two_ranks, kind, name, [(0, 2), (2, 4)])


@pytest.mark.parametrize("kind", ["plain", "maskable", "recurrent"])
@pytest.mark.parametrize(
    "options",
    [
        {"sub_sampling_factor": 3},
        {"sub_sampling_factor": 40},  # all kept samples are on one rank
        {"match_kl": False, "actor_batch_size": 40},
        {"center_td_errors": True, "gamma": 0.9},
        {"batch_size": 2, "n_critic_updates": 1, "max_grad_norm": None},  # often no row on a rank
        {"normalize_advantage": False, "ent_coef": 0.01, "n_critic_updates": 0},
    ],
    ids=lambda options: "-".join(options),
)
def test_unequal_shares_make_the_same_update_with_every_option(two_ranks, kind, options):
    name = {"plain": "gaussian", "maskable": "discrete", "recurrent": "gaussian"}[kind]
    assert_same_updates(two_ranks, kind, name, [(0, 3), (3, 4)], **options)


@pytest.mark.parametrize("kind", ["plain", "recurrent"])
def test_unequal_shares_make_the_same_update_with_clipped_actions(two_ranks, kind):
    assert_same_updates(two_ranks, kind, "gaussian", [(0, 3), (3, 4)], clipped_actions=True)


@pytest.mark.parametrize("options", [{"policy": "general"}, {"optimizer_class": th.optim.NAdam}])
def test_general_paths_make_the_same_update(two_ranks, options):
    policy_kwargs = {"activation_fn": th.nn.ELU} if "policy" in options else options
    assert_same_updates(
        two_ranks, "plain", "gaussian", [(0, 1), (1, 4)], policy_kwargs=policy_kwargs
    )


def test_ranks_that_collect_for_different_times_share_the_actors_step(two_ranks):
    parameters, rollouts = rollouts_of_one("plain", "gaussian", 1, {"n_steps": 72})
    arrays = rollouts[0]
    alone = update_on(
        "plain", "gaussian", rollouts, parameters, (0, 1), {"n_steps": 72, "n_critic_updates": 0}
    )
    halves = [
        ({name: (array[cut], axis) for name, (array, axis) in arrays.items()},)
        for cut in (slice(0, 48), slice(48, 72))
    ]
    together = two_ranks.run(
        update_on,
        "plain",
        "gaussian",
        halves,
        parameters,
        (0, 1),
        [{"n_steps": n_steps, "n_critic_updates": 0} for n_steps in (48, 24)],
    )
    for key, expected in alone[0][0].items():
        th.testing.assert_close(together[0][0][0][key], expected, rtol=1e-5, atol=1e-6)
        assert th.equal(together[0][0][0][key], together[1][0][0][key])


def test_messages_of_an_update_are_counted(two_ranks):
    calls, n_others, log = two_ranks.run(
        rank_jobs.count_messages, {"n_critic_updates": 2, "policy_kwargs": {"net_arch": [8]}}
    )[0]
    actor = 5 * 8 + 8 + 8 * 3 + 3 + 3
    critic = 5 * 8 + 8 + 8 + 1
    n_minibatches = 2 * (2 * 2 * rank_jobs.N_STEPS // 32)
    products, trials = int(log["train/cg_iterations"]), int(log["train/line_search_steps"])
    assert calls.count(actor) == 1 + products  # the gradient, and one product per iteration
    assert calls.count(critic) == n_minibatches
    assert calls.count(2) == trials + 1  # surrogate and KL; the digest
    assert n_others == 1  # the summary of the rollout
    others = [size for size in calls if size not in (actor, critic, 2)]
    assert others == [3 + 9, n_minibatches]  # totals and what is used of nine tensors; the losses


# --- a whole run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(two_ranks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    # 2 + 1 environments, 30 steps: 90 samples per rollout
    results = two_ranks.run(rank_jobs.whole_run, str(folder), [2, 1], None, 250)
    return [{**result, "folder": folder} for result in results]


def scalars(run, name):
    """What the first rank wrote to its log."""
    accumulator = EventAccumulator(str(run[0]["folder"] / "log0" / "TRPO_1"))
    return accumulator.Reload().Scalars(name)


def test_ranks_start_alike_explore_apart_and_stay_bitwise_equal(run):
    first, second = run
    assert th.equal(first["begun"], second["begun"])
    assert th.equal(first["parameters"], second["parameters"])
    assert not th.equal(first["parameters"], first["begun"])
    assert first["seeds"] == [3, 4]
    assert second["seeds"] == [5]  # as one process would seed three environments
    assert not np.allclose(first["actions"][:, 0], second["actions"][:, 0])


def test_counts_are_of_all_ranks(run):
    for rank in run:
        assert rank["num_timesteps"] == 270
        assert rank["n_updates"] == 3
        assert rank["timesteps"] == list(range(3, 271, 3))
        assert rank["progress"] == 0
    assert [event.step for event in scalars(run, "time/fps")] == [90, 180, 270]


def test_normalisation_is_that_of_all_samples(run):
    samples = np.concatenate(
        [np.concatenate([rank["first"], rank["observations"].reshape(-1, 5)]) for rank in run]
    )
    for rank in run:
        mean, var, count, returns_count = rank["statistics"]
        # RunningMeanStd begins with a count of 1e-4, mean 0 and variance 1
        assert count == pytest.approx(len(samples) + 1e-4)
        assert returns_count == pytest.approx(270 + 1e-4)
        np.testing.assert_allclose(mean, samples.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(var, samples.var(axis=0), rtol=1e-4)
    for mine, other in zip(run[0]["statistics"], run[1]["statistics"], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_episodes_in_the_log_are_those_of_all_ranks(run):
    assert len(run[0]["episodes"]) == 270 // 10
    assert run[0]["episodes"] == run[1]["episodes"]
    logged = [event.value for event in scalars(run, "rollout/ep_rew_mean")]
    means = [np.mean(run[0]["episodes"][: 9 * (i + 1)]) for i in range(3)]
    assert logged == pytest.approx(means, rel=1e-5)


def test_first_rank_alone_logs_evaluates_and_saves(run):
    files = set(run[0]["files"]) | set(run[1]["files"])
    assert {"log0", "evaluations0", "checkpoints0", "model0.zip"} <= files
    assert not any(name.startswith(("log1", "evaluations1", "checkpoints1")) for name in files)
    assert "model1.zip" not in files
    assert "checkpoints0/rl_model_60_steps.zip" in files  # 20 calls, 3 environments


def test_file_saved_in_the_midst_of_a_rollout_is_an_ordinary_one(run):
    path = run[0]["folder"] / "checkpoints0" / "rl_model_180_steps.zip"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (TRPO.load(path), ContribTRPO.load(path)):
            assert type(model.ep_info_buffer) is deque
            assert len(model.ep_info_buffer) == 13  # 9 of the first rollout, 4 of this rank
            assert model.ep_info_buffer.maxlen == 100


def test_callback_that_stops_one_rank_stops_all_at_the_end_of_the_rollout(two_ranks, tmp_path):
    first, second = two_ranks.run(rank_jobs.whole_run, str(tmp_path), [2, 1], [None, 35], 10_000)
    assert first["n_updates"] == second["n_updates"] == 1
    assert len(first["timesteps"]) == 60
    assert len(second["timesteps"]) == 35
    assert first["num_timesteps"] == second["num_timesteps"] == 60 * 2 + 35
    assert th.equal(first["parameters"], second["parameters"])
    np.testing.assert_array_equal(first["statistics"][0], second["statistics"][0])


def test_file_says_nothing_of_the_ranks_and_learning_goes_on(two_ranks, tmp_path):
    path = tmp_path / "model.zip"
    model = build("plain", "gaussian", 2)
    model.save(path)
    for alone, together, num_timesteps in two_ranks.run(rank_jobs.load_and_predict, str(path)):
        assert (alone, together) == (False, True)
        assert num_timesteps == 2 * 2 * rank_jobs.N_STEPS


def test_user_may_seed_anew_and_ranks_stay_apart(two_ranks):
    (actions, observations), (others, their_observations) = two_ranks.run(
        rank_jobs.seeded_anew, {}, True
    )
    assert not np.array_equal(actions, others)
    assert not np.array_equal(observations, their_observations)
    model = build("plain", "gaussian", 4)  # environments as one process would seed them
    model.env.seed(11)
    first = np.concatenate([observations[0], their_observations[0]])
    np.testing.assert_array_equal(first, model.env.reset())


def test_without_a_seed_ranks_are_apart_too(two_ranks):
    (actions, observations), (others, their_observations) = two_ranks.run(
        rank_jobs.seeded_anew, {"seed": None}, False
    )
    assert not np.array_equal(actions, others)
    assert not np.array_equal(observations[0], their_observations[0])


def test_batch_normalisation_in_the_critic_learns_and_stays_equal(two_ranks):
    mine, other = two_ranks.run(rank_jobs.learn_with_batch_norm, 2)
    assert any("running_mean" in name and value.any() for name, value in mine.items())
    assert all(th.equal(value, other[name]) for name, value in mine.items())


@pytest.mark.parametrize(
    "options", [{"norm_obs_keys": ["a"]}, {"norm_obs": False}, {"training": False}], ids=str
)
def test_normalisation_stays_common_over_several_learns(two_ranks, options):
    mine, others = two_ranks.run(rank_jobs.normalised_learns, options)
    for now, theirs in zip(mine[1:], others[1:], strict=True):
        for part, other in zip(now, theirs, strict=True):
            for figure, their_figure in zip(part, other, strict=True):
                np.testing.assert_array_equal(figure, their_figure)
    counts = [now[0][2] for now in mine]
    if options == {"training": False}:
        for now in mine:
            np.testing.assert_array_equal(now[0], mine[0][0])
    else:  # returns are counted at each step; between the learns each rank stepped once
        assert counts == pytest.approx([1e-4, 64, 64 + 64 + 4, 64 + 64 + 4 + 64 + 4], abs=1e-3)


def test_progress_bar_of_the_first_rank_counts_all_timesteps(two_ranks):
    assert two_ranks.run(rank_jobs.end_of_progress_bar) == [[4 * rank_jobs.N_STEPS], []]


def test_callbacks_inside_others_are_left_out_too():
    own, saving = CheckpointCallback(1, "x"), EveryNTimesteps(5, CheckpointCallback(1, "x"))
    mixed = EveryNTimesteps(5, CallbackList([own, CallbackList([rank_jobs.Recorder()])]))
    assert called_here([own, saving, mixed], rank=0) == [own, saving, mixed]
    (kept,) = called_here([own, saving, mixed], rank=1)
    assert type(kept) is EveryNTimesteps
    (inner,) = kept.callback.callbacks
    assert isinstance(inner.callbacks[0], rank_jobs.Recorder)
    assert len(mixed.callback.callbacks) == 2  # the user's own is as it was


def test_models_that_differ_are_told_so_before_they_hang(two_ranks):
    for message in two_ranks.errors(rank_jobs.different_models, [(8,), (8, 8)]):
        assert message.startswith("ValueError: The policy's parameters (names, shapes, dtypes)")


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [("plain", "gaussian"), ("maskable", "discrete"), ("recurrent", "gaussian")]
)
def test_bad_batch_on_one_rank_is_skipped_by_all(two_ranks, kind, name):
    for same, errors, logs in two_ranks.run(rank_jobs.poisoned_update, kind, name, 3):
        assert same
        assert [log["train/update_skipped"] for log in logs] == [1, 2, 3]
        assert logs[0]["train/skip_reason"] == "non-finite advantage"
        assert len(errors) == 1
        assert "3 updates in a row" in errors[0]


@pytest.mark.parametrize("name", ["target_kl", "cg_max_steps", "n_critic_updates"])
def test_ranks_that_disagree_are_told_so_before_they_hang(two_ranks, name):
    values = {"target_kl": [0.01, 0.02], "cg_max_steps": [3, 4], "n_critic_updates": [1, 2]}[name]
    messages = two_ranks.errors(rank_jobs.disagreeing_learn, [{name: value} for value in values])
    assert messages == [f"ValueError: {name} must be the same on all ranks, got {values}"] * 2


def test_parameters_that_come_apart_are_noticed_at_once(two_ranks):
    for message in two_ranks.errors(rank_jobs.parameters_that_come_apart):
        assert message.startswith("RuntimeError: The ranks' parameters have come apart")


@pytest.mark.parametrize(  # before the step, in the solve, in the fit
    "n_messages", [pytest.param(0, marks=pytest.mark.slow), 5, 30]
)
def test_rank_that_is_killed_makes_the_others_fail_with_the_policy_whole(doomed_ranks, n_messages):
    doomed_ranks.start(rank_jobs.die_in_the_update, 1, n_messages)
    doomed_ranks.processes[1].join(10 * TIMEOUT_S)
    is_result, value = doomed_ranks.outcome(0)
    assert is_result, value[1]
    message, same = value
    assert message.startswith("Rank 0 of 2 lost contact with another rank")
    assert "torchrun --max-restarts" in message
    assert same


def test_without_a_group_the_error_says_how_to_start_one():
    with pytest.raises(ValueError, match=r"distributed must be False .* torchrun"):
        build("plain", "gaussian", 1, distributed=True)
    with pytest.raises(ValueError, match="distributed must be a bool, got 2"):
        build("plain", "gaussian", 1, distributed=2)


@pytest.fixture
def group_of_one(tmp_path):
    dist.init_process_group(
        "gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def test_group_of_one_learns_as_a_process_alone(group_of_one):  # noqa: ARG001
    together, alone = (
        build("plain", "gaussian", 2, distributed=distributed) for distributed in (True, False)
    )
    assert alone.seed == SEED
    for model in (together, alone):
        model.set_random_seed(1)
        model.learn(2 * 2 * rank_jobs.N_STEPS)
    for name, value in alone.policy.state_dict().items():
        assert th.equal(together.policy.state_dict()[name], value)


def test_group_that_is_up_but_not_asked_for_warns_once(group_of_one, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    _warn_of_separate_learning.cache_clear()
    with pytest.warns(UserWarning, match="distributed=True to learn together"):
        build("plain", "gaussian", 1, distributed=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*to learn together")
        assert isinstance(build("plain", "gaussian", 1, distributed=False), TRPO)
