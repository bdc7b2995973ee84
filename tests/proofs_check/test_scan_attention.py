"""The claims on attention: right layers agree, wrong ones do not; one clock on many random tables; forged forms."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.numerics.scan_and_snap import attention_forces, layer
from iclcheck.numerics.scan_and_snap.flows import reparametrised_flow
from iclcheck.numerics.scan_and_snap.sequence_classes import random_classes
from iclcheck.proofs_check.claims.claim import Budget, Check
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.scan_and_snap import frequency as claims
from iclcheck.theory.scan_and_snap import frequency

CLAIMS = ("scan-frequency", "scan-discriminative")
FORCES = {"scan-frequency": "force of the real layer", "scan-discriminative": "force with the decoder in the span"}


def run(tasks: Any) -> list[Any]:
    """Measure here, without a store."""
    return [getattr(attention_forces, task.measurement.partition(":")[2])(**task.parameters) for task in tasks]


def check_of(claim: str, name: str) -> Check:
    (found,) = (check for check in find(claim).checks if check.name == name)
    return found


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("seed", range(4))
def test_forces_agree_whatever_the_seed(claim: str, seed: int) -> None:
    assert check_of(claim, FORCES[claim]).judge(run, Budget(seed=seed)).outcome == "agrees"


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("seed", range(3))
def test_every_check_agrees_whatever_the_seed(claim: str, seed: int) -> None:
    assert {check.judge(run, Budget(seed=seed)).outcome for check in find(claim).checks} == {"agrees"}


def without_normalisation(contexts: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return layer.attention_weights(contexts, logits)


def normalised_to_the_largest(contexts: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    weights = layer.attention_weights(contexts, logits)
    return weights / weights.amax(-1, keepdim=True)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("wrong", [without_normalisation, normalised_to_the_largest])
def test_another_layer_is_contradicted(claim: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "class_vectors", wrong)
    monkeypatch.setattr(attention_forces, "class_vectors", wrong)
    assert check_of(claim, FORCES[claim]).judge(run, Budget()).outcome == "contradicts"


def found_with(flow: str) -> dict[str, Any]:
    """Trajectories of one small table, those of `flow` in the place of the reparametrised flow."""
    made = attention_forces.scan_trajectories([claims.FLOWS[0]], ["small"], 1.0, 5.0, [0.5, 1.0])
    return {**made, "reparametrised": made[flow]}


def test_the_flow_of_the_loss_itself_is_contradicted() -> None:
    check, outcomes = check_of("scan-frequency", "all distinct tokens from one"), []
    for flow in ("reparametrised", "joint"):
        found = found_with(flow)
        outcomes.append(check.judge(lambda _, one=found: [one], Budget()).outcome)  # type: ignore[misc]
    assert outcomes == ["agrees", "contradicts"]


@pytest.mark.slow
def test_signs_the_wrong_way_are_counted() -> None:
    check = check_of("scan-discriminative", "signs along the flow")
    (right,) = run(check.tasks(Budget()))
    assert check.judge(lambda _: [right], Budget()).outcome == "agrees"
    turned = copy.deepcopy(right)
    for one in turned["reparametrised"]:
        one["Z"] = (-np.array(one["Z"])).tolist()
    assert check.judge(lambda _: [turned], Budget()).outcome == "contradicts"


# One clock on random tables


def worst_row(tasks: list[Any], rate: float) -> float:
    """The largest difference of u_l from one clock, over what the flow's error allows, on a batch of tables."""
    flow = reparametrised_flow(tasks, 1.0, rate, [1.0 * tasks[0].classes, 8.0 * tasks[0].classes])
    found = {
        "classes": [task.plain() for task in tasks],
        "reparametrised": [{"Z": flow["Z"][:, k].tolist(), "error": flow["error"]} for k in range(len(tasks))],
    }
    # the error is relative to the largest entry of the whole batch
    largest = float(np.abs(flow["Z"]).max())
    rows = []
    for P, path, _ in claims.distinct_paths(found, "reparametrised"):
        rows += list(claims.rows_from(frequency.formula(), P, path, 0, flow["error"] * largest))
    assert len(rows) >= 2 * len(tasks)
    return max(difference / allowed for difference, allowed in rows)


TABLES = given(
    classes=st.integers(2, 4), queries=st.integers(1, 2), common=st.integers(1, 3), distinct=st.integers(2, 3),
    rate=st.floats(1.0, 20.0), key=st.integers(0, 10**6),
)  # fmt: skip


def batch(count: int, classes: int, queries: int, common: int, distinct: int, key: int) -> list[Any]:
    vocabulary = common + classes * distinct + 2
    sizes = (classes, vocabulary, queries, common, distinct)
    return [random_classes(*sizes, f"one clock/{key}/{k}") for k in range(count)]


@settings(max_examples=2, deadline=None, derandomize=True)
@TABLES
def test_one_clock_moves_the_distinct_tokens_of_a_few_random_tables(rate: float, **size: int) -> None:
    assert worst_row(batch(3, **size), rate) <= 1


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@TABLES
def test_one_clock_moves_the_distinct_tokens_of_200_random_tables(rate: float, **size: int) -> None:
    assert worst_row(batch(10, **size), rate) <= 1


# Certificates


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_forged_form_passes(claim: str, every_forged_form_is_refused: Callable[..., None]) -> None:
    # a table with a token y renamed is another right counterexample
    every_forged_form_is_refused(claim, own=True, free=frozenset({"y"}), least=21)
