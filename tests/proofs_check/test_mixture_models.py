"""Trained models on mixtures: orthogonality, prices, and quotients with intervals; their checks pass and refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.decoders.evaluations import averaging, evaluated, zero
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.predictive_variances import predictive_law
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.claims.claim import Budget, Claim, Values, budget_for
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.decoders import mixture_weight, oracle_never_beaten, selected_models
from iclcheck.proofs_check.decoders.selected_models import AVERAGED, CLASS, MIXTURE, Interval, Selection
from iclcheck.proofs_check.records.tasks import Task, measured_unrecorded
from iclcheck.proofs_check.verdicts.conditional_means import compare_with_zero
from iclcheck.proofs_check.verdicts.empirical_bernstein import deviation
from iclcheck.theory.model_selection import class_price, mixture_weights, oracle_risks, orthogonality

CLAIMS = ("oracle-never-beaten", "model-selection", "mixture-weight")
BUDGET = budget_for("quick")


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_forged_form_passes(claim: str, every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(claim)


def outcome_of(claim: Claim, name: str) -> str:
    (check,) = [one for one in claim.checks if one.name == name]
    return check.judge(measured_unrecorded, BUDGET).outcome


@pytest.mark.parametrize("claim", CLAIMS)
def test_finite_laws_agree_with_the_formula_and_refuse_altered_ones(claim: str) -> None:
    original = all_claims()[claim]
    assert outcome_of(original, "finite laws") == "agrees"
    ((alterable),) = original.alterables
    altered = [formula for _, formula in list(alterable.formula().altered())[::40]]
    assert len(altered) >= 4
    assert {outcome_of(alterable.claim(formula), "finite laws") for formula in altered} == {"contradicts"}


# Orthogonality on fresh prompts

KINDS = ({"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 1.0})
LAW = PromptLaw(3, 5, KINDS, (0.5, 0.5), 0.1)
WRONG = {
    "more noise": replace(LAW, noise_variance=0.4),
    "weights": replace(LAW, weights=(0.01, 0.99)),
    "a class alone": replace(LAW, classes=KINDS[:1], weights=(1.0,)),
}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """Untrained predictors beside the right oracle and wrong ones."""
    predictors = {"zero": zero, "averaging": averaging}
    return evaluated(LAW, predictors, {"own": LAW, **WRONG}, 8192, "orthogonality", 16.0, among=False)


def compared(values: Values, oracle: str) -> list[Any]:
    return list(oracle_never_beaten.comparisons(values, oracle, 1e-6 / 50, 1e-3).values())


def test_the_right_oracle_is_orthogonal_and_wrong_ones_are_refused(values: Values) -> None:
    """Rates: 1e-6 for all comparisons of the right one."""
    right = compared(values, "own")
    assert len(right) == 8  # at prefix 0 the oracle, averaging and zero all answer 0
    assert all(one.holds for one in right)
    for name in WRONG:
        assert not all(one.holds for one in compared(values, name)), name


def test_a_cross_term_is_measured_in_its_own_standard_deviations(values: Values) -> None:
    found = oracle_never_beaten.comparisons(values, "own", 1e-6, 1e-3)["zero", 2]
    sums = values["cross"]["zero"]["own"]["sum"][2] / values["count"]
    unit = (values["cross_variance"]["zero"]["own"]["sum"][2] / values["count"]) ** 0.5
    assert found.measured == pytest.approx(sums / unit, rel=1e-12)


def test_known_conditional_variances_keep_the_rate_on_heavy_tails() -> None:
    """At the rate 0.01: 400 runs of 60 draws g e with e = +-1 rare and large, and g Cauchy, whatever its tails.

    E[Z | g] = 0 and E[Z^2 | g] = g^2. More than 16 misses of 400 have probability below 1e-5 at the rate 0.01.
    """
    draw = np.random.default_rng(7)
    misses = 0
    for _ in range(400):
        g = np.abs(draw.standard_cauchy(60))
        big = draw.random(60) < 0.02
        e = np.where(big, 7.0, np.sqrt((1 - 0.02 * 49) / 0.98)) * draw.choice([-1.0, 1.0], 60)
        Z = g * e
        one = compare_with_zero(60, Z.sum(), (Z**2).sum(), (g**2).sum(), false_alarm=0.01)
        misses += not one.holds
    assert misses <= 16


def test_a_shifted_mean_is_refused() -> None:
    one = compare_with_zero(10_000, 500.0, 10_000.0, 10_000.0, scale=2.0)
    assert one.holds
    assert not compare_with_zero(10_000, 900.0, 10_000.0, 10_000.0, scale=2.0).holds
    assert one.measured == pytest.approx(0.025)
    with pytest.raises(ValueError, match="positive unit"):
        compare_with_zero(10, 0.0, 1.0, 1.0, scale=0.0)


def test_altered_oracles_are_statements_of_their_own() -> None:
    claim = all_claims()["oracle-never-beaten"]
    words = [mutant.description for mutant in claim.further_mutants]
    assert len(set(words)) == len(words) == 14
    for mutant in claim.further_mutants:
        assert {check.oracle for check in mutant.claim.checks} & {"own"} == set()  # type: ignore[attr-defined]


# Quotients


def interval(mean: float, width: float) -> Interval:
    return Interval(max(mean - width, 0.0), mean, mean + width)


@pytest.mark.parametrize("excess", [0.3, 0.9])
def test_the_interval_of_a_quotient_holds_every_value_inside(excess: float) -> None:
    """With the larger excess the quotient has its maximum inside R's interval: a fine grid of R is tried too."""
    one = Selection(interval(0.4, 0.3), interval(0.05, 0.02), interval(excess, 0.05), interval(0.2, 0.06))
    ends = [(part.low, part.mean, part.high) for part in (one.price, one.excess, one.of_class)]
    grid = np.linspace(one.risk.low, one.risk.high, 200)
    quotients = [(R + e) / (R + c) / (1 + p / R) for R in grid for p, e, c in product(*ends)]
    low, mean, high = one.quotient
    # equal up to a few roundings where an end is taken
    assert low <= min(quotients) * (1 + 1e-14)
    assert high >= max(quotients) * (1 - 1e-14)
    assert high <= max(quotients) * (1 + 1e-3)  # the grid misses a maximum by no more: it is sharp
    assert mean == pytest.approx(((0.4 + excess) / 0.6) / (0.45 / 0.4))


