"""What the ranks of the tests do: module-level functions, which other processes can import."""

import os
import signal
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
import torch.distributed as dist
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_trpo import TRPO
from sb3_trpo.rank_callbacks import JointProgressBar
from sb3_trpo.value_level import Continuations
from tests import test_maskable, test_recurrent
from tests.test_updates import SPACES, Noise

SEED = 7
N_STEPS = 48
_OF_BUFFERS = (
    "actions",
    "rewards",
    "returns",
    "episode_starts",
    "values",
    "log_probs",
    "advantages",
    "action_masks",
)
_OF_CONTINUATIONS = ("going_on", "bootstrapped")
_STATES = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")


def is_distributed():
    return dist.is_initialized()


def build(kind, name, n_envs, n_steps=N_STEPS, **options):
    """A small model of any kind, alone or with the other ranks."""
    options = {
        "n_steps": n_steps,
        "batch_size": 32,
        "n_critic_updates": 3,
        "seed": SEED,
        "device": "cpu",
        "distributed": is_distributed(),
        **options,
    }
    if kind == "recurrent":
        return test_recurrent.make(name, n_envs=n_envs, **options)
    if kind == "maskable":
        return test_maskable.make(name, env=test_maskable.venv(name, n_envs=n_envs), **options)
    action_space, space_kwargs = SPACES[name]
    space_kwargs = dict(space_kwargs)
    use_sde = space_kwargs.pop("use_sde", False)
    policy = options.pop("policy", "MlpPolicy")
    policy_kwargs = {"net_arch": [8], **space_kwargs, **options.pop("policy_kwargs", {})}
    env = DummyVecEnv([lambda: Noise(action_space)] * n_envs)
    model = TRPO(policy, env, use_sde=use_sde, policy_kwargs=policy_kwargs, **options)
    model.set_logger(configure(None, []))
    return model


def stored(model):
    """The rollout in the buffer, by name: environments along the axis that the entry says."""
    buffer = model.rollout_buffer
    arrays = {}
    for name in (*_OF_BUFFERS, *_STATES):
        if hasattr(buffer, name):
            arrays[name] = (getattr(buffer, name).copy(), 2 if name in _STATES else 1)
    arrays["observations"] = (buffer.observations.copy(), 1)
    for name in _OF_CONTINUATIONS:
        arrays[name] = (getattr(model._continuations, name).copy(), 1)
    return arrays


def fill(model, arrays, envs):
    """Put some environments' part of a stored rollout into the buffer."""
    buffer = model.rollout_buffer
    buffer.reset()
    parts = {
        name: array[(slice(None),) * axis + (slice(*envs),)]
        for name, (array, axis) in arrays.items()
    }
    known = [parts.pop(name) for name in _OF_CONTINUATIONS]
    for name, part in parts.items():
        getattr(buffer, name)[:] = part
    model._continuations = Continuations(*known, buffer.advantages)
    buffer.pos, buffer.full = buffer.buffer_size, True


def update_on(kind, name, rollouts, parameters, envs, options):
    """Update on stored rollouts, one after the other; the parameters and the log after each."""
    model = build(kind, name, envs[1] - envs[0], **options)
    model.policy.load_state_dict(parameters)
    results = []
    for arrays in rollouts:
        fill(model, arrays, envs)
        if not is_distributed():
            np.random.seed([SEED, model._n_updates])
        model.train()
        moved = {name: value.clone() for name, value in model.policy.state_dict().items()}
        results.append((moved, dict(model.logger.name_to_value)))
    return results


