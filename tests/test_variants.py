"""What TRPO promises of updates and files, held by MaskableTRPO and RecurrentTRPO, too."""

import math
import warnings

import numpy as np
import pytest
import torch as th

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.mlp_actor import PlainActorLinearisation
from tests import test_maskable, test_recurrent
from tests.test_updates import assert_same_state, state_of

MAKERS = {"maskable": test_maskable.make, "recurrent": test_recurrent.make}
CLASSES = {"maskable": MaskableTRPO, "recurrent": RecurrentTRPO}
ACTIONS = {
    "maskable": ["discrete", "multi_discrete", "multi_binary"],
    "recurrent": ["gaussian", "categorical", "multi_categorical", "bernoulli"],
}
CELLS = [(variant, name) for variant, names in ACTIONS.items() for name in names]


def collect(model):
    _, callback = model._setup_learn(10_000)
    callback.on_training_start(locals(), globals())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    model.policy.set_training_mode(False)


def made(variant, **kwargs):
    """A model that has done an update and collected the next rollout."""
    model = MAKERS[variant](**kwargs)
    collect(model)
    model.train()
    collect(model)
    return model


def flat(model):
    return th.cat([p.detach().reshape(-1) for p in model.policy.parameters()])


def actor_of(model):
    return {
        name: parameter.detach().clone()
        for name, parameter in model.policy.named_parameters()
        if not any(part in name for part in ("value", "vf_", "critic"))
    }


# --- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "name"), CELLS)
@pytest.mark.parametrize(
    "options", [{}, {"match_kl": False}, {"sub_sampling_factor": 2}, {"center_td_errors": True}]
)
def test_kl_stays_within_the_bound_and_uses_it(variant, name, options):
    model = MAKERS[variant](name, target_kl=0.02, **options)
    for _ in range(4):
        collect(model)
        model.train()
        log = model.logger.name_to_value
        assert 0 <= log["train/approx_kl"] <= 0.02
        assert log["train/is_line_search_success"] == 1
        if not options:
            assert log["train/kl_utilization"] >= 0.9


@pytest.mark.parametrize("variant", MAKERS)
def test_log_has_trpos_keys(variant):
    keys = []
    for model in (
        MAKERS[variant](),
        test_maskable.make(cls=TRPO, env=test_maskable.venv("discrete", allowed=1.1)),
    ):
        model.learn(96)
        keys.append({key for key in model.logger.name_to_value if key != "train/std"})
    assert keys[0] == keys[1]
    assert len(keys[0]) > 20


# --- nothing lost ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", MAKERS)
def test_search_that_finds_nothing_leaves_the_actor_and_fits_the_critic(variant):
    model = made(variant)
    model.line_search_max_iter, model.match_kl, model.target_kl = 1, False, 1e4
    before, parameters = actor_of(model), flat(model)
    model.train()
    log = model.logger.name_to_value
    assert log["train/is_line_search_success"] == 0
    assert log["train/step_fraction"] == 0
    assert all(th.equal(p, before[n]) for n, p in actor_of(model).items())
    assert not th.equal(flat(model), parameters)


def poison(model, case):
    buffer = model.rollout_buffer
    if case == "reward":
        buffer.rewards[3, 0] = math.inf
        buffer.compute_returns_and_advantage(th.zeros(3), np.zeros(3))
    elif case == "advantage":
        buffer.advantages[5, 0] = math.nan
    else:
        buffer.returns[:] = 1e30


REASONS = {
    "reward": "non-finite reward",
    "advantage": "non-finite advantage",
    "huge": "non-finite value loss",
}


@pytest.mark.parametrize("variant", MAKERS)
@pytest.mark.parametrize("case", REASONS)
def test_bad_batch_is_skipped_whole_and_three_in_a_row_raise(variant, case):
    model = MAKERS[variant]()
    collect(model)
    model.train()
    before = state_of(model)
    for skipped in (1, 2):
        collect(model)
        poison(model, case)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.train()
        assert sum("Update skipped" in str(w.message) for w in caught) == (skipped == 1)
        assert_same_state(before, state_of(model))
        assert model.logger.name_to_value["train/update_skipped"] == skipped
        assert model.logger.name_to_value["train/skip_reason"] == REASONS[case]
    collect(model)
    poison(model, case)
    with pytest.raises(RuntimeError, match=REASONS[case]):
        model.train()
    assert_same_state(before, state_of(model))
    collect(model)
    model.train()
    assert model._n_updates == before[3] + 1