def rows(quotient: float, width: float) -> list[Selection]:
    """One selection with that quotient, its excess alone uncertain."""
    sure = (interval(1.0, 0.0), interval(0.0, 0.0))
    return [Selection(*sure, interval(quotient - 1, width), interval(0.0, 0.0))]


@pytest.mark.parametrize(
    ("quotient", "width", "outcome"),
    [(1.1, 0.1, "agrees"), (1.4, 0.1, "contradicts"), (1.4, 0.2, "agrees"), (1.2, 0.9, "inconclusive")],
)
def test_a_quotient_is_contradicted_by_its_whole_interval(quotient: float, width: float, outcome: str) -> None:
    some = rows(quotient, width)
    assert selected_models.outcome_of(some, selected_models.detectable(some), 1.0) == outcome


def test_what_is_detectable_would_have_been_contradicted() -> None:
    gap = selected_models.detectable(rows(1.1, 0.1))
    assert 1 + gap == pytest.approx(1.25 * 1.2 / 1.0)


def made_values(law: str, model: str, excess: Sequence[float], count: int = 100_000) -> dict[str, Any]:
    """Values of a task with constant draws."""

    def sums(levels: Sequence[float]) -> dict[str, Any]:
        plain = [count * x for x in levels]
        squares = [count * x * x for x in levels]
        averaged = {"capped": fmean(plain), "capped_squares": count * fmean(levels) ** 2}
        return {"sum": plain, "squares": squares, "capped": plain, "capped_squares": squares, "averaged": averaged}

    ones = [0.1] * 11
    return {
        "count": count, "cap": list(selected_models.CAPS), "variance": {CLASS: sums(ones), MIXTURE: sums(ones)},
        "distance": {model: {CLASS: sums(excess)}, MIXTURE: {CLASS: sums([0.01] * 11)}},
    }  # fmt: skip


def test_quotients_are_made_of_the_values_of_four_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selected_models, "trained_law", lambda name: {"noise_variance": 0.1})
    found = [made_values(law, model, [excess] * 11) for law, model, excess in (
        ("dense", "dense", 0.02), ("sparse", "sparse", 0.04), ("dense", "mixture", 0.05), ("sparse", "mixture", 0.06),
    )]  # fmt: skip
    made = selected_models.selections((0.5,), (3, AVERAGED), found, 1e-3)
    assert set(made) == {(0.5, law, i) for law in ("dense", "sparse") for i in (3, AVERAGED)}
    for i in (3, AVERAGED):
        assert made[0.5, "dense", i].quotient.mean == pytest.approx((0.25 / 0.22) / (0.21 / 0.2))
        assert made[0.5, "sparse", i].quotient.mean == pytest.approx((0.26 / 0.24) / (0.21 / 0.2))
    assert selected_models.beyond_caps(found) == pytest.approx(0.0, abs=1e-12)


