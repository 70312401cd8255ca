"""trusted=False: what SB3, sb3_contrib and we write loads, as it does otherwise."""

import io
import pickle
import sys
import types
from collections import deque

import numpy as np
import pytest
import sb3_contrib
import torch as th
from gymnasium import spaces
from rl_zoo3.utils import SimpleLinearSchedule
from stable_baselines3 import PPO
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.utils import (
    ConstantSchedule,
    FloatSchedule,
    LinearSchedule,
    constant_fn,
    get_linear_fn,
)
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from sb3_trpo.safe_loading.load import inert
from tests.model_files import (
    entries_of,
    saved,
    small_model,
    whole_file,
    with_entries,
    with_json,
    with_objects,
    with_pickles,
    zipped,
)
from tests.test_interop import CASES, DICT, IMAGE, VECTOR, Anything, make, quietly, same_actions
from tests.test_spaces import ACTIONS, OBSERVATIONS

QUICK = {"n_steps": 8, "batch_size": 4, "n_critic_updates": 1, "device": "cpu", "seed": 0}


def untrusted(raw, cls=TRPO, **kwargs):
    return quietly(cls.load, io.BytesIO(raw), device="cpu", trusted=False, **kwargs)


def tensors_of(model):
    moments = model.policy.optimizer.state_dict()["state"]
    numbers = [th.as_tensor(t) for state in moments.values() for t in state.values()]
    return [*model.policy.state_dict().values(), *numbers]


def is_same(a, b):
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, (FloatSchedule, ConstantSchedule, LinearSchedule)):
        return repr(a) == repr(b)
    return a == b


def check_is_the_same(raw, cls=TRPO, **kwargs):
    """What trusted=False loads is what the default loads."""
    ours = untrusted(raw, cls, **kwargs)
    theirs = quietly(cls.load, io.BytesIO(raw), device="cpu", **kwargs)
    pairs = zip(tensors_of(ours), tensors_of(theirs), strict=True)
    assert all(th.equal(a, b) for a, b in pairs)
    made_by_setup = set(ours._excluded_save_params()) | {"policy"}
    for name in vars(theirs).keys() - made_by_setup - {"tensorboard_log"}:
        assert is_same(vars(ours)[name], vars(theirs)[name]), name
    return ours


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cls", [TRPO, sb3_contrib.TRPO])
def test_every_file_of_ours_and_of_contrib_loads_the_same(cls, case):
    model, env = make(cls, case)
    raw = saved(model.learn(32))
    loaded = check_is_the_same(raw, env=DummyVecEnv([lambda: env]))
    assert same_actions(model, loaded)
    quietly(loaded.learn, 32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 64


@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy", "MultiInputPolicy"])
@pytest.mark.parametrize("cls", [MaskableTRPO, RecurrentTRPO])
def test_variants_load_the_same(cls, policy):
    space = {"MlpPolicy": VECTOR, "CnnPolicy": IMAGE, "MultiInputPolicy": DICT}[policy]
    kwargs = {"net_arch": [4]}
    if cls is RecurrentTRPO:
        policy = policy.replace("Policy", "LstmPolicy")
        kwargs |= {"lstm_hidden_size": 5, "n_lstm_layers": 2, "shared_lstm": space is VECTOR}
        kwargs |= {"enable_critic_lstm": space is not VECTOR, "lstm_kwargs": {"dropout": 0.1}}
    model = cls(policy, Anything(space, spaces.Discrete(3)), policy_kwargs=kwargs, **QUICK)
    learn = {"use_masking": False} if cls is MaskableTRPO else {}
    check_is_the_same(saved(quietly(model.learn, 8, **learn)), cls)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observation_spaces_and_their_generators_are_the_same(name):
    check_space(OBSERVATIONS[name], "observation_space")


@pytest.mark.parametrize("name", ACTIONS)
def test_action_spaces_and_their_generators_are_the_same(name):
    check_space(ACTIONS[name], "action_space")


def check_space(space, attribute):
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    pair = (space, spaces.Discrete(2)) if attribute == "observation_space" else (VECTOR, space)
    model = quietly(TRPO, policy, Anything(*pair), **{**QUICK, "seed": None})
    space = getattr(model, attribute)
    space.seed(7)
    space.sample()
    raw = saved(model)
    loaded = getattr(untrusted(raw), attribute)
    as_ever = getattr(TRPO.load(io.BytesIO(raw), device="cpu"), attribute)  # may draw a sample, too
    assert loaded == space
    assert repr(loaded) == repr(space)
    assert is_same(loaded.sample(), as_ever.sample())
    assert loaded.dtype == space.dtype


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"net_arch": [], "activation_fn": th.nn.ReLU, "ortho_init": False, "log_std_init": -2},
        {"net_arch": {"pi": [4], "vf": [5, 3]}, "activation_fn": th.nn.PReLU},
        {"optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"betas": (0.8, 0.9), "eps": 1e-4}},
        {"optimizer_class": th.optim.SGD, "optimizer_kwargs": {"momentum": 0.9, "nesterov": True}},
        {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"alpha": 0.9}},
        {"optimizer_class": th.optim.Rprop, "share_features_extractor": False},
        {"net_arch": [np.int64(4)]},
    ],
)
def test_policy_arguments_load_the_same(policy_kwargs):
    check_is_the_same(saved(small_model(policy_kwargs=policy_kwargs).learn(16)))


