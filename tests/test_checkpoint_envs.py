"""What becomes of the environments when training is resumed."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from sb3_trpo import TRPO, MaskableTRPO
from sb3_trpo.checkpoint import TrainingCheckpoint, learn_rest, resume
from tests.learning_tasks import SameShade, SignOfIndexed
from tests.training_runs import LENGTH, N_ENVS, Walk, logging, outcome

pytestmark = pytest.mark.filterwarnings("ignore:batch_size")
QUICK = {"batch_size": 16, "n_critic_updates": 1, "device": "cpu", "seed": 1}


def learn(model, folder, n_rollouts=4):
    model, _ = logging(model)
    n_samples = model.n_steps * model.env.num_envs
    model.learn(n_rollouts * n_samples, callback=TrainingCheckpoint(1, folder, keep=10))
    return model


def first(folder):
    return min(folder.iterdir())


def parameters(model):
    return [p.detach().numpy().tobytes() for p in model.policy.parameters()]


def assert_goes_on(model, folder, env):
    """From its first checkpoint, with fresh environments, bit for bit."""
    resumed, _ = logging(resume(first(folder), env, device="cpu"))
    learn_rest(resumed)
    assert parameters(resumed) == parameters(model)
    return resumed


# --- episodes that end with the rollouts ----------------------------------------------------------


class Stacked(gym.Env):
    """A Dict of an image (channels last) and a number, from the spaces' own generators."""

    def __init__(self):
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (36, 36, 3), np.uint8), number=spaces.Box(-1, 1, (2,))
        )
        self.action_space = spaces.Tuple([spaces.Discrete(2)])[0]
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        seen = self.observation_space.sample()
        return seen, float(seen["number"][0] * action), self.steps >= LENGTH, False, {}


@pytest.mark.slow
def test_images_in_dicts_from_the_spaces_generators(tmp_path):
    def env():
        venv = DummyVecEnv([Stacked] * 2)
        for index, one in enumerate(venv.envs):
            one.observation_space.seed(index)
        return VecNormalize(venv, norm_obs_keys=["number"])

    model = TRPO("MultiInputPolicy", env(), n_steps=LENGTH, **QUICK)
    assert_goes_on(learn(model, tmp_path, 3), tmp_path, env())


def test_generators_of_spaces_cannot_be_set_in_workers(tmp_path):
    def env():
        return SubprocVecEnv([Seeded] * 2, start_method="fork")

    model = learn(TRPO("MultiInputPolicy", env(), n_steps=LENGTH, **QUICK), tmp_path, 2)
    with pytest.warns(UserWarning, match="2 of 2 environments had just begun an episode, and"):
        resumed = resume(first(tmp_path), env(), device="cpu")
    model.env.close(), resumed.env.close()


class Seeded(Stacked):
    """One whose spaces' generators start from a seed."""

    def __init__(self):
        super().__init__()
        self.observation_space.seed(5)


@pytest.mark.parametrize("task", [SameShade, SignOfIndexed])
def test_tasks_that_draw_in_every_step(task, tmp_path):
    def env():
        return make_vec_env(task, n_envs=2, seed=0, env_kwargs={"length": LENGTH})

    policy = "MlpPolicy" if task is SameShade else "MultiInputPolicy"  # for the CNN it is small
    model = TRPO(policy, env(), n_steps=2 * LENGTH, policy_kwargs={"net_arch": [8]}, **QUICK)
    assert_goes_on(learn(model, tmp_path), tmp_path, env())


@pytest.mark.parametrize("normalise_below", [True, False])
def test_stacks_of_vectorised_wrappers(normalise_below, tmp_path):
    def env():
        venv = VecMonitor(DummyVecEnv([Walk] * N_ENVS))
        if normalise_below:
            return VecFrameStack(VecNormalize(venv), n_stack=3)
        return VecNormalize(VecFrameStack(venv, n_stack=3))

    model = learn(TRPO("MlpPolicy", env(), n_steps=LENGTH, **QUICK), tmp_path)
    resumed = assert_goes_on(model, tmp_path, env())
    counts = [
        m.env.venv.episode_count if normalise_below else m.env.venv.venv.episode_count
        for m in (model, resumed)
    ]
    assert counts == [4 * N_ENVS] * 2


