"""A training that ends with the mean of its last parameters."""

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.averaging import ParameterMean
from sb3_trpo.checkpoint import TrainingCheckpoint, newest_checkpoint, resume
from tests.test_maskable import venv

N_STEPS, N_UPDATES = 40, 10
LEARNERS = {
    "TRPO": (TRPO, "MlpPolicy"),
    "MaskableTRPO": (MaskableTRPO, "MlpPolicy"),
    "RecurrentTRPO": (RecurrentTRPO, "MlpLstmPolicy"),
}


class Watch(BaseCallback):
    """The policy's parameters before each rollout but the first."""

    def __init__(self, ends_at=np.inf):
        super().__init__()
        self.ends_at, self.seen = ends_at, []

    def _on_rollout_start(self):
        if self.num_timesteps > 0:
            self.seen.append(flat(self.model))

    def _on_step(self):
        return self.num_timesteps < self.ends_at


def flat(model):
    return th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


def made(name="TRPO", **options):
    cls, policy = LEARNERS[name]
    env = venv("discrete") if cls is MaskableTRPO else make_vec_env("Pendulum-v1", n_envs=3, seed=0)
    options = {"n_steps": N_STEPS, "batch_size": 60, "seed": 1, **options}
    model = cls(policy, env, device="cpu", **options)
    model.set_logger(configure(None, []))
    return model


def learnt(model, **options):
    watch = Watch(**options)
    model.learn(N_UPDATES * N_STEPS * model.n_envs, callback=watch)
    return watch.seen


def test_mean_is_numpys():
    history = th.randn(7, 3, 2)
    mean, parameters = ParameterMean(), [th.zeros(3, 2), th.ones(4)]
    for values in history:
        parameters[0].copy_(values)
        mean.include(parameters)
    mean.put_into(parameters)
    np.testing.assert_allclose(parameters[0], history.double().mean(dim=0).float(), rtol=1e-6)
    assert th.equal(parameters[1], th.ones(4))  # what did not move is what it was


@pytest.mark.parametrize("name", LEARNERS)
def test_training_ends_with_the_mean_of_its_last_updates(name):
    plain = made(name)
    expected = th.stack([*learnt(plain), flat(plain)])
    averaging = made(name, average_last=0.35)
    seen = learnt(averaging)
    assert th.equal(th.stack(seen), expected[:-1])  # up to the end it changes nothing
    last = expected[-4:]  # remaining: 0.3, 0.2, 0.1 and 0
    assert not th.equal(last[0], last[-1])
    np.testing.assert_allclose(flat(averaging), last.double().mean(dim=0).float(), atol=1e-7)


def test_whole_training_can_be_averaged():
    model = made(average_last=1)
    seen = th.stack([*learnt(model), flat(model)])
    plain = made()
    last = learnt(plain)
    expected = th.stack([*last, flat(plain)]).double().mean(dim=0)
    np.testing.assert_allclose(seen[-1], expected.float(), atol=1e-7)


def test_training_that_a_callback_stops_keeps_its_parameters():
    stop = (N_UPDATES - 1) * N_STEPS * 3 - 5
    found = []
    for average_last in (0, 0.9):
        model = made(average_last=average_last)
        learnt(model, ends_at=stop)
        found.append(flat(model))
    assert th.equal(*found)


def test_second_training_has_a_mean_of_its_own(tmp_path):
    first = made(average_last=0.15)  # of two updates
    learnt(first)
    first.save(tmp_path / "model")
    alone = TRPO.load(tmp_path / "model", env=first.get_env(), device="cpu")
    alone.set_logger(configure(None, []))
    assert alone.average_last == 0.15
    for model in (first, alone):
        model.env.seed(5)
        model.set_random_seed(5)
        learnt(model)
    assert th.equal(flat(first), flat(alone))


def test_frozen_parameters_stay():
    model = made(average_last=0.5)
    frozen = model.policy.mlp_extractor.policy_net[0].weight.requires_grad_(False)
    before = frozen.clone()
    model.policy.mask = th.nn.Parameter(th.tensor([0.0, -np.inf]), requires_grad=False)
    learnt(model)
    assert th.equal(frozen, before)
    assert th.equal(model.policy.mask, th.tensor([0.0, -np.inf]))


class Interrupting(th.nn.Parameter):
    """Ctrl-C comes when it is written for the first time."""

    times = 0

    def copy_(self, *args):
        type(self).times += 1
        if type(self).times == 1:
            raise KeyboardInterrupt
        return super().copy_(*args)


def test_interrupted_mean_leaves_the_parameters():
    mean, parameters = ParameterMean(), [th.zeros(2), Interrupting(th.zeros(3))]
    mean.include(parameters)
    mean.include([th.ones(2), th.ones(3)])
    with pytest.raises(KeyboardInterrupt):
        mean.put_into(parameters)
    assert all(th.equal(p, th.zeros_like(p)) for p in parameters)
    mean.put_into(parameters)
    assert all(th.equal(p, th.full_like(p, 0.5)) for p in parameters)


def test_policy_that_has_changed_starts_a_new_mean():
    mean, other = ParameterMean(), [th.full((4,), 3.0)]
    mean.include([th.ones(1)])
    mean.put_into(other)
    assert th.equal(other[0], th.full((4,), 3.0))
    mean.include(other)
    mean.put_into(other)
    assert th.equal(other[0], th.full((4,), 3.0))


@pytest.mark.parametrize(("share", "updates"), [(0.1, 1), (0.2, 2), (0.3, 3), (0.35, 4), (1.0, 10)])
def test_share_is_of_so_many_updates(monkeypatch, share, updates):
    counted, include = [], ParameterMean.include
    monkeypatch.setattr(ParameterMean, "include", lambda *args: (counted.append(1), include(*args)))
    learnt(made(average_last=share, n_critic_updates=1))
    assert len(counted) == updates


def test_longer_training_after_resuming_counts_anew(tmp_path):
    found = []
    for resumes in (False, True):
        model = made(average_last=0.5)
        model.learn(6 * N_STEPS * 3, callback=TrainingCheckpoint(N_STEPS, tmp_path / str(resumes)))
        if resumes:
            model = resume(newest_checkpoint(tmp_path / "True"), model.get_env(), device="cpu")
            model.set_logger(configure(None, []))
        counts = []
        model.learn(
            6 * N_STEPS * 3,
            callback=lambda *_, m=model, c=counts: c.append(m._parameter_mean.state()[0]) or True,
            reset_num_timesteps=False,
        )
        found.append(sorted(set(counts)))
    assert found[0] == found[1] == [0, 1, 2, 3, 4, 5]
