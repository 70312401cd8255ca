"""Wrong arguments: every refusal names the argument, in our words, and nothing is half done."""

import importlib
import inspect
import io
import re
import traceback
from pathlib import Path

import gymnasium as gym
import pytest
import sb3_contrib

import sb3_trpo
from sb3_trpo import TRPO
from tests import bad_arguments_algorithms, bad_arguments_optim, bad_arguments_rest
from tests.bad_arguments_algorithms import HYPERPARAMETERS, OF_CONTINUOUS, saved

TABLES = [
    *bad_arguments_algorithms.TABLES,
    *bad_arguments_optim.TABLES,
    *bad_arguments_rest.TABLES,
]
PACKAGE = str(Path(sb3_trpo.__file__).parent)
FEWEST = 3


def refused(call, arguments, name):
    """Call, and return the refusal: ours, of this argument."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call(**arguments)
    message, value = str(caught.value), arguments[name]
    assert re.search(rf"(?<!\w){name}(?!\w)", message), f"{name}={value!r}: {message}"
    innermost = traceback.extract_tb(caught.tb)[-1].filename
    assert innermost.startswith(PACKAGE), f"{name}={value!r}: {innermost}: {message}"
    return message


CASES = [(table, name) for table in TABLES for name in table.wrong]


@pytest.mark.parametrize(("table", "name"), CASES, ids=[f"{t.name}-{n}" for t, n in CASES])
def test_wrong_argument_is_refused_by_name(table, name):
    for value in table.wrong[name]:
        call, right = table.make()
        message = refused(call, {**right, name: value}, name)
        assert not table.shows_value or repr(value) in message or "tensor of" in message


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_the_other_arguments_are_right(table):
    call, right = table.make()
    call(**right)


@pytest.mark.parametrize("name", HYPERPARAMETERS | OF_CONTINUOUS)
def test_hyperparameter_is_refused_on_load_as_well(name):
    env = gym.make("Pendulum-v1")
    for value in (HYPERPARAMETERS | OF_CONTINUOUS)[name]:
        arguments = {"path": io.BytesIO(saved()), "env": env, "device": "cpu", name: value}
        if name == "sub_sampling_factor" and value == bad_arguments_algorithms.N_STEPS + 1:
            arguments["n_steps"] = bad_arguments_algorithms.N_STEPS
        refused(TRPO.load, arguments, name)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("misspelt", [{"trust": False}, {"target_kll": 0.1}])
def test_misspelt_argument_of_load_is_refused(trusted, misspelt):
    """SB3 would take trust=False for an attribute, and load a stranger's file with trust."""
    arguments = {"path": io.BytesIO(saved()), "device": "cpu", "trusted": trusted}
    refused(TRPO.load, {**arguments, **misspelt}, *misspelt)


