"""The scores of the last policies and of their means."""

from statistics import fmean

import pytest

from benchmarks.learning import last_policies


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_single_policies_and_means_are_evaluated(monkeypatch):
    monkeypatch.setattr(last_policies, "N_LAST", 6)
    monkeypatch.setattr(last_policies, "EVERY", 1)
    monkeypatch.setattr(last_policies, "MEANS", (1, 6))
    monkeypatch.setattr(last_policies, "score", lambda model, *_: model.policy.log_std.sum().item())
    setting = {"n_steps": 16, "batch_size": 64, "n_critic_updates": 1}
    scores, means = last_policies.run("Swimmer-v5", 100, 8 * 64, setting)
    assert len(set(scores)) == len(scores) == 6
    assert means[1] == pytest.approx(scores[-1])
    assert means[6] == pytest.approx(fmean(scores))
