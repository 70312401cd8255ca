"""
The operations that the closed forms spend their time in, on the CPU's best path.

Which library multiplies fastest depends on the processor: on an AMD EPYC (Zen 5) oneDNN does
231 GFLOP/s on (2048, 64) × (64, 64), MKL, which ``th.mm`` calls, 112; NumPy takes 21 µs for the
tanh of as many units, torch 256. Both libraries come with torch or are needed anyway.
"""

from collections.abc import Callable

import numpy as np
import torch as th

_LEAST_WORK = 500_000  # multiplications; below, oneDNN's 10 µs a call cost more than it gains


def times_transpose(a: th.Tensor, b: th.Tensor, bias: th.Tensor | None = None) -> th.Tensor:
    """
    Multiply ``a bᵀ``, without graph.

    :param a: (n, k), fastest where its rows lie one after the other
    :param b: (m, k), of any strides
    :param bias: (m,) added to each row; None for none
    :return: (n, m)
    """
    is_for_onednn = _HAS_ONEDNN and a.dtype == th.float32 and a.device.type == "cpu"
    if is_for_onednn and a.numel() * len(b) >= _LEAST_WORK:
        if not (b.is_contiguous() or b.t().is_contiguous()):
            b = b.contiguous()  # oneDNN has no fast code for a part of a matrix
        product: th.Tensor = th.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
        return product
    return a @ b.t() if bias is None else th.addmm(bias, a, b.t())


def multiplier(weight: th.Tensor, n_rows: int) -> Callable[[th.Tensor], th.Tensor]:
    """
    Prepare many products ``x weightᵀ`` with one matrix, without graph.

    A recurrence multiplies a few rows at a time; a matrix that oneDNN has laid out for itself takes
    25 µs for 3 rows of 256 by 1024 and 64 µs for 20, MKL 38 and 125.

    :param weight: (m, k); must not change while the products are made
    :param n_rows: of each x (n_rows, k)
    :return: maps x to the product (n_rows, m)
    """
    is_for_onednn = _HAS_ONEDNN and weight.dtype == th.float32 and weight.device.type == "cpu"
    if not is_for_onednn or n_rows < 3 or n_rows * weight.numel() < _LEAST_WORK:
        transposed = weight.t()
        return lambda x: x @ transposed
    laid_out = th.ops.mkldnn._reorder_linear_weight(weight.contiguous(), n_rows)

    def multiply(x: th.Tensor) -> th.Tensor:
        product: th.Tensor = th.ops.mkldnn._linear_pointwise(x, laid_out, None, "none", [], "")
        return product

    return multiply


def tanh_(units: th.Tensor) -> th.Tensor:
    """
    Apply the hyperbolic tangent in place.

    :param units: without graph
    :return: the same tensor
    """
    if units.device.type != "cpu" or units.dtype not in (th.float32, th.float64):
        return units.tanh_()
    array = units.numpy()
    np.tanh(array, out=array)
    return units


def _has_onednn() -> bool:
    """Tell whether torch has oneDNN's product, which it does not document, as it is used here."""
    if not th.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch has no hints
        return False
    a, b, bias = th.ones(2, 3), th.ones(3, 4).t(), th.ones(4)
    try:
        product = th.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
        laid_out = th.ops.mkldnn._reorder_linear_weight(b.contiguous(), 2)
        again = th.ops.mkldnn._linear_pointwise(a, laid_out, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((product == 4).all() and (again == 4).all())


_HAS_ONEDNN = _has_onednn()