def count_messages(model_options):
    """Entries of each all-reduce in an update, the number of other messages, and the figures."""
    model = build("plain", "gaussian", 2, **model_options)
    calls, others = [], []
    all_reduce, all_gather_object = dist.all_reduce, dist.all_gather_object

    def counted(tensor, *args, **kwargs):
        calls.append(tensor.numel())
        return all_reduce(tensor, *args, **kwargs)

    def counted_gather(*args, **kwargs):
        others.append(args)
        return all_gather_object(*args, **kwargs)

    _, callback = model._setup_learn(1000)
    callback.on_training_start(locals(), globals())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    dist.all_reduce, dist.all_gather_object = counted, counted_gather
    try:
        model.train()
    finally:
        dist.all_reduce, dist.all_gather_object = all_reduce, all_gather_object
    return calls, len(others), dict(model.logger.name_to_value)


class Recorder(BaseCallback):
    """What a run's callbacks see on this rank."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.timesteps, self.observations, self.first = [], [], None
        self.stop_at = stop_at

    def _on_rollout_start(self):
        if self.first is None:
            self.first = self.training_env.get_original_obs().copy()

    def _on_step(self):
        self.timesteps.append(self.num_timesteps)
        normaliser = self.training_env
        self.observations.append(normaliser.get_original_obs().copy())
        return self.stop_at is None or self.n_calls < self.stop_at


def noise_venv(n_envs, normalize=True):
    space = SPACES["gaussian"][0]
    env = DummyVecEnv([lambda: Monitor(Noise(space))] * n_envs)
    return VecNormalize(env, gamma=0.9) if normalize else env


def whole_run(folder, n_envs, stop_at, total_timesteps):
    """A run of ``learn`` with everything that only the first rank shall do."""
    rank = dist.get_rank()
    env = noise_venv(n_envs)
    recorder = Recorder(stop_at)
    folder = Path(folder)
    callbacks = [
        recorder,
        EvalCallback(
            noise_venv(1),
            eval_freq=20,
            n_eval_episodes=1,
            log_path=str(folder / f"evaluations{rank}"),
            verbose=0,
        ),
        CheckpointCallback(20, str(folder / f"checkpoints{rank}")),
    ]
    model = TRPO(
        "MlpPolicy",
        env,
        n_steps=30,
        batch_size=30,
        tensorboard_log=str(folder / f"log{rank}"),
        seed=3,
        device="cpu",
        distributed=True,
    )
    begun = th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()
    seeds = list(env.unwrapped._seeds)
    model.learn(total_timesteps, callback=callbacks)
    model.save(folder / f"model{rank}.zip")
    return {
        "begun": begun,
        "parameters": th.nn.utils.parameters_to_vector(model.policy.parameters()).detach(),
        "seeds": seeds,
        "first": recorder.first,
        "observations": np.stack(recorder.observations),
        "timesteps": recorder.timesteps,
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "progress": model._current_progress_remaining,
        "statistics": (env.obs_rms.mean, env.obs_rms.var, env.obs_rms.count, env.ret_rms.count),
        "episodes": [episode["r"] for episode in model.ep_info_buffer],
        "actions": model.rollout_buffer.actions.copy(),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


def poisoned_update(kind, name, n_rollouts):
    """Updates on a rollout that holds a NaN on rank 1 alone."""
    model = build(kind, name, 2)
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    errors, logs = [], []
    for _ in range(n_rollouts):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        if dist.get_rank() == 1:
            model.rollout_buffer.advantages[3, 0] = np.nan
        try:
            model.train()
        except RuntimeError as error:
            errors.append(str(error))
        logs.append(dict(model.logger.name_to_value))
    same = all(th.equal(before[key], value) for key, value in model.policy.state_dict().items())
    return same, errors, logs


def disagreeing_learn(options):
    model = build("plain", "gaussian", 2, **options)
    model.learn(200)


def parameters_that_come_apart():
    model = build("plain", "gaussian", 2)
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    if dist.get_rank() == 1:  # one bit, of a thousandth of the value
        with th.no_grad():
            model.policy.value_net.weight.view(th.int32)[0, 0] ^= 1 << 13
    model.train()


def die_in_the_update(victim, n_messages):
    """Rank ``victim`` kills itself in the midst of an update; the others report."""
    model = build("plain", "gaussian", 2)
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    left, all_reduce = n_messages, dist.all_reduce

    def lethal(tensor, *args, **kwargs):
        nonlocal left
        left -= 1
        if left < 0 and dist.get_rank() == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return all_reduce(tensor, *args, **kwargs)

    dist.all_reduce = lethal
    message = ""
    try:
        model.train()
    except RuntimeError as error:
        message = str(error)
    finally:
        dist.all_reduce = all_reduce
    same = all(th.equal(before[key], value) for key, value in model.policy.state_dict().items())
    return message, same


class WithBatchNorm(BaseFeaturesExtractor):
    """Units whose normalisation wants more than one row."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 6)
        self.layers = th.nn.Sequential(th.nn.Linear(5, 6), th.nn.BatchNorm1d(6), th.nn.Tanh())

    def forward(self, observations):
        return self.layers(observations)


