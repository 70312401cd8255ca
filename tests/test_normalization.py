"""VecNormalize's statistics are in the saved model, for whoever wants them."""

import io
import json
import tracemalloc
import warnings
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

import sb3_trpo
from sb3_trpo import TRPO, load_normalization
from tests.learning_tasks import SignOfIndexed
from tests.training_runs import CASES, N_ENVS, N_STEPS, Walk

OPTIONS = {
    "clip_obs": 3.0,
    "clip_reward": 2.0,
    "gamma": 0.9,
    "epsilon": 1e-3,
}
ENTRIES = {"vec_normalize.json", "vec_normalize.npz"}
pytestmark = pytest.mark.filterwarnings("ignore:batch_size")


def walks():
    return DummyVecEnv([Walk] * N_ENVS)


class Dictionary(Walk):
    """A Dict whose number is not to be normalised."""

    def __init__(self):
        super().__init__()
        inner = {"place": self.observation_space, "side": spaces.Discrete(2)}
        self.observation_space = spaces.Dict(inner)

    def _observation(self):
        return {"place": super()._observation(), "side": self._steps % 2}


def saved(env, path, policy="MlpPolicy", n_steps=N_STEPS):
    model = TRPO(policy, env, n_steps=n_steps, batch_size=16, n_critic_updates=1, device="cpu")
    model.learn(2 * n_steps * env.num_envs)
    model.save(path)
    return model


def assert_same_statistics(one, other):
    for name in ("norm_obs", "norm_reward", "norm_obs_keys", *OPTIONS):
        assert getattr(one, name) == getattr(other, name), name
    pairs = [(one.ret_rms, other.ret_rms)]
    if isinstance(one.obs_rms, dict):
        assert one.obs_rms.keys() == other.obs_rms.keys()
        pairs += [(one.obs_rms[key], other.obs_rms[key]) for key in one.obs_rms]
    else:
        pairs.append((one.obs_rms, other.obs_rms))
    for a, b in pairs:
        assert (a.mean.tobytes(), a.var.tobytes(), a.count) == (
            b.mean.tobytes(),
            b.var.tobytes(),
            b.count,
        )


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trpo", "maskable", "recurrent"])
def test_statistics_of_all_three_classes_come_back_bit_for_bit(name, tmp_path):
    case = CASES[name]
    model = case.model()
    model.learn(2 * N_ENVS * N_STEPS)
    model.save(tmp_path / "model")
    found = load_normalization(tmp_path / "model", case.venv())
    assert_same_statistics(found, model.env)
    assert found.training


@pytest.mark.parametrize("training", [True, False])
def test_options_come_back_and_training_decides(training, tmp_path):
    model = saved(VecNormalize(walks(), **OPTIONS), tmp_path / "model.zip")
    found = load_normalization(str(tmp_path / "model"), walks(), training=training)
    assert found.training is training
    assert found.norm_reward is training
    found.norm_reward = True
    assert_same_statistics(found, model.env)
    count = found.obs_rms.count
    found.reset()
    assert (found.obs_rms.count > count) is training


def test_statistics_go_on_after_an_evaluation_that_stopped_them(tmp_path):
    env = VecNormalize(walks())
    model = saved(env, tmp_path / "model.zip")
    env.training = env.norm_reward = False  # as for an evaluation
    model.save(tmp_path / "model.zip")
    assert load_normalization(tmp_path / "model.zip", walks()).training


@pytest.mark.parametrize("options", [{"norm_reward": False}, {"norm_obs": False}])
def test_one_half_alone(options, tmp_path):
    model = saved(VecNormalize(walks(), **options), tmp_path / "model")
    found = load_normalization(tmp_path / "model", walks())
    assert (found.norm_obs, found.norm_reward) == (model.env.norm_obs, model.env.norm_reward)
    assert found.ret_rms.count == model.env.ret_rms.count
    assert hasattr(found, "obs_rms") == found.norm_obs
    found.reset()
    found.step(np.zeros((N_ENVS, 2)))


@pytest.mark.parametrize("keys", [["place"], ("place",)])
def test_parts_of_dict_observations(keys, tmp_path):
    env = VecNormalize(DummyVecEnv([Dictionary] * 2), norm_obs_keys=keys)
    model = saved(env, tmp_path / "model", "MultiInputPolicy")
    found = load_normalization(tmp_path / "model", DummyVecEnv([Dictionary] * 2))
    model.env.norm_obs_keys = list(keys)
    assert_same_statistics(found, model.env)
    assert list(found.obs_rms) == ["place"]


def test_images(tmp_path):
    def env():
        return DummyVecEnv([Images] * 2)

    model = saved(VecNormalize(env()), tmp_path / "model", n_steps=4)
    found = load_normalization(tmp_path / "model", env())
    assert_same_statistics(found, model.env)
    assert found.observation_space == model.env.observation_space  # no bytes any more


