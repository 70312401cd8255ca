"""That the peers run with the settings that rl_zoo3 publishes, read from its own files."""

from pathlib import Path

import pytest
import yaml
from torch import nn

from benchmarks.learning.configuration import OUTSIDE_CONSTRUCTOR
from benchmarks.learning.configurations import configuration
from benchmarks.learning.schedules import linear
from benchmarks.learning.suites import CONTESTANTS, SUITES

rl_zoo3 = pytest.importorskip("rl_zoo3")

FILES = {"contrib_trpo": "trpo", "ppo": "ppo", "a2c": "a2c", "recurrent_ppo": "ppo_lstm"}
CELLS = [
    (algorithm, task)
    for suite, tasks in SUITES.items()
    for task in tasks
    for algorithm in CONTESTANTS[suite]
    if algorithm in FILES
]


def published(algorithm, task):
    """The zoo's entry, written as a configuration is; what it leaves out is the default."""
    name = task.replace("NoVelocity-v1", "NoVel-v1").replace("NoVelocity", "").replace("-v5", "-v4")
    file = Path(rl_zoo3.__file__).parent / "hyperparams" / f"{FILES[algorithm]}.yml"
    entry = yaml.safe_load(file.read_text())[name]
    del entry["n_timesteps"]
    entry = {"n_envs": 1, "gamma": 0.99, **entry}
    entry["normalize"] = {} if entry.get("normalize") else None
    for key, value in entry.items():
        if isinstance(value, str) and value.startswith("lin_"):
            entry[key] = linear(float(value.removeprefix("lin_")))
    if "policy_kwargs" in entry:
        kwargs = eval(entry["policy_kwargs"], {"nn": nn})  # as rl_zoo3 reads it
        if "activation_fn" in kwargs:
            kwargs["activation_fn"] = kwargs["activation_fn"].__name__
        entry["policy_kwargs"] = kwargs
    return entry


@pytest.mark.parametrize(("algorithm", "task"), CELLS)
def test_peer_runs_with_its_published_setting(algorithm, task):
    ours = configuration(algorithm, task)
    apart = {name: getattr(ours, name) for name in OUTSIDE_CONSTRUCTOR}
    assert {**ours.settings, **apart} == published(algorithm, task)
