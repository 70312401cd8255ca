"""The dense operations against torch's own, on both sides of the switch between libraries."""

import pytest
import torch as th

from sb3_trpo import dense


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("n", "k", "m"), [(3, 5, 2), (2048, 64, 64), (2048, 17, 64)])
@pytest.mark.parametrize("layout", ["rows", "columns", "part"])
def test_product_is_that_of_float64(n, k, m, layout, with_bias):
    generator = th.Generator().manual_seed(0)
    a, b = th.randn(n, k, generator=generator), th.randn(m, k, generator=generator)
    if layout == "columns":
        a, b = a.t().contiguous().t(), b.t().contiguous().t()
    elif layout == "part":
        a, b = th.cat([a, a], dim=1)[:, :k], th.cat([b, b], dim=1)[:, k:]
    bias = th.randn(m, generator=generator) if with_bias else None
    exact = a.double() @ b.double().t() + (0 if bias is None else bias.double())
    product = dense.times_transpose(a, b, bias)
    assert product.dtype == th.float32
    assert product.shape == (n, m)
    # The bound on the rounding of a sum of k products and a bias, in any order.
    magnitude = a.abs().double() @ b.abs().double().t() + (0 if bias is None else bias.abs())
    assert ((product - exact).abs() <= (k + 1) * 2**-24 * magnitude).all()
    assert th.allclose(dense.times_transpose(a.double(), b.double()), a.double() @ b.double().t())


def test_both_libraries_are_reached_and_agree(monkeypatch):
    a, b = th.randn(512, 64), th.randn(64, 64)
    calls, onednn = [], dense._HAS_ONEDNN
    real = th.addmm
    monkeypatch.setattr(th, "addmm", lambda *args: calls.append(1) or real(*args))
    fast = dense.times_transpose(a, b, th.zeros(64))
    assert len(calls) == (0 if onednn else 1)
    monkeypatch.setattr(dense, "_HAS_ONEDNN", False)
    slow = dense.times_transpose(a, b, th.zeros(64))
    assert len(calls) == (1 if onednn else 2)
    assert th.allclose(fast, slow, atol=1e-4)


def test_tanh_in_place_is_torchs_to_rounding():
    for dtype, tolerance in ((th.float32, 3e-7), (th.float64, 1e-15)):
        units = th.linspace(-20, 20, 4001, dtype=dtype)
        expected = units.tanh()
        result = dense.tanh_(units)
        assert result is units
        assert (units - expected).abs().max() <= tolerance
