"""Memory that runs out in the actor's step: smaller chunks, or a clear error."""

import re
import subprocess
import sys
import warnings

import pytest
import torch as th

from sb3_trpo.out_of_memory import in_chunks_that_fit
from tests.test_updates import assert_same_state, collect, make_model, state_of
from tests.test_variants import MAKERS, made

# A real allocation that the operating system refuses.
TOO_MUCH = 2**46


class Heavy(th.nn.Module):
    """Needs an absurd amount of memory for more rows than a limit."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, x):
        if len(x) > self.limit:
            th.empty(TOO_MUCH, dtype=th.uint8)
        return x


def weigh_down(model, limit):
    """Let the actor's head take no more than some rows at a time."""
    model.policy.action_net = th.nn.Sequential(model.policy.action_net, Heavy(limit))


def flat(model):
    return th.cat([p.detach().reshape(-1) for p in model.policy.parameters()])


def test_step_is_repeated_in_smaller_chunks_with_the_same_result():
    results = []
    for limit in (10**9, 20):
        model = make_model()  # seeds all generators
        collect(model)
        weigh_down(model, limit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.train()
        results.append(flat(model))
    told = " ".join(str(warning.message) for warning in caught)
    assert "with 64 samples at a time: trying again with actor_batch_size=32" in told
    assert model.actor_batch_size == 16
    assert model.logger.name_to_value["train/actor_batch_size"] == 16
    assert model.logger.name_to_value["train/is_line_search_success"] == 1
    assert (results[0] - results[1]).norm() <= 1e-5 * results[0].norm()


def test_memory_too_small_for_one_sample_is_a_clear_error_that_changes_nothing():
    model = make_model()
    collect(model)
    weigh_down(model, 0)
    before = state_of(model)
    with (
        pytest.warns(UserWarning, match="actor_batch_size"),
        pytest.raises(MemoryError, match=r"actor_batch_size=1, too: .*DefaultCPUAllocator"),
    ):
        model.train()
    assert_same_state(before, state_of(model))
    assert model.actor_batch_size is None


def test_variants_go_on_in_smaller_chunks_too():
    for variant in MAKERS:
        model = made(variant)
        weigh_down(model, 24)
        with pytest.warns(UserWarning, match="actor_batch_size"):
            model.train()
        assert model.actor_batch_size <= 24
        assert model.logger.name_to_value["train/is_line_search_success"] == 1


def test_other_errors_pass_through():
    def step(_):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_chunks_that_fit(step, None, n_samples=8)


LIMITED = """
import resource
import torch as th
from sb3_trpo import TRPO

th.set_num_threads(1)
# Two wide layers: 200 MB and more for the Jacobian of all samples, little for a few.
model = TRPO(
    "MlpPolicy", "Pendulum-v1", n_steps=8192, batch_size=8192, n_critic_updates=1, cg_max_steps=2,
    policy_kwargs={"net_arch": {"pi": [1024, 1024], "vf": [8]}}, seed=0, device="cpu",
)
_, callback = model._setup_learn(8192)
model.collect_rollouts(model.env, callback, model.rollout_buffer, 8192)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, -1))
model.train()
print("chunks of", model.actor_batch_size)
print("success", model.logger.name_to_value["train/is_line_search_success"])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits its own address space")
def test_address_space_that_ends_in_the_step_is_gone_on_with(tmp_path):
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"chunks of (4096|2048|1024|512)\nsuccess 1", done.stdout), done.stdout
    assert "ran out of memory" in done.stderr