def test_image_extractor_and_its_arguments_load_the_same():
    kwargs = {
        "features_extractor_class": NatureCNN,
        "features_extractor_kwargs": {"features_dim": 9},
    }
    env = Anything(spaces.Box(0, 1, (1, 36, 36), np.float32), spaces.Discrete(2))
    kwargs["features_extractor_kwargs"]["normalized_image"] = True
    model = TRPO("CnnPolicy", env, policy_kwargs={"normalize_images": False, **kwargs}, **QUICK)
    check_is_the_same(saved(model))


@pytest.mark.parametrize(
    "schedule",
    [
        LinearSchedule(1e-3, 1e-4, 0.5),
        FloatSchedule(LinearSchedule(1e-3, 0, 1)),
        ConstantSchedule(1e-3),
        FloatSchedule(0.02),
    ],
)
def test_schedules_of_sb3_load_the_same(schedule):
    loaded = check_is_the_same(saved(small_model(learning_rate=schedule, target_kl=schedule)))
    assert loaded.lr_schedule(0.3) == schedule(0.3)
    quietly(loaded.set_env, small_model().get_env())
    loaded.learn(16)


def test_schedules_of_rl_zoo3_load_as_sb3s(monkeypatch):
    theirs = SimpleLinearSchedule(1e-3)
    raw = saved(small_model(learning_rate=theirs, target_kl=FloatSchedule(theirs)))
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "rl_zoo3.utils")
    loaded = untrusted(raw)
    assert type(loaded.learning_rate) is LinearSchedule
    for progress in (1.0, 0.3, 0.0):
        expected = pytest.approx(theirs(progress), rel=1e-12, abs=1e-18)
        assert loaded.learning_rate(progress) == expected
        assert loaded.target_kl(progress) == expected
        assert loaded.lr_schedule(progress) == expected


@pytest.mark.parametrize("value", ["1e-3", np.inf, [1e-3], None])
def test_schedules_of_rl_zoo3_hide_nothing(value):
    theirs = SimpleLinearSchedule(1e-3)
    theirs.initial_value = value
    with pytest.raises(ValueError, match=r"learning_rate: rl_zoo3.utils.SimpleLinearSchedule of"):
        untrusted(with_objects(learning_rate=theirs))


@pytest.mark.parametrize("schedule", [lambda p: 1e-3 * p, quietly(get_linear_fn, 1e-3, 0, 1)])
@pytest.mark.parametrize("name", ["learning_rate", "target_kl"])
def test_schedules_with_code_are_refused_by_name_and_can_be_replaced(name, schedule):
    raw = saved(small_model(**{name: schedule}))
    code = rf"- {name}: [\w.<>]+, whose code is in the file, is not on the list"
    message = rf'{code}; pass custom_objects=\{{"{name}"'
    with pytest.raises(ValueError, match=message):
        untrusted(raw)
    for replacement in ({"custom_objects": {name: 1e-2}}, {name: 1e-2}):
        assert getattr(untrusted(raw, **replacement), name) == 1e-2


def test_schedule_that_a_model_makes_itself_is_never_taken():
    """As in the files of SB3 < 2.5, whose constant was a function with its code."""
    loaded = untrusted(with_objects(lr_schedule=quietly(constant_fn, 5.0)))
    assert loaded.lr_schedule(1.0) == loaded.learning_rate == 1e-3


def test_statistics_and_observations_are_left_out_where_they_are_not_on_the_list():
    class Own:
        pass

    replaced = dict.fromkeys(("ep_info_buffer", "_last_obs", "_last_episode_starts"), Own())
    loaded = untrusted(with_objects(**replaced))
    assert loaded.ep_info_buffer == deque(maxlen=100)
    assert loaded.ep_info_buffer.maxlen == 100
    assert loaded._last_obs is loaded._last_episode_starts is None
    quietly(loaded.set_env, small_model().get_env())
    loaded.learn(8)