class Images(gym.Env):
    """Noise."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def test_normalised_below_another_wrapper(tmp_path):
    env = VecFrameStack(VecNormalize(walks()), n_stack=2)
    model = saved(env, tmp_path / "model")
    found = load_normalization(tmp_path / "model", walks())
    assert_same_statistics(found, model.env.venv)


def test_policy_acts_as_in_training(tmp_path):
    model = saved(VecNormalize(walks()), tmp_path / "model")
    env = load_normalization(tmp_path / "model", walks(), training=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = TRPO.load(tmp_path / "model", env, device="cpu")
    place = np.array([[0.5, -3.0, 2.0]], dtype=np.float32)
    ours, theirs = (m.env.normalize_obs(place) for m in (loaded, model))
    assert np.array_equal(ours, theirs)
    actions = [m.predict(ours, deterministic=True)[0] for m in (loaded, model)]
    assert np.array_equal(*actions)


def test_open_files(tmp_path):
    file = io.BytesIO()
    file.write(b"before")
    model = CASES["trpo"].model()
    model.env.reset()
    zipped = io.BytesIO()
    model.save(zipped)
    zipped.seek(0)
    assert_same_statistics(load_normalization(zipped, walks()), model.env)
    assert zipped.tell() == 0
    with (tmp_path / "model.zip").open("wb") as unreadable:
        model.save(unreadable)
    with (tmp_path / "model.zip").open("rb") as opened:
        assert_same_statistics(load_normalization(opened, walks()), model.env)
        TRPO.load(opened, device="cpu")


# --- the file -------------------------------------------------------------------------------------


def test_entries_hold_json_and_arrays_and_are_there_when_there_are_statistics(tmp_path):
    saved(VecNormalize(walks()), tmp_path / "with.zip")
    saved(walks(), tmp_path / "without.zip")
    with zipfile.ZipFile(tmp_path / "with.zip") as archive:
        names = archive.namelist()
        assert set(names) >= ENTRIES
        assert len(names) == len(set(names))
        assert "options" in json.loads(archive.read("vec_normalize.json"))["dict"]
        with np.load(io.BytesIO(archive.read("vec_normalize.npz")), allow_pickle=False) as arrays:
            assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float64)}
    with zipfile.ZipFile(tmp_path / "without.zip") as archive:
        assert not set(archive.namelist()) & ENTRIES


@pytest.mark.parametrize("normalised", [True, False])
def test_sb3_contrib_reads_our_files_and_we_its(normalised, tmp_path):
    def env():
        return VecNormalize(walks()) if normalised else walks()

    model = saved(env(), tmp_path / "ours.zip")
    theirs = sb3_contrib.TRPO.load(tmp_path / "ours.zip", env(), device="cpu")
    for a, b in zip(theirs.policy.parameters(), model.policy.parameters(), strict=True):
        assert th.equal(a, b)
    theirs.learn(64)
    theirs.save(tmp_path / "theirs.zip")
    with zipfile.ZipFile(tmp_path / "theirs.zip") as archive:
        assert not set(archive.namelist()) & ENTRIES  # it does not know of them
    back = TRPO.load(tmp_path / "theirs.zip", device="cpu")
    for a, b in zip(theirs.policy.parameters(), back.policy.parameters(), strict=True):
        assert th.equal(a, b)
    data, params, variables = load_from_zip_file(tmp_path / "ours.zip", device="cpu")
    assert set(params) == {"policy", "policy.optimizer"}
    assert not variables
    assert "n_critic_updates" in data


# --- warnings -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    saved(VecNormalize(walks()), folder / "normalised.zip")
    saved(walks(), folder / "plain.zip")
    contrib = sb3_contrib.TRPO("MlpPolicy", VecNormalize(walks()), n_steps=N_STEPS, device="cpu")
    contrib.learn(N_ENVS * N_STEPS)
    contrib.save(folder / "contrib.zip")
    return folder


def stepped():
    env = VecNormalize(walks())
    env.reset()
    return env


@pytest.mark.parametrize(
    ("name", "env", "message"),
    [
        ("normalised", walks, "saved with VecNormalize, and env has none.*load_normalization"),
        ("normalised", lambda: VecNormalize(walks()), "seen no data yet.*load_normalization"),
        ("plain", lambda: VecNormalize(walks()), "saved without VecNormalize, and env has one"),
        ("plain", stepped, "saved without VecNormalize, and env has one"),
        ("contrib", walks, "saved with VecNormalize, and env has none.*VecNormalize.load"),
        ("contrib", lambda: VecNormalize(walks()), r"seen no data yet.*VecNormalize.load\(\)"),
        ("normalised", Walk, "saved with VecNormalize, and env has none"),
    ],
)
def test_load_warns_of_environments_that_are_not_as_they_were(name, env, message, files):
    with pytest.warns(UserWarning, match=message) as caught:
        TRPO.load(files / f"{name}.zip", env(), device="cpu")
    of_it = [warning for warning in caught if "VecNormalize" in str(warning.message)]
    assert len(of_it) == 1
    assert of_it[0].filename == __file__


@pytest.mark.parametrize(
    ("name", "env"),
    [
        ("normalised", lambda: None),
        ("plain", lambda: None),
        ("normalised", stepped),
        ("contrib", stepped),
        ("plain", walks),
        ("plain", Walk),
    ],
)
def test_load_does_not_warn_where_nothing_is_wrong(name, env, files, recwarn):
    TRPO.load(files / f"{name}.zip", env(), device="cpu")
    assert not [warning for warning in recwarn if "VecNormalize" in str(warning.message)]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "venv", "options", "message"),
    [
        ("plain", walks, {}, "path must be a file that was saved with the statistics"),
        ("contrib", walks, {}, "path must be a file that was saved with the statistics"),
        ("normalised", stepped, {}, "venv must not be normalised already"),
        ("normalised", Walk, {}, "venv must be a VecEnv"),
        ("normalised", lambda: None, {}, "venv must be a VecEnv"),
        ("normalised", walks, {"training": None}, "training must be a bool, got None"),
        ("normalised", walks, {"training": 1}, "training must be a bool, got 1"),
        (
            "normalised",
            lambda: make_vec_env("CartPole-v1"),
            {},
            r"must be those of the file, of shape \(3,\), got of shape \(4,\)",
        ),
        ("normalised", lambda: DummyVecEnv([SignOfIndexed]), {}, "must have the observations"),
        ("normalised", lambda: make_vec_env("FrozenLake-v1"), {}, "must have the observations"),
    ],
)
def test_load_normalization_refuses_what_does_not_fit(name, venv, options, message, files):
    with pytest.raises(ValueError, match=message):
        load_normalization(files / f"{name}.zip", venv(), **options)


def test_file_that_is_missing_or_no_zip(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_normalization(tmp_path / "nothing", walks())
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="cannot be read: File is not a zip file"):
        load_normalization(tmp_path / "text.zip", walks())


def rewritten(source, target, **changed):
    """A copy of a file with other statistics."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            for ending, change in changed.items():
                if name == f"vec_normalize.{ending}":
                    content = change(content)
            new.writestr(name, content)
    return target