def test_an_average_over_prefixes_is_that_of_the_prompts_own_averages() -> None:
    """Sums of the averages of 600 prompts, of which 88 are in a chunk of their own; and their interval."""
    found = evaluated(LAW, {"zero": zero}, {CLASS: LAW}, 600, "averaged", (2.0, 1.0, 1.0, 1.0, 0.5))
    generator = stream("averaged")
    targets = torch.cat([LAW.sample(size, generator).targets for size in (512, 88)])
    losses = torch.minimum(targets**2, torch.tensor([2.0, 1.0, 1.0, 1.0, 0.5])).mean(1)
    low, mean, high = selected_models.interval(found, ("loss", "zero"), AVERAGED, 1e-3)
    assert mean == pytest.approx(float(losses.mean()), rel=1e-12)
    assert high - mean == pytest.approx(deviation(600, float(losses.var(unbiased=False)), 1.1, 1e-3), rel=1e-9)
    assert low == pytest.approx(2 * mean - high)
    single = selected_models.interval(found, ("loss", "zero"), 4, 1e-3, 0.25)
    assert single.mean == pytest.approx(0.25 + float(targets[:, 4].square().clamp(max=0.5).mean()), rel=1e-12)


# Prices


def test_prices_that_do_not_fall_with_the_weight_are_refused() -> None:
    weights = mixture_weight.ORDERED

    def run_with(order: Sequence[int]) -> Callable[[Sequence[Task]], list[Values]]:
        def prices(law: str) -> list[list[float]]:
            falling = [[1.0 / (k + 1)] * 11 for k in order]
            return falling if law == "dense" else falling[::-1]

        def run(tasks: Sequence[Task]) -> list[Values]:
            assert len(tasks) == 2
            names = [mixture_weight.name_of(weight) for weight in weights]
            return [
                {
                    "count": 10,
                    "distance": {
                        name: {CLASS: {"sum": [10 * x for x in row]}}
                        for name, row in zip(names, prices(law), strict=True)
                    },
                }
                for law in ("dense", "sparse")
            ]

        return run

    check = mixture_weight.OrderedPrices()
    with pytest.MonkeyPatch.context() as patch:
        law = {"classes": list(KINDS), "weights": [0.5, 0.5]}
        patch.setattr(mixture_weight, "trained_law", lambda name: law)
        assert check.judge(run_with(range(5)), Budget()).outcome == "agrees"
        assert check.judge(run_with((0, 1, 3, 2, 4)), Budget()).outcome == "contradicts"


def test_the_two_routes_to_the_oracles_agree() -> None:
    """Conditioning one example at a time, and the triangular solution: means, variances and the posterior."""
    law = oracle_risks.LinearMixture(4, 2, 6, 0.1, 0.3, 1.5, 0.7)
    kinds: tuple[Mapping[str, Any], ...] = (
        {"kind": "dense", "variance": 1.5}, {"kind": "sparse", "nonzeros": 2, "variance": 0.7},
    )  # fmt: skip
    prompts = PromptLaw(4, 6, kinds, (0.3, 0.7), 0.1)
    xs, ys = law.prompts("sparse", 50, np.random.default_rng(1))
    found = posterior(prompts, torch.from_numpy(xs), torch.from_numpy(ys))
    own = {name: oracle_risks.class_posterior(law, name, xs, ys) for name in oracle_risks.NAMES}
    # condition numbers of at most about 1 + 6 * 20 * 1.5/0.1 = 2e3, twice
    for label, name in enumerate(oracle_risks.NAMES):
        assert np.allclose(own[name].mean, found.by_class[..., label].numpy(), rtol=0, atol=1e-9)
        alone = replace(prompts, classes=(kinds[label],), weights=(1.0,))
        variance = predictive_law(alone, torch.from_numpy(xs), torch.from_numpy(ys)).variance.numpy()
        assert np.allclose(own[name].variance, variance, rtol=0, atol=1e-9)
    p = oracle_risks.posterior_of_dense(law, own["dense"].log_evidence, own["sparse"].log_evidence)
    assert np.allclose(p, found.classes[..., 0].numpy(), rtol=0, atol=1e-9)


def test_without_examples_the_risk_is_that_of_zero_and_the_price_nothing() -> None:
    found = oracle_risks.predict(4, 2, 3, 0.5, dense_probability=0.2, prompts=4000)
    # the risk at prefix 0 is 0.5 + mean of |x|^2 over 4000 prompts: variances 2 d and, on two coordinates, 4
    assert found["oracle_risk_dense"][0] == pytest.approx(4.5, abs=5 * (8 / 4000) ** 0.5)
    assert found["oracle_risk_sparse"][0] == pytest.approx(2.5, abs=5 * (4 / 4000) ** 0.5)
    assert found["price_dense"][0] == found["price_sparse"][0] == 0.0
    assert found["price_dense"][2] > 5 * found["price_error_dense"][2] > 0


def test_the_instances_of_the_derivations_have_two_classes_and_masses_of_one() -> None:
    for atoms in (class_price.Instance(0).atoms, mixture_weights.Instance(0).atoms):
        total = sum(q for atom in atoms for outcomes in atom for q, _ in outcomes)
        assert total in (1, 2)  # of the whole, or of each of two classes
    assert len(orthogonality.Instance(0).letters()) == 3
