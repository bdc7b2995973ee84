"""class-selection: its checks agree, wrong posteriors and wrong models do not, and forged certificates are refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from iclcheck.numerics.decoders import class_selection as measurement
from iclcheck.numerics.decoders.shipped import shipped_model
from iclcheck.numerics.mixtures import posterior as oracle
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.proofs_check.claims.claim import Budget, Check, Run
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.decoders.class_selection import departure_of

SLOPES, FREQUENCY = "slopes of the Bayes predictor", "frequency of the class, sampled"
SMALL = Budget(prompts=1_600_000)  # a fifth of the prompts


def check_of(name: str) -> Check:
    (found,) = (check for check in find("class-selection").checks if check.name == name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_check_agrees_whatever_the_seed(seed: int, run_here: Run) -> None:
    for check in find("class-selection").checks:
        assert check.judge(run_here, Budget(seed=seed)).outcome == "agrees", check.name


def test_slopes_agree_and_a_tempered_posterior_is_contradicted(monkeypatch: pytest.MonkeyPatch, run_here: Run) -> None:
    assert check_of(SLOPES).judge(run_here, Budget()).outcome == "agrees"
    plain = oracle.posterior

    def tempered(*given: Any) -> oracle.Posterior:
        found = plain(*given)
        return found._replace(classes=(found.classes.log() * 0.999).softmax(-1))

    monkeypatch.setattr(measurement, "posterior", tempered)
    assert check_of(SLOPES).judge(run_here, Budget()).outcome == "contradicts"


@pytest.mark.slow
def test_a_posterior_of_too_little_noise_is_contradicted(monkeypatch: pytest.MonkeyPatch, run_here: Run) -> None:
    plain = oracle.posterior

    def sure(law: Any, xs: Tensor, ys: Tensor) -> oracle.Posterior:
        return plain(replace(law, noise_variance=law.noise_variance / 10), xs, ys)

    assert check_of(FREQUENCY).judge(run_here, SMALL).outcome != "contradicts"
    monkeypatch.setattr(measurement, "posterior", sure)
    assert check_of(FREQUENCY).judge(run_here, Budget()).outcome == "contradicts"


class Answer(torch.nn.Module):
    """In the place of the shipped model: the oracle of the first class, or of the mixture."""

    def __init__(self, law: Any, first: bool) -> None:
        super().__init__()
        self.law, self.first = law, first

    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        line = measurement.line_between(oracle.posterior(self.law, xs, ys))
        return line.first if self.first else line.mixture


@pytest.mark.parametrize("first", [True, False])
def test_other_models_are_not_what_is_stated_of_the_shipped_one(
    first: bool, monkeypatch: pytest.MonkeyPatch, run_here: Run
) -> None:
    """The dense oracle reads 1 everywhere, the mixture's p: neither lies 0.35 to 0.85 above p."""
    shipped = shipped_model("mixture")
    law = PromptLaw.from_plain(shipped.training.law)
    other = shipped.__class__(Answer(law, first), shipped.training, shipped.losses, shipped.digest)  # type: ignore[arg-type]
    monkeypatch.setattr(measurement, "shipped_model", lambda name: other)
    check = check_of("shipped model, sparse class likelier: above p")
    assert check.judge(run_here, Budget()).outcome == "contradicts"


def test_a_reading_is_bounded_by_numerator_and_denominator() -> None:
    """Draws that are all 1/2 with weight 1 leave only the terms of the range; too few draws leave nothing."""
    values = {"count": 100_000, "sums": {"weight": 1e5, "model": 5e4}, "squares": {"weight": 1e5, "model": 2.5e4}}
    found = departure_of(values, "model", 3.0, 1e-6)
    assert found.ratio == 0.5
    assert 0 < found.error < 0.003
    few = {"count": 20, "sums": {"weight": 20.0, "model": 10.0}, "squares": {"weight": 20.0, "model": 5.0}}
    assert departure_of(few, "model", 3.0, 1e-6).error == float("inf")


def test_forged_certificates_are_refused(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused("class-selection", least=30)


def test_the_domain_says_of_the_shipped_model_what_a_check_can_decide() -> None:
    """A range that is widened by the error of the measurement is not refuted; it is not established."""
    domain = find("class-selection").domain
    assert "Not refuted, up to the gap that the verdict states: " in domain
