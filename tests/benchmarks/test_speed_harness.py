import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch as th

from benchmarks.speed import __main__ as command
from benchmarks.speed import quiet, shares
from benchmarks.speed.growth import width_for
from benchmarks.speed.models import (
    CONTRIB,
    OURS,
    PPO,
    blank_env,
    build,
    contrib_defaults,
    fill_buffer,
    vectors,
)
from benchmarks.speed.products import all_iterations, count_in_update, fix_products, train_quietly
from benchmarks.speed.quiet import check_quiet, learning_processes
from benchmarks.speed.replay import Replay
from benchmarks.speed.resident_memory import growth
from benchmarks.speed.sizes import TINY
from benchmarks.speed.timing import Contender, in_turns
from benchmarks.speed.updates import ACTOR_ALONE, N_PRODUCTS

MIB = 2**20


def a_model(algorithm, seed=0, **settings):
    model = build(algorithm, blank_env(*vectors(5, 2), 2), seed, n_steps=64, **settings)
    fill_buffer(model, seed=0)
    return model


# --- the same work on both sides ------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [OURS, CONTRIB])
def test_both_sides_take_exactly_fifteen_products(algorithm):
    model = a_model(algorithm, **ACTOR_ALONE[algorithm])
    replay = Replay(model)
    with all_iterations():
        assert fix_products(model, replay, N_PRODUCTS) == N_PRODUCTS == 15
        assert count_in_update(model, replay) == N_PRODUCTS
    assert model.cg_max_steps == {OURS: 15, CONTRIB: 13}[algorithm]


def test_a_solver_that_stops_early_is_refused():
    model = a_model(OURS, n_critic_updates=0, cg_relative_tolerance=0.9)
    with pytest.raises(RuntimeError, match="not 15"):
        fix_products(model, Replay(model), 15)


def test_ours_runs_with_the_defaults_of_contrib():
    model = build(OURS, blank_env(*vectors(5, 2), 1), 0)
    defaults = contrib_defaults()
    assert {"n_steps", "batch_size", "cg_max_steps", "target_kl", "n_critic_updates"} <= set(
        defaults
    )
    theirs = build(CONTRIB, blank_env(*vectors(5, 2), 1), 0)
    names = [name for name in defaults if hasattr(theirs, name)]
    assert {n: getattr(model, n) for n in names} == {n: getattr(theirs, n) for n in names}


@pytest.mark.parametrize("algorithm", [OURS, CONTRIB, PPO])
def test_every_round_starts_from_the_same_rollout_and_parameters(algorithm):
    model, replay = a_model(algorithm), Replay(a_model(OURS, seed=1))
    assert not replay.is_in(model)
    updated = []
    for _ in range(2):
        replay.put_into(model)
        assert replay.is_in(model)
        assert not model.policy.optimizer.state
        train_quietly(model)
        assert not replay.is_in(model)
        updated.append(th.nn.utils.parameters_to_vector(model.policy.parameters()).detach())
    assert th.equal(*updated)


# --- measuring -----------------------------------------------------------------------------------


def test_contenders_take_turns_and_each_goes_first():
    calls = []

    def contender(name):
        def prepare(number):
            def run():
                calls.append((number, name))
                return 2.0

            return run

        return Contender(name, prepare)

    measured = in_turns([contender("a"), contender("b")], rounds=2)
    assert calls == [(-1, "a"), (-1, "b"), (0, "a"), (0, "b"), (1, "b"), (1, "a")]
    assert {name: [t.work for t in of_name] for name, of_name in measured.items()} == {
        "a": [2.0, 2.0],
        "b": [2.0, 2.0],
    }


@pytest.mark.parametrize("wanted", [10_000, 1_000_000])
def test_networks_have_the_wanted_number_of_parameters(wanted):
    width = width_for(wanted)
    env = blank_env(*vectors(17, 6), 1)
    model = build(OURS, env, 0, policy_kwargs={"net_arch": [width, width]})
    n_parameters = sum(parameter.numel() for parameter in model.policy.parameters())
    assert n_parameters == pytest.approx(wanted, rel=0.02)


