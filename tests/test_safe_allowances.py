"""trusted=False: what the user allows or replaces, beyond the list."""

import inspect
import io

import cloudpickle
import numpy as np
import pytest
from gymnasium import spaces

import tests.policies_under_test
from sb3_trpo import TRPO, MaskableTRPO, RecurrentTRPO
from tests.model_files import (
    saved,
    small_model,
    whole_file,
    with_objects,
)
from tests.policies_under_test import BetaPolicy, DoubleExtractor
from tests.test_interop import VECTOR, Anything
from tests.test_safe_loading import untrusted

QUICK = {"n_steps": 8, "batch_size": 4, "n_critic_updates": 1, "device": "cpu", "seed": 0}


class Halving:
    """A schedule of the user's own."""

    def __init__(self, start):
        self.start = start

    def __call__(self, progress):
        return self.start * (0.5 + progress / 2)


def model_of_ones_own(**changes):
    kwargs = {"features_extractor_class": DoubleExtractor, "net_arch": [4]}
    space = spaces.Box(-1, 1, (5,), np.float32)
    return TRPO("MlpPolicy", Anything(space, VECTOR), policy_kwargs=kwargs, **QUICK, **changes)


def test_own_classes_are_refused_by_name_and_load_when_allowed():
    raw = saved(model_of_ones_own(learning_rate=Halving(1e-3)))
    with pytest.raises(ValueError, match="not loaded with trusted=False") as refusal:
        untrusted(raw)
    listing = str(refusal.value)
    assert (
        "- policy_kwargs: tests.policies_under_test.DoubleExtractor is not on the list" in listing
    )
    assert "- learning_rate: tests.test_safe_allowances.Halving is not on the list" in listing
    loaded = untrusted(raw, allow=[DoubleExtractor, Halving])
    assert type(loaded.policy.features_extractor) is DoubleExtractor
    assert loaded.learning_rate(0.0) == 0.0005


def test_own_policy_and_function_load_when_allowed():
    model = TRPO(BetaPolicy, Anything(VECTOR, spaces.Box(-1, 1, (2,))), **QUICK)
    assert type(untrusted(saved(model), allow=[BetaPolicy]).policy) is BetaPolicy
    raw = saved(small_model(learning_rate=halved))
    assert untrusted(raw, allow=(halved,)).learning_rate is halved
    with pytest.raises(ValueError, match=r"tests\.test_safe_allowances\.halved is not on the list"):
        untrusted(raw)


def halved(progress):
    return 1e-3 * (0.5 + progress / 2)


def test_class_with_its_code_in_the_file_is_replaced_by_the_users():
    """Where the class was in the script that was run, the file holds its code: it stays unused."""
    cloudpickle.register_pickle_by_value(tests.policies_under_test)
    try:
        raw = saved(model_of_ones_own())
    finally:
        cloudpickle.unregister_pickle_by_value(tests.policies_under_test)
    name = "tests.policies_under_test.DoubleExtractor"
    with pytest.raises(ValueError, match=f"{name}, whose code is in the file, is not on the list"):
        untrusted(raw)

    class Mine(DoubleExtractor):
        pass

    loaded = untrusted(raw, allow={name: Mine})
    assert type(loaded.policy.features_extractor) is Mine
    assert (
        type(untrusted(raw, allow=[DoubleExtractor]).policy.features_extractor) is DoubleExtractor
    )


@pytest.mark.parametrize(
    "allow",
    [[3], ["name"], [Halving(1.0)], "name", {"a.b": 3}, {3: Halving}, Halving, None, 3],
)
def test_allow_is_of_classes_and_functions(allow):
    with pytest.raises(ValueError, match=r"allow must (hold classes|be a list of classes)"):
        untrusted(whole_file(), allow=allow)


@pytest.mark.parametrize("trusted", ["False", "no", None, 0, 1])
def test_trusted_is_true_or_false_and_nothing_that_looks_like_it(trusted):
    with pytest.raises(ValueError, match="trusted must be a bool, got"):
        TRPO.load(io.BytesIO(whole_file()), device="cpu", trusted=trusted)


@pytest.mark.parametrize("cls", [TRPO, MaskableTRPO, RecurrentTRPO])
def test_trust_is_an_argument_of_all_classes_by_keyword_and_documented(cls):
    parameter = inspect.signature(cls.load).parameters["trusted"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default is True
    assert "the default does what SB3 does" in cls.load.__doc__


def test_allow_is_for_files_that_are_not_trusted():
    with pytest.raises(ValueError, match="allow must be empty with trusted=True"):
        TRPO.load(io.BytesIO(whole_file()), allow=[Halving])


def test_replacements_win_over_the_file():
    raw = with_objects(policy_kwargs={"net_arch": [4], "activation_fn": len})
    loaded = untrusted(raw, custom_objects={"policy_kwargs": {"net_arch": [4]}}, n_steps=24)
    assert loaded.policy_kwargs == {"net_arch": [4]}
    assert loaded.n_steps == 24
    assert untrusted(whole_file(), policy_kwargs={"net_arch": [4]}).policy_kwargs == {
        "net_arch": [4]
    }
    with pytest.raises(ValueError, match="policy kwargs"):
        untrusted(whole_file(), policy_kwargs={"net_arch": [5]})
