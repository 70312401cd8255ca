"""python -m sb3_trpo.inspect, as a user runs it."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import sb3_contrib
from stable_baselines3 import PPO

from sb3_trpo import RecurrentTRPO
from sb3_trpo.inspect import main
from tests.commands import output_of
from tests.model_files import saved, small_model, whole_file
from tests.test_interop import VECTOR, Anything, make, spaces


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.zip"


def printed_of(path, content, capsys, code=0):
    path.write_bytes(content)
    assert main([str(path)]) == code
    return capsys.readouterr().out


def test_command_prints_all_there_is(path):
    path.write_bytes(whole_file())
    printed = output_of("-m", "sb3_trpo.inspect", path, cwd=Path(__file__).parents[1])
    for line in (
        r"algorithm                        TRPO (written by sb3_trpo)",
        r"Stable-Baselines3                2.",
        r"  observation_space                Box(-1.0, 1.0, (3,), float32)",
        r"  num_timesteps                    16",
        r"  batch_size                       4",
        r"  policy.pth                       8 tensors, 47 numbers",
        r"    action_net.weight                2 × 4  FloatStorage",
        r"  policy_class                     loaded: stable_baselines3.common.policies.",
        r"  lr_schedule                      made anew: it is not taken from files",
        r"Loads with trusted=False.",
    ):
        assert line in printed, line


def test_what_is_refused_is_named_with_its_names(path, capsys):
    printed = printed_of(path, saved(small_model(learning_rate=lambda _: 1.0)), capsys, code=1)
    assert "learning_rate                    REFUSED: " in printed
    assert "<lambda>, whose code is in the file, is not on the list" in printed
    assert "cloudpickle.cloudpickle._make_function" in printed


@pytest.mark.parametrize(
    ("content", "algorithm", "code"),
    [
        (lambda: saved(make(sb3_contrib.TRPO, "discrete")[0]), "TRPO (written by sb3_contrib)", 0),
        (lambda: saved(recurrent()), "RecurrentTRPO (written by sb3_trpo)", 0),
        (lambda: saved(PPO("MlpPolicy", "CartPole-v1", device="cpu")), "a file of PPO", 1),
    ],
)
def test_algorithms_are_told_apart(path, content, algorithm, code, capsys):
    assert algorithm in printed_of(path, content(), capsys, code)


def recurrent():
    kwargs = {"lstm_hidden_size": 4, "net_arch": []}
    env = Anything(VECTOR, spaces.Discrete(2))
    return RecurrentTRPO("MlpLstmPolicy", env, n_steps=8, policy_kwargs=kwargs, device="cpu")


def test_pickle_by_itself_is_read_too(path, capsys):
    printed = printed_of(path, pickle.dumps({"mean": np.zeros(3)}), capsys, code=1)
    maker = np.zeros(3).__reduce__()[0]  # NumPy 1 has it elsewhere
    assert f"{maker.__module__}._reconstruct" in printed
    assert "a pickle by itself is not loaded" in printed


def test_file_that_is_not_there(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.zip")]) == 1
    assert "nothing.zip cannot be read: there is no such file" in capsys.readouterr().err