def test_growth_sees_memory_that_is_gone_afterwards():
    assert growth(lambda: bytearray(64 * MIB).clear()) >= 60 * MIB


# --- quiet ----------------------------------------------------------------------------------------


def a_process(proc, pid, state, *arguments):
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\0".join(a.encode() for a in arguments) + b"\0")
    (folder / "stat").write_text(f"{pid} (py (x) thon) {state} 1 1 1\n")


RUN = ("python", "-m", "benchmarks.learning.single_run", "{}")
RUNNER = ("python", "-m", "benchmarks.learning", "run", "--jobs", "2")


def test_learning_runs_forbid_to_measure(tmp_path):
    a_process(tmp_path, 17, "R", *RUN)
    a_process(tmp_path, 5, "S", *RUNNER)
    with pytest.raises(ValueError, match="kill -STOP 5 17"):
        check_quiet(tmp_path)


def test_stopped_runs_and_other_processes_do_not_disturb(tmp_path):
    a_process(tmp_path, 1, "T", *RUN)
    a_process(tmp_path, 2, "T", *RUNNER)
    a_process(tmp_path, 3, "R", "python", "-m", "benchmarks.learning", "report")
    a_process(tmp_path, 4, "S", "sh", "-c", "python -m benchmarks.learning run")
    (tmp_path / "6").mkdir()  # ended while we looked
    (tmp_path / "self").mkdir()
    assert learning_processes(tmp_path) == []
    check_quiet(tmp_path)


def test_the_command_refuses_beside_learning_runs(monkeypatch, capsys):
    def alive():
        raise ValueError("learning runs are alive on this machine")

    monkeypatch.setattr(quiet, "check_quiet", alive)
    assert command.main(["--only", "update"]) == 2
    assert "alive" in capsys.readouterr().err


# --- where a second goes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ([("x/common/vec_env/dummy_vec_env.py", "step_wait")], "environment"),
        ([("x/torch/nn/module.py", "f"), ("x/common/policies.py", "forward")], "policy"),
        ([("x/sb3_trpo/rollouts.py", "plain")], "policy"),
        ([("x/common/buffers.py", "add")], "rest of the rollout"),
        ([("x/sb3_trpo/rollouts.py", "_store")], "rest of the rollout"),
    ],
)
def test_parts_of_a_rollout_are_told_apart(stack, part):
    outer = [("x/sb3_trpo/trpo.py", "collect_rollouts"), ("x/sb3_trpo/trpo.py", "learn")]
    assert shares.part_of([(*call, 1) for call in [*stack, *outer]]) == part


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ([("x/sb3_trpo/trpo.py", "_policy_step"), ("x/sb3_trpo/trpo.py", "train")], "actor step"),
        ([("x/ppo/ppo.py", "train")], "critic"),
        ([("x/sb3_trpo/trpo.py", "learn")], "other"),
    ],
)
def test_parts_of_an_update_are_told_apart(stack, part):
    assert shares.part_of([(*call, 1) for call in stack]).startswith(part)


@pytest.mark.parametrize("algorithm", [OURS, CONTRIB])
def test_an_update_that_runs_has_an_actors_and_a_critics_part(algorithm):
    model = a_model(algorithm, batch_size=64)
    found = Counter()

    def note(frame, event, _):
        if event == "call":
            found[shares.part_of(shares.stack_of(frame))] += 1

    sys.setprofile(note)
    try:
        model.train()
    finally:
        sys.setprofile(None)
    often = {part for part, calls in found.items() if calls > 100}
    assert often == {"actor step", "critic / update"}


def test_all_time_is_shared_out():
    started = time.perf_counter()
    with shares.sampling() as seconds:
        measured = shares.shares(replace(TINY, n_steps=128), [CONTRIB])  # nested: takes the timer
    assert time.perf_counter() - started >= sum(seconds.values())
    spent = measured["parts"][CONTRIB]["seconds"]
    assert set(spent) == set(shares.PARTS)
    assert all(spent[part] > 0 for part in ("environment", "policy"))
    assert measured["parts"][CONTRIB]["steps"] == 128