@pytest.mark.skipif(
    not hasattr(gym.Env, "set_wrapper_attr"), reason="gymnasium < 1.0 reaches the outermost alone"
)
def test_monitor_under_another_wrapper_in_workers(tmp_path):
    def env():
        def made():
            return gym.wrappers.TransformReward(Monitor(Walk()), float)

        return SubprocVecEnv([made] * 2, start_method="fork")

    model = learn(TRPO("MlpPolicy", env(), n_steps=LENGTH, **QUICK), tmp_path)
    resumed = assert_goes_on(model, tmp_path, env())
    for name in ("total_steps", "episode_returns", "episode_lengths"):
        assert resumed.env.get_attr(name) == model.env.get_attr(name)
    assert resumed.env.get_attr("total_steps") == [4 * LENGTH] * 2
    model.env.close(), resumed.env.close()


def test_gymnasiums_environment_without_vectorisation(tmp_path):
    def env():
        return gym.make("Pendulum-v1", max_episode_steps=LENGTH)

    model = learn(TRPO("MlpPolicy", env(), n_steps=LENGTH, **QUICK), tmp_path)
    assert_goes_on(model, tmp_path, env())
    with pytest.raises(ValueError, match=r"env must be of Pendulum-v1, .* got MountainCar"):
        resume(tmp_path, gym.make("MountainCarContinuous-v0"))
    with pytest.raises(ValueError, match=r"env must be 1 environments, .* got 2"):
        resume(tmp_path, make_vec_env("Pendulum-v1", n_envs=2))


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_generators_of_other_kinds(generator, tmp_path):
    class Other(Walk):
        def __init__(self):
            super().__init__()
            self.np_random = np.random.Generator(generator(3))

        def reset(self, *, seed=None, options=None):
            return super().reset()

    model = learn(TRPO("MlpPolicy", DummyVecEnv([Other] * 2), n_steps=LENGTH, **QUICK), tmp_path)
    assert_goes_on(model, tmp_path, DummyVecEnv([Other] * 2))


def test_each_rollout_of_one_step(tmp_path):
    class Bandit(Walk):
        def step(self, action):
            *seen, _, _, info = super().step(action)
            return *seen, True, False, info

    model = TRPO("MlpPolicy", DummyVecEnv([Bandit] * 4), n_steps=1, **QUICK)
    assert_goes_on(learn(model, tmp_path, 6), tmp_path, DummyVecEnv([Bandit] * 4))


# --- what is not in the generators ----------------------------------------------------------------


