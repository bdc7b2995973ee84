"""The claim out-of-distribution: agrees at other seeds, counts groups by its rule, refuses forged forms."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.numerics.decoders.shipped import shipped_names
from iclcheck.proofs_check.claims.claim import Budget, Run
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.decoders import out_of_distribution as module

CLAIM = "out-of-distribution"
CHECKS = module.trained_checks()
USED = ("dense", "sparse", "linear-sinusoid")
shipped = pytest.mark.skipif(not set(USED) <= set(shipped_names()), reason="the trained decoders are not there yet")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_derived_risk_agrees_whatever_the_seed(seed: int, run_here: Run) -> None:
    assert find(CLAIM).checks[0].judge(run_here, Budget(seed=seed)).outcome == "agrees"


def distances_of(check: module.CountedGroups, ratio: float) -> list[list[list[float]]]:
    """Distances of decoder, own, right, target with that ratio where the check takes it."""
    one = np.ones((4, 4))
    places: dict[Any, tuple[int, int]] = {
        module.nearer: (0, 1),
        module.own_over_decoder: (1, 3),
        module.excess_beside_own: (0, 2),
        module.right_over_decoder: (2, 3),
        module.excess_beside_own: (0, 2),
    }
    one[places.get(check.error, (0, 3))] = ratio
    return [one.tolist()] * module.GROUPS


def judged(check: module.CountedGroups, groups: list[Any]) -> Any:
    settings = [{"names": ["decoder", "own", "right", "target"], "groups": groups}] * 2
    return check.judge(lambda tasks: [{"settings": settings}], Budget())


@pytest.fixture
def any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "model_of", lambda name, budget: {"shipped": name, "sha256": ""})


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_groups_within_the_margin_agree_and_others_contradict(check: module.CountedGroups) -> None:
    inside, outside = (distances_of(check, factor * check.margin) for factor in (0.9, 1.1))
    assert judged(check, inside).outcome == "agrees"
    assert judged(check, outside).outcome == "contradicts"
    assert judged(check, [*inside[:57], *outside[57:]]).outcome == "agrees"
    assert judged(check, [*inside[:45], *outside[45:]]).outcome == "inconclusive"  # of 60, three quarters are asked


def test_the_full_profile_trains_each_decoder_once_with_other_random_numbers() -> None:
    budget = Budget(profile="full", seed=3)
    tasks = {task.key: task for check in CHECKS for task in check.tasks(budget)}
    assert len(tasks) == 3
    from iclcheck.numerics.decoders.shipped import TRAININGS

    for task in tasks.values():
        (name,) = (one for one in USED if task.parameters["stream_key"].split("/")[1] == one)
        assert task.parameters["model"]["training"] == replace(TRAININGS[name], replica=4).plain()


def test_no_forged_form_passes(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(CLAIM, least=20)


@shipped
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_decoders_agree_whatever_the_seed(seed: int, run_here: Run) -> None:
    for check in CHECKS:
        assert check.judge(run_here, Budget(seed=seed)).outcome == "agrees", check.name


@shipped
@pytest.mark.slow
def test_an_oracle_in_the_place_of_a_decoder_does_not_break(monkeypatch: pytest.MonkeyPatch, run_here: Run) -> None:
    """Bayes predictors at large inputs: the risk is the oracle's own, and the check says so."""
    from iclcheck.numerics.decoders import out_of_distribution as numerics

    original = numerics.answers

    def ideal(decoder: Any, oracles: Any, drawn: Any) -> Any:
        found = original(decoder, oracles, drawn)
        found[..., 0] = found[..., 1]
        return found

    monkeypatch.setattr(numerics, "answers", ideal)
    (check,) = (one for one in CHECKS if one.name == "dense decoder, inputs three times as large")
    assert check.judge(run_here, Budget()).outcome == "contradicts"
