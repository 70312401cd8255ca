"""What runs on the CPU runs on a GPU, where there is one."""

import pytest
import torch as th

from sb3_trpo import TRPO
from tests.test_interop import CASES, make
from tests.test_updates import SPACES, collect, make_model

pytestmark = pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("case", CASES)
def test_model_on_the_gpu_learns_saves_and_loads_on_the_cpu(case, tmp_path):
    model, env = make(TRPO, case, device="cuda")
    model.learn(64)
    assert model._n_updates == 2
    assert all(p.device.type == "cuda" and th.isfinite(p).all() for p in model.policy.parameters())
    model.save(tmp_path / "model")
    loaded = TRPO.load(tmp_path / "model", env, device="cpu")
    loaded.learn(32)
    assert all(th.isfinite(p).all() for p in loaded.policy.parameters())


@pytest.mark.parametrize("name", SPACES)
def test_update_on_the_gpu_is_that_of_the_cpu(name):
    """The same rollout, in float32: the direction of 15 CG iterations agrees to about 1e-3."""
    on_cpu = make_model(name)
    collect(on_cpu)
    on_gpu = make_model(name, device="cuda")
    on_gpu.set_parameters(on_cpu.get_parameters(), device="cuda")
    on_gpu.rollout_buffer = on_cpu.rollout_buffer
    steps = []
    for model in (on_cpu, on_gpu):
        th.manual_seed(0)
        before = th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().cpu()
        model.train()
        after = th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().cpu()
        steps.append(after - before)
    assert (steps[0] - steps[1]).norm() <= 1e-2 * steps[0].norm()