def learn_with_batch_norm(n_rollouts):
    """Minibatches of which a rank often has a single row."""
    policy_kwargs = {"features_extractor_class": WithBatchNorm, "share_features_extractor": False}
    model = build("plain", "gaussian", 1, batch_size=3, policy_kwargs=policy_kwargs)
    model.learn(n_rollouts * 2 * N_STEPS)
    return model.policy.state_dict()


def seeded_anew(options, reseed):
    """Actions and first observations of a rollout after seeding in one way or another."""
    model = build("plain", "gaussian", 2, **options)
    if reseed:
        model.set_random_seed(11)
    model.learn(1)
    return model.rollout_buffer.actions.copy(), model.rollout_buffer.observations.copy()


def different_models(net_arch):
    build("plain", "gaussian", 1, policy_kwargs={"net_arch": net_arch})


class Dicts(Noise):
    """Dict observations, of which one part is normalised."""

    def __init__(self):
        super().__init__(SPACES["gaussian"][0])
        self.observation_space = gym.spaces.Dict(
            a=self.observation_space, b=gym.spaces.Box(-1, 1, (1,), np.float32)
        )

    def reset(self, **kwargs):
        obs, info = super().reset(**kwargs)
        return {"a": obs, "b": obs[:1]}, info

    def step(self, action):
        obs, *rest = super().step(action)
        return {"a": obs, "b": obs[:1]}, *rest


def normalised_learns(options):
    """Three calls of learn with an evaluation between; the statistics before, and after each."""
    env = VecNormalize(DummyVecEnv([Dicts] * 2), **options)
    if not env.training:
        env.ret_rms.mean, env.ret_rms.var, env.ret_rms.count = np.array(0.3), np.array(1.7), 123.4

    def now():
        parts = [env.ret_rms, *(getattr(env, "obs_rms", None) or {}).values()]
        return [(np.array(x.mean), np.array(x.var), x.count) for x in parts]

    model = TRPO("MultiInputPolicy", env, n_steps=16, batch_size=32, distributed=True, seed=0)
    seen = [now()]
    env.reset()  # which VecNormalize counts
    for _ in range(3):
        model.learn(64, reset_num_timesteps=False)
        seen.append(now())
        if env.training:
            env.step(np.zeros((2, 3), np.float32))
    return seen


def end_of_progress_bar():
    """Timesteps that the progress bar shows at the end; None where there is none."""
    model, seen = build("plain", "gaussian", 2), []
    end = JointProgressBar._on_training_end

    def noted(bar):
        seen.append(bar.pbar.n)
        end(bar)

    JointProgressBar._on_training_end = noted
    try:
        model.learn(4 * N_STEPS, progress_bar=True)
    finally:
        JointProgressBar._on_training_end = end
    return seen


def load_and_predict(path):
    """A file saved by a distributed run, loaded here alone and with the others."""
    alone = TRPO.load(path)
    together = TRPO.load(path, env=noise_venv(2, normalize=False), distributed=True)
    together.learn(60, reset_num_timesteps=False)
    return alone.distributed, together.distributed, together.num_timesteps