class Elsewhere(Walk):
    """Draws from NumPy's global generator, which training draws from, too."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._goal = np.random.uniform(-1, 1, 2)  # not in the observation
        return self._observation(), {}


class Remembering(Walk):
    """Begins each episode elsewhere, as no environment of this process has begun before."""

    n_resets = 0

    def reset(self, *, seed=None, options=None):
        Remembering.n_resets += 1
        super().reset(seed=seed)
        self._place += self.n_resets
        return self._observation(), {}


@pytest.mark.parametrize("kind", [Elsewhere, Remembering])
def test_beginning_that_cannot_be_had_again_is_said(kind, tmp_path):
    def env():
        return VecNormalize(DummyVecEnv([kind] * 3))

    learn(TRPO("MlpPolicy", env(), n_steps=LENGTH, **QUICK), tmp_path)
    with pytest.warns(UserWarning, match="3 of 3 environments had just begun an episode, and"):
        model = resume(first(tmp_path), env(), device="cpu")
    place = model.env.venv.envs[0]._observation()
    assert np.array_equal(model.env.get_original_obs()[0], place)
    assert model.num_timesteps == 3 * LENGTH


@pytest.mark.parametrize("cls", [TRPO, MaskableTRPO])
def test_episodes_cut_by_the_rollout_begin_anew_and_all_else_goes_on(cls, tmp_path, recwarn):
    def env():
        return VecNormalize(
            DummyVecEnv([lambda: Monitor(Walk("discrete"))] * 2 + [lambda: Monitor(Short())])
        )

    n_steps = LENGTH + LENGTH // 2
    model, _ = logging(cls("MlpPolicy", env(), n_steps=n_steps, **QUICK))
    saving = TrainingCheckpoint(1, tmp_path, keep=10)
    recwarn.clear()
    model.learn(n_steps * 3, callback=saving)
    resumed = resume(tmp_path, env(), device="cpu")
    assert not [warning for warning in recwarn if "environments" in str(warning.message)]
    assert parameters(resumed) == parameters(model)
    wanted, found = outcome(model), outcome(resumed)
    assert {k for k in wanted if wanted[k] != found[k]} == {"observations", "envs", "returns"}
    assert list(resumed._last_episode_starts) == [True, True, True]
    now = resumed.env
    assert np.array_equal(now.get_original_obs()[2], model.env.get_original_obs()[2])
    for index in range(3):
        seen = now.venv.envs[index].unwrapped._observation()
        assert np.array_equal(now.get_original_obs()[index], seen)
        assert np.array_equal(resumed._last_obs[index], now.normalize_obs(seen[None])[0])
    logging(resumed)[0].learn(n_steps * 3, reset_num_timesteps=False)
    assert resumed.num_timesteps == 2 * n_steps * 3


class Short(Walk):
    """Its episodes end with the rollouts of twelve steps."""

    def __init__(self):
        super().__init__("discrete")

    def step(self, action):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, self._steps >= LENGTH // 2, False, info


def test_running_return_goes_on_where_an_episode_has_begun_alone(tmp_path):
    env = VecNormalize(DummyVecEnv([Walk] * 2))
    model, _ = logging(TRPO("MlpPolicy", env, n_steps=LENGTH + 1, **QUICK))
    model.learn(2 * (LENGTH + 1), callback=TrainingCheckpoint(1, tmp_path))
    assert (env.returns != 0).all()  # one step into the second episode
    resumed = resume(tmp_path, DummyVecEnv([Walk] * 2), device="cpu")
    assert (resumed.env.returns == 0).all()
    assert np.array_equal(resumed.env.old_reward, env.old_reward)


def test_seeds_and_options_wait_for_their_reset(tmp_path):
    def env():
        return DummyVecEnv([Walk] * 2)

    model, _ = logging(TRPO("MlpPolicy", env(), n_steps=LENGTH, **QUICK))

    class Asking(TrainingCheckpoint):
        def _on_rollout_end(self):
            self.training_env.seed(77)
            self.training_env.set_options([{"level": 1}, {"level": np.float32(2)}])

    model.learn(2 * LENGTH, callback=Asking(1, tmp_path))
    resumed = resume(tmp_path, env(), device="cpu")
    assert resumed.env._seeds == [77, 78]
    assert resumed.env._options == [{"level": 1}, {"level": 2}]
    assert_same_reset(model.env, resumed.env)


def assert_same_reset(one, other):
    assert np.array_equal(one.reset(), other.reset())


@pytest.mark.slow
def test_envpools_environments_begin_anew(tmp_path):
    pytest.importorskip("envpool")
    from sb3_trpo.envs import EnvPoolVecEnv

    def env():
        return VecNormalize(EnvPoolVecEnv("Pendulum-v1", num_envs=2, seed=3))

    model = learn(TRPO("MlpPolicy", env(), n_steps=16, **QUICK), tmp_path)
    resumed, _ = logging(resume(first(tmp_path), env(), device="cpu"))
    assert resumed.num_timesteps == 32
    assert resumed._last_episode_starts.all()
    learn_rest(resumed)
    assert resumed.num_timesteps == model.num_timesteps
