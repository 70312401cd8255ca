import pytest
import torch as th

from sb3_trpo.optim import ParameterVector


def make():
    th.manual_seed(0)
    net = th.nn.Sequential(th.nn.Linear(3, 4), th.nn.Linear(4, 2))
    net.scale = th.nn.Parameter(th.tensor(2.0))  # without dimensions
    return net, ParameterVector(list(net.parameters()))


def test_entries_follow_the_order_of_the_tensors():
    net, vector = make()
    assert len(vector) == sum(p.numel() for p in net.parameters()) == 27
    expected = th.cat([p.detach().reshape(-1) for p in net.parameters()])
    assert th.equal(vector.read(), expected)


def test_write_keeps_tensors_and_storage_and_undoes_bit_for_bit():
    net, vector = make()
    before = [(p, p.data_ptr(), p.detach().clone()) for p in net.parameters()]
    old = vector.read()
    vector.write(th.arange(27.0))
    assert th.equal(vector.read(), th.arange(27.0))
    assert th.equal(net[0].bias.detach(), vector.split(th.arange(27.0))[2])
    vector.write(old)
    for (parameter, pointer, values), now in zip(before, net.parameters(), strict=True):
        assert now is parameter
        assert now.data_ptr() == pointer
        assert th.equal(now.detach(), values)
        assert now.requires_grad


def test_vector_read_does_not_follow_later_writes():
    for net in (make()[0], th.nn.Linear(3, 1, bias=False)):  # one tensor: nothing to join
        vector = ParameterVector(list(net.parameters()))
        old = vector.read()
        kept = old.clone()
        vector.write(old + 1)
        assert th.equal(old, kept)


def test_write_leaves_the_vector_alone():
    net, vector = make()
    values = th.arange(27.0)
    vector.write(values)
    with th.no_grad():
        net[0].weight.add_(1)
    assert th.equal(values, th.arange(27.0))


def test_split_is_the_inverse_of_flatten():
    _, vector = make()
    flat = th.randn(27)
    assert th.equal(vector.flatten(vector.split(flat)), flat)
    assert [part.shape for part in vector.split(flat)] == [t.shape for t in vector.tensors]


def test_missing_part_counts_as_zeros():
    net, vector = make()
    parts = [None if t is net[0].weight else th.ones_like(t) for t in vector.tensors]
    expected = th.ones(27)
    expected[1:13] = 0  # the scale comes first, then this weight
    assert th.equal(vector.flatten(parts), expected)


def test_non_contiguous_parts_keep_their_order():
    vector = ParameterVector([th.zeros(2, 3)])
    part = th.arange(6.0).reshape(3, 2).T
    assert th.equal(vector.flatten([part]), part.reshape(-1))


def test_split_follows_each_parameters_dtype():
    vector = ParameterVector([th.zeros(2), th.zeros(2, dtype=th.float64)])
    assert [part.dtype for part in vector.split(th.ones(4))] == [th.float32, th.float64]


def test_vector_of_the_wrong_length_is_refused_before_anything_is_written():
    _, vector = make()
    old = vector.read()
    with pytest.raises(ValueError, match="vector"):
        vector.write(th.zeros(26))
    assert th.equal(vector.read(), old)
