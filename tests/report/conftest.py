"""Real short runs, each with its own kinds of logs."""

import gymnasium as gym
import pytest
import sb3_contrib
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

import sb3_trpo
from sb3_trpo.report.making import make_report


def train(algorithm, env_id, folder, kinds, steps, *, monitors=0, model=False, **settings):
    """Train briefly; leave these kinds of logs, monitor files if asked for, and perhaps a model."""
    monitor_dir = str(folder) if monitors else None
    env = make_vec_env(env_id, n_envs=monitors or 1, seed=0, monitor_dir=monitor_dir)
    agent = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings)
    if kinds:
        agent.set_logger(configure(str(folder), kinds))
    agent.learn(steps, log_interval=1)
    if model:
        agent.save(folder / "model.zip")
    env.close()
    return agent


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folders of runs by name, beneath one folder."""
    root = tmp_path_factory.mktemp("runs")
    both = ["csv", "tensorboard"]
    small = {"n_steps": 64, "batch_size": 64}
    trpo, contrib = sb3_trpo.TRPO, sb3_contrib.TRPO
    folders = {name: root / name for name in ("trpo", "ppo", "a2c", "contrib", "pendulum")}
    train(trpo, "CartPole-v1", folders["trpo"], both, 1024, monitors=2, model=True, **small)
    train(PPO, "CartPole-v1", folders["ppo"], ["csv"], 512, n_epochs=2, **small)
    train(A2C, "CartPole-v1", folders["a2c"], ["tensorboard"], 300)
    # An episode takes 200 steps; KL means are over action dimensions, of which there is one.
    settings = {**small, "target_kl": 0.02, "n_critic_updates": 2}
    train(contrib, "Pendulum-v1", folders["contrib"], both, 640, monitors=1, model=True, **settings)
    train(
        trpo, "Pendulum-v1", folders["pendulum"], ["csv"], 640, monitors=1, model=True, **settings
    )
    return folders


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """A run with evaluations, in the log and as the file that EvalCallback leaves."""
    folder = tmp_path_factory.mktemp("evaluated")
    agent = sb3_trpo.TRPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, seed=0)
    agent.set_logger(configure(str(folder), ["csv"]))
    env = gym.wrappers.TimeLimit(gym.make("CartPole-v1"), 50)
    with pytest.warns(UserWarning, match="not wrapped"):
        agent.learn(256, EvalCallback(env, n_eval_episodes=2, eval_freq=128, log_path=str(folder)))
    return folder


@pytest.fixture(scope="session")
def report(runs, tmp_path_factory):
    """The report of all runs."""
    return make_report(list(runs.values()), output=tmp_path_factory.mktemp("report") / "all.html")


@pytest.fixture
def log_rows(tmp_path):
    """Let SB3's own logger write rows of given figures, one a dump."""

    def write(rows, folder=None, kinds=("csv",)):
        folder = folder or tmp_path / "run"
        logger = configure(str(folder), list(kinds))
        for index, row in enumerate(rows, start=1):
            step = 1024 * index
            logger.record("time/total_timesteps", step, exclude="tensorboard")
            for key, value in row.items():
                logger.record(key, value)
            logger.dump(step)
        logger.close()
        return folder

    return write