class Taught(TRPO):
    """With an attribute that files do not hold, and an optimiser that they do not either."""

    teacher = None

    def __init__(self, *args, pupil=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.pupil = pupil

    def _excluded_save_params(self):
        return [*super()._excluded_save_params(), "teacher", "pupil"]

    def _get_torch_save_params(self):
        return ["policy"], []


@pytest.mark.parametrize("trusted", [True, False])
def test_attributes_of_a_subclass_are_taken_on_load(trusted):
    file = io.BytesIO()
    Taught("MlpPolicy", "CartPole-v1", n_steps=8, device="cpu").save(file)
    given = {"teacher": "one", "pupil": "other", "seed": 3, "actor_batch_size": 4}
    model = Taught.load(io.BytesIO(file.getvalue()), device="cpu", trusted=trusted, **given)
    assert {name: getattr(model, name) for name in given} == given


def test_new_arguments_replace_those_of_a_contrib_file():
    file = io.BytesIO()
    sb3_contrib.TRPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu").save(file)
    given = {"match_kl": False, "actor_batch_size": 4, "cg_damping": 0.1}
    model = TRPO.load(io.BytesIO(file.getvalue()), device="cpu", target_kl=0.1, **given)
    assert {name: getattr(model, name) for name in given} == given


def test_learning_without_an_environment_is_refused():
    model = TRPO.load(io.BytesIO(saved()), device="cpu", verbose=0)
    with pytest.raises(ValueError, match="env must be given to load"):
        model.learn(64)


@pytest.mark.parametrize("chunk", bad_arguments_optim.CHUNKS)
def test_chunk_whose_parts_do_not_fit_is_refused(chunk):
    call, right = bad_arguments_optim.step()
    with pytest.raises(ValueError, match="chunks must have"):
        call(**{**right, "problem": bad_arguments_optim.problem(chunk)})


# Public names without a table, and why.
RECORD = "a record that the library makes and returns"
PROTOCOL = "a protocol: it says what the user's class has to have"
ALWAYS = "refuses every call, with the AttributeError that SB3 and hasattr() want"
EXEMPT = {
    "sb3_trpo.optim.CGResult": RECORD,
    "sb3_trpo.optim.LineSearchResult": RECORD,
    "sb3_trpo.optim.TrustRegionResult": RECORD,
    "sb3_trpo.report.Report": RECORD,
    "sb3_trpo.optim.Chunk": PROTOCOL,
    "sb3_trpo.optim.OldPolicy": PROTOCOL,
    "sb3_trpo.optim.Linearisation": PROTOCOL,
    "sb3_trpo.optim.FastLinearisation": PROTOCOL,
    "sb3_trpo.optim.LineSearch": PROTOCOL,
    "sb3_trpo.envs.EnvPoolVecEnv.set_attr": ALWAYS,
    "sb3_trpo.envs.EnvPoolVecEnv.env_method": ALWAYS,
    "sb3_trpo.checkpoint.TrainingCheckpoint.on_boundary": "called by learn(), as it trains",
}
MODULES = ("", ".optim", ".distributions", ".envs", ".checkpoint", ".report")


def public_in(module):
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    for name in names:
        thing = getattr(module, name)
        # SB3's policies are not ours; without __all__, what is imported is not the module's.
        home = "sb3_trpo" if hasattr(module, "__all__") else module.__name__
        if getattr(thing, "__module__", "").startswith(home):
            yield f"{module.__name__}.{name}", thing


def code_of(function):
    return getattr(inspect.unwrap(function), "__code__", None) if function else None


def methods_of(cls):
    """Find the public methods that are defined here; of variants those that TRPO has not."""
    seen = set()
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("sb3_trpo"):
            seen |= {n for n in vars(base) if n == "__call__" or n[0] != "_"}
    seen -= vars(cls).get("__dataclass_fields__", {}).keys()
    methods = {n: f for n in sorted(seen) if inspect.isroutine(f := getattr(cls, n))}
    if cls is TRPO or not issubclass(cls, TRPO):
        return methods
    return {n: f for n, f in methods.items() if code_of(f) is not code_of(getattr(TRPO, n, None))}


def public():
    """Yield all that users may call, by name, with the arguments that it takes."""
    for suffix in MODULES:
        for name, thing in public_in(importlib.import_module(f"sb3_trpo{suffix}")):
            if name in EXEMPT or not callable(thing) or not hasattr(thing, "__name__"):
                continue
            yield name, [*inspect.signature(thing).parameters]
            for method, function in methods_of(thing).items() if inspect.isclass(thing) else ():
                arguments = [n for n in inspect.signature(function).parameters if n != "self"]
                if f"{name}.{method}" not in EXEMPT and arguments:
                    yield f"{name}.{method}", arguments


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_argument_has_wrong_values(name):
    tables = [table for table in TABLES if table.name == name]
    for argument in PUBLIC[name]:
        reasons = [table.anything[argument] for table in tables if argument in table.anything]
        n_wrong = sum(len(table.wrong.get(argument, ())) for table in tables)
        assert n_wrong >= FEWEST or any(len(reason) > 10 for reason in reasons), argument


def test_the_tables_are_of_what_is_public():
    extra = {table.name for table in TABLES} - set(PUBLIC)
    assert extra == {"sb3_trpo.distributed.processes"}  # which resume() and the models call
    for table in TABLES:
        known = PUBLIC.get(table.name, ["distributed"])
        assert {*table.wrong, *table.anything} <= set(known), table.name