def test_folder_of_the_log_is_not_taken(tmp_path):
    loaded = untrusted(with_json(tensorboard_log=str(tmp_path)))
    assert loaded.tensorboard_log is None
    given = untrusted(with_json(tensorboard_log=str(tmp_path)), tensorboard_log="here")
    assert given.tensorboard_log == "here"


# --- files of other times and places --------------------------------------------------------------


def test_spaces_of_gym_load_as_gymnasiums():
    """SB3 1.x stored spaces of gym; here without gym, from what its classes had in them."""
    modules = {name: types.ModuleType(name) for name in ("gym", "gym.spaces")}
    stored = {}
    for module, kind, attributes in (
        (
            "box",
            "Box",
            {**vars(spaces.Box(-1, 1, (3,), np.float32)), "_np_random": np.random.RandomState(3)},
        ),
        (
            "discrete",
            "Discrete",
            {"n": 2, "_shape": (), "dtype": np.dtype("int64"), "_np_random": None},
        ),
    ):
        name = f"gym.spaces.{module}"
        modules[name] = types.ModuleType(name)
        cls = type(kind, (), {"__module__": name})
        setattr(modules[name], kind, cls)
        stored[kind] = cls()
        vars(stored[kind]).update(attributes)
    sys.modules.update(modules)
    try:
        raw = with_objects(observation_space=stored["Box"], action_space=stored["Discrete"])
    finally:
        for name in modules:
            del sys.modules[name]
    loaded = untrusted(raw)
    assert loaded.observation_space == spaces.Box(-1, 1, (3,), np.float32)
    assert loaded.action_space == spaces.Discrete(2)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(3)]
)
def test_arrays_of_every_protocol_and_numpy_version_load(protocol, array):
    data = pickle.dumps(array, protocol)
    assert np.array_equal(untrusted(with_pickles(_last_obs=data))._last_obs, array)
    if protocol == 3:  # later ones store the lengths of names, too
        data = data.replace(b"numpy._core.", b"numpy.core.")
        assert b"numpy.core" in data
        assert np.array_equal(untrusted(with_pickles(_last_obs=data))._last_obs, array)


def test_torch_reads_nothing_of_the_files_own_pickle():
    """It would see what is thrown away in between, too."""
    entries = entries_of(entries_of(whole_file())["policy.pth"])
    name = next(name for name in entries if name.endswith("data.pkl"))
    passing = b"X\x06\x00\x00\x00marker" + pickle.POP
    entries[name] = entries[name][:2] + passing + entries[name][2:]
    raw = with_entries(policy__pth=zipped(entries))
    file = inert(io.BytesIO(raw), (), None, changes={}, env=None)
    assert b"marker" in raw
    assert b"marker" not in file.zip.getvalue()
    pairs = zip(tensors_of(untrusted(raw)), tensors_of(untrusted(whole_file())), strict=True)
    assert all(th.equal(a, b) for a, b in pairs)


def test_net_arch_of_old_files_loads():
    loaded = untrusted(with_json(policy_kwargs={"net_arch": [{"pi": [4], "vf": [4]}]}))
    assert loaded.policy_kwargs["net_arch"] == {"pi": [4], "vf": [4]}


def test_files_of_other_algorithms_are_named():
    ppo = saved(PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu"))
    with pytest.raises(ValueError, match="looks like a file of PPO"):
        untrusted(ppo)


def test_further_entries_are_kept_for_those_who_read_them(tmp_path):
    """SB3 ignores plain entries; what reads them must find them in the file it is given."""
    path = tmp_path / "model.zip"
    path.write_bytes(with_entries(notes__txt=b"hello"))
    assert TRPO.load(path, trusted=False, device="cpu").num_timesteps == 16


def test_system_info_is_printed_without_control_characters(capsys):
    untrusted(with_entries(system_info__txt=b"\x1b[2Jhello\n\xff"), print_system_info=True)
    printed = capsys.readouterr().out
    assert "hello" in printed
    assert "\x1b" not in printed


def test_subclass_that_never_trusts(tmp_path):
    class Careful(TRPO):
        @classmethod
        def load(cls, path, *args, **kwargs):
            return super().load(path, *args, trusted=False, **kwargs)

    path = tmp_path / "model.zip"
    path.write_bytes(whole_file())
    assert type(Careful.load(path, device="cpu")) is Careful


def test_missing_file_is_not_found(tmp_path):
    for trusted in (True, False):
        with pytest.raises(FileNotFoundError):
            TRPO.load(tmp_path / "nothing", trusted=trusted)
