import json
import math

import numpy as np
import pytest

from benchmarks.scaling import __main__ as command
from benchmarks.scaling import ranks
from benchmarks.scaling.cost_model import Link, Update, efficiency, fitted, over_ethernet


def test_fit_finds_the_link_that_made_the_times():
    link = Link(latency_s=3e-5, bytes_per_s=2e9)
    n_bytes = [4.0 * 4**k for k in range(13)]
    found = fitted(n_bytes, [link.all_reduce_s(n, ranks=2) for n in n_bytes])
    assert found.latency_s == pytest.approx(3e-5, rel=1e-3)
    assert found.bytes_per_s == pytest.approx(2e9, rel=1e-3)


def test_all_reduce_of_more_ranks_has_more_rounds_and_at_most_twice_the_bytes():
    link = Link(latency_s=1e-4, bytes_per_s=1e9)
    assert link.all_reduce_s(0, ranks=1024) == pytest.approx(2 * 10 * 1e-4)
    assert link.all_reduce_s(1e9, ranks=2) == pytest.approx(2e-4 + 1)
    assert link.all_reduce_s(1e9, ranks=1024) == pytest.approx(2e-3 + 2, rel=1e-2)


def test_ethernet_is_no_faster_than_the_software_here():
    assert over_ethernet(Link(1e-4, 5e9)) == Link(1.25e-4, 0.9 * 1.25e9)
    assert over_ethernet(Link(1e-4, 5e8)) == Link(1.25e-4, 5e8)


def test_efficiency_is_the_time_without_messages_over_the_time_with_them():
    link = Link(latency_s=1e-3, bytes_per_s=math.inf)
    update = Update(
        seconds=0.6, samples=500, messages=100, n_bytes=1e6, gathers=4, epochs=10, dealing_s=1e-6
    )
    kept = efficiency(link, 8, update)
    assert kept == pytest.approx(0.6 / (0.6 + 100 * 6e-3 + 4 * 7e-3 + 10 * 8 * 500 * 1e-6))


@pytest.mark.slow
def test_messages_of_two_ranks_are_timed_and_counted():
    batch_size = 128
    alone, together = (ranks.learning(size, 1, "Pendulum-v1", batch_size) for size in (1, 2))
    for row in (alone, together):
        assert row["steps_per_s"] * row["s_per_update"] == pytest.approx(
            ranks.N_ENVS * ranks.N_STEPS * row["ranks"]
        )
    assert alone["messages_per_update"] == 0
    n_minibatches = 10 * ranks.N_ENVS * ranks.N_STEPS // batch_size
    assert n_minibatches < together["messages_per_update"] < n_minibatches + 30
    assert 0 < together["share_in_messages"] < 1


@pytest.mark.slow
def test_whole_command_writes_its_measurement_and_redraws_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PASSING", tmp_path / "quick.json")
    assert command.main(["--quick", "--noisy"]) == 0
    measurement = json.loads((tmp_path / "quick.json").read_text())
    kinds = {(row["kind"], row["n_envs"]) for row in measurement["environments"]}
    assert kinds == {(kind, n) for kind in ("dummy", "subproc", "envpool") for n in (2, 8)}
    rates = [rate for row in measurement["environments"] for rate in row["learn"]]
    assert np.all(np.array(rates) > 0)
    table = capsys.readouterr().out
    assert command.main(["--redraw", str(tmp_path / "quick.json")]) == 0
    assert capsys.readouterr().out.strip() in table