class Fuse:
    """Makes the n-th call of a function raise."""

    def __init__(self, function):
        self.function, self.left, self.error = function, math.inf, None

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("where", ["passes of the actor", "products", "passes of the critic"])
@pytest.mark.parametrize("variant", MAKERS)
def test_update_interrupted_anywhere_changes_nothing_and_can_be_repeated(
    variant, where, error, monkeypatch
):
    model = made(variant, n_critic_updates=2, target_kl=0.3)
    cls = CLASSES[variant]
    monkeypatch.setattr("sb3_trpo.critic_step.plain_critic", lambda _: None)
    if where == "products":
        assert model._plain_actor() is not None
        fuse = Fuse(PlainActorLinearisation.jvp)
        monkeypatch.setattr(PlainActorLinearisation, "jvp", lambda *args: fuse(*args))
    else:
        name = {"passes of the actor": "_distribution", "passes of the critic": "_values"}[where]
        fuse = Fuse(getattr(cls, name))
        monkeypatch.setattr(cls, "_plain_actor", lambda _: None)
        monkeypatch.setattr(cls, name, lambda *args: fuse(*args))
    before = state_of(model)
    fuse.error = error
    for calls in range(1, 100):
        fuse.left = calls
        try:
            model.train()
        except error:
            assert_same_state(before, state_of(model))
            assert not any(module.training for module in model.policy.modules())
        else:
            break
    assert calls > 4
    assert model._n_updates == before[3] + 1
    assert any(not th.equal(p, q) for p, q in zip(before[0], state_of(model)[0], strict=True))


@pytest.mark.parametrize("variant", MAKERS)
def test_curvature_that_is_not_finite_skips_the_update(variant, monkeypatch):
    model = made(variant)
    product = Fuse(PlainActorLinearisation.vjp)
    calls = 0

    def spoilt(self, cotangent):
        nonlocal calls
        calls += 1
        result = product(self, cotangent)
        return result * math.nan if calls == 4 else result  # the gradient's comes first

    before = state_of(model)
    monkeypatch.setattr(PlainActorLinearisation, "vjp", spoilt)
    with pytest.warns(UserWarning, match="Update skipped"):
        model.train()
    assert_same_state(before, state_of(model))
    assert model.logger.name_to_value["train/skip_reason"] == "non-finite curvature"


# --- files ----------------------------------------------------------------------------------------

FILES = {
    "maskable, vector": ("maskable", {"policy": "MlpPolicy"}, "vector"),
    "maskable, image": ("maskable", {"policy": "CnnPolicy"}, "image"),
    "maskable, dict": ("maskable", {"policy": "MultiInputPolicy"}, "dict"),
    "recurrent, vector": ("recurrent", {"policy": "MlpLstmPolicy"}, "vector"),
    "recurrent, image": ("recurrent", {"policy": "CnnLstmPolicy"}, "image"),
    "recurrent, dict": ("recurrent", {"policy": "MultiInputLstmPolicy"}, "dict"),
    "recurrent, gsde": ("recurrent", {"use_sde": True}, "vector"),
    "recurrent, shared": (
        "recurrent",
        {"policy_kwargs": {"shared_lstm": True, "enable_critic_lstm": False}},
        "vector",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_zip_keeps_parameters_actions_and_the_way_on(case, tmp_path):
    variant, options, kind = FILES[case]
    if variant == "maskable":
        env = test_maskable.venv("discrete", test_maskable.OBSERVATIONS[kind])
        model = test_maskable.make(env=env, **options)
    else:
        model = test_recurrent.make(**options)
    rollout = model.n_steps * model.n_envs
    model.learn(rollout)
    model.save(tmp_path / "model")
    loaded = CLASSES[variant].load(tmp_path / "model", model.env)
    assert th.equal(flat(loaded), flat(model))
    assert type(loaded.policy) is type(model.policy)
    assert loaded.policy_kwargs == model.policy_kwargs
    observations = model.env.reset()
    ours, _ = model.predict(observations, deterministic=True)
    again, _ = loaded.predict(observations, deterministic=True)
    np.testing.assert_array_equal(ours, again)
    loaded.learn(rollout, reset_num_timesteps=False)
    assert loaded.num_timesteps == 2 * rollout
    assert loaded._n_updates == 2
    assert loaded.logger.name_to_value["train/is_line_search_success"] == 1
    assert not th.equal(flat(loaded), flat(model))