@pytest.mark.parametrize(
    "changed",
    [
        {"json": lambda _: b""},
        {"json": lambda _: b"[]"},
        {"json": lambda text: text.replace(b'"clip_obs"', b'"clip_it"')},
        {"json": lambda text: text.replace(b'"norm_obs": true', b'"norm_obs": "yes"')},
        {"json": lambda text: text.replace(b'"clip_obs": 10.0', b'"clip_obs": NaN')},
        {"json": lambda text: text.replace(b'{"array": 0}', b"3")},
        {"json": lambda text: text.replace(b'{"array": 1}', b'{"array": 2}')},
        {"json": lambda text: text.replace(b'"clip_obs": 10.0', b'"clip_obs": true')},
        {"json": lambda text: text.replace(b'"norm_obs_keys": null', b'"norm_obs_keys": [[1]]')},
        {"json": lambda _: b'{"dict": {"options": {"scalar": ["f8", 1]}}}'},
        {"json": lambda text: text.replace(b'"rewards": ', b'"rewards": 1, "": ')},
        {"json": lambda text: text + b" " * 2**20},
        {"npz": lambda _: b""},
        {"npz": lambda content: content[: len(content) // 2]},
    ],
)
def test_damaged_statistics_are_refused(changed, files, tmp_path):
    path = rewritten(files / "normalised.zip", tmp_path / "bad.zip", **changed)
    with pytest.raises(ValueError, match=r"bad\.zip: statistics of VecNormalize cannot be read"):
        load_normalization(path, walks())
    TRPO.load(path, device="cpu")  # the model is whole


@pytest.mark.parametrize(("ending", "n_mib"), [("json", 2), ("npz", 30)])
def test_statistics_that_unfold_to_much_are_refused_before_they_do(ending, n_mib, files, tmp_path):
    with zipfile.ZipFile(files / "normalised.zip") as old:
        contents = {name: old.read(name) for name in old.namelist()}
    contents[f"vec_normalize.{ending}"] = bytes(n_mib * 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(
        ValueError, match=rf"vec_normalize\.{ending} unpacks to {n_mib * 2**20:,} by"
    ):
        load_normalization(tmp_path / "bomb.zip", walks())


def test_statistics_that_say_they_are_small_are_not_unfolded(files, tmp_path):
    """Asked for all of an entry, zipfile unfolds it before it looks at the size."""
    n_bytes = 200 * 2**20
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(files / "normalised.zip") as old:
        contents = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, bytes(n_bytes) if name.endswith(".npz") else content)
    path.write_bytes(path.read_bytes().replace(n_bytes.to_bytes(4, "little"), b"\x64\0\0\0"))
    tracemalloc.start()
    with pytest.raises(ValueError, match="statistics of VecNormalize cannot be read"):
        load_normalization(path, walks())
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_load_normalization_is_what_the_package_shows():
    assert "load_normalization" in sb3_trpo.__all__
