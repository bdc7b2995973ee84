"""Means over rotations: exact at random rational instances, and of the predicted form."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.mesa import equivariance, linear_probes
from iclcheck.theory.one_layer.assumptions import AssumptionError

BOTH = pytest.mark.parametrize("module", [equivariance, linear_probes])


@BOTH
def test_every_step_holds_at_random_rational_instances(module: Any) -> None:
    assert module.derivation().failures(seeds=(0, 1)) == []


def test_another_coefficient_in_the_mean_of_a_layer_fails_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    n1, n2, n3, common = equivariance.layer_mean()
    for altered in ((n1, n3, n2, common), (n1 * 2, n2, n3, common), (n1, n2, n3, common + 1)):
        monkeypatch.setattr(equivariance, "layer_mean", lambda altered=altered: altered)
        assert not np.array_equal(*equivariance.layer_sides(0))
        assert not np.array_equal(*equivariance.contraction_sides(0))


def test_another_probe_fails_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    right = linear_probes.probe()
    altered = {**right, "first": right["second"], "second": right["first"]}
    monkeypatch.setattr(linear_probes, "probe", lambda: altered)
    assert not np.array_equal(*linear_probes.probe_sides(0))
    assert not np.array_equal(*linear_probes.probe_sides(1))


def test_multiples_of_the_identity_are_their_own_mean() -> None:
    eye = np.eye(3, dtype=int).astype(object)
    found = equivariance.formula().value({"P": Fraction(2) * eye, "K": Fraction(5) * eye})
    assert list(found) == [10, 0, 0]


def test_an_antisymmetric_head_makes_the_third_contraction_and_no_first_one() -> None:
    """P = -J, K = J: the mean is |J|^2/(d (d - 1)) [z (x.y) - y (x.z)], in every dimension that is tried."""
    for size in (2, 3, 4):
        J = equivariance.rational(random.Random(f"J/{size}"), size, size)
        J = J - J.T
        share = np.sum(J * J) / Fraction(size * (size - 1))
        assert list(equivariance.formula().value({"P": -J, "K": J})) == [0, -share, share]


def test_the_third_contraction_needs_as_many_heads_as_there_are_entries() -> None:
    """z (x.y) as a matrix from the places of K to those of P has rank d^2, x (y.z) has rank 1."""
    ranks = []
    for pairing in equivariance.PAIRINGS:
        tensor = equivariance.pairing_tensor(pairing, 3).astype(float)
        ranks.append(np.linalg.matrix_rank(tensor.reshape(9, 9)))
    assert ranks == [1, 9, 9]


def test_rational_rotations_are_orthogonal() -> None:
    rotation = equivariance.instance_of(3).rotation
    assert np.array_equal(rotation.T @ rotation, np.eye(3, dtype=int))


def test_signed_permutations_are_all_there_once() -> None:
    found = {tuple(one.reshape(-1)) for one in equivariance.signed_permutations(3)}
    assert len(found) == 48


@pytest.mark.parametrize(
    ("value", "key", "what"),
    [([[1.0]], [[1.0]], "d >= 2"), ([[1.0, 0.0]], [[1.0, 0.0]], "square"), ([[1, 0], [0, 1]], [[1]], "square")],
)
def test_blocks_of_other_shapes_are_refused(value: Any, key: Any, what: str) -> None:
    with pytest.raises(AssumptionError, match=what):
        equivariance.block_pair(value, key)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"target": [1.0]}, "one number for each"),
        ({"ridge": -1.0}, "at least 0"),
        ({"target_square": 0.1}, "below what the features explain"),
        ({"dimension": 0}, "dimension"),
    ],
)
def test_second_moments_of_no_law_are_refused(change: dict[str, Any], what: str) -> None:
    given = {"features": [[2.0, 0.1], [0.1, 1.0]], "target": [1.0, 0.3], "target_square": 1.0, "dimension": 2}
    with pytest.raises(AssumptionError, match=what):
        linear_probes.block_probe(**{**given, **change})


def test_the_public_probe_is_the_formula_at_its_traces() -> None:
    point = linear_probes.points("public")[0]
    first, second, error = linear_probes.formula().value(point)
    traces = {name: float(np.trace(point[name])) for name in linear_probes.MOMENTS}
    found = linear_probes.block_probe(
        [[traces["Q11"], traces["Q12"]], [traces["Q12"], traces["Q22"]]],
        [traces["Y1"], traces["Y2"]],
        traces["Y"],
        len(point["Y"]),
        float(point["kappa"]),
    )
    # Solved at a condition number below 1e4: twelve digits are left of sixteen.
    assert np.allclose(found["weights"], [float(first), float(second)], rtol=1e-12 * 1e3)
    assert found["error"] == pytest.approx(float(error), rel=1e-9)


def test_the_block_mean_is_the_trace_times_the_identity() -> None:
    M = np.array([[1, 2], [3, 4]], dtype=object)
    assert np.array_equal(evaluate(equivariance.block_mean(), {"M": M}), 5 * np.eye(2, dtype=int))
