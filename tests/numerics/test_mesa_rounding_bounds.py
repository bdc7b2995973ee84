"""Bounds on what float64 loses in the mesa layers: above every true error, and not by so much that nothing is seen."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.mesa_layer.gated_measurements import gated_outputs, steps_bounds
from iclcheck.numerics.mesa_layer.layer_measurements import (
    BOUNDS,
    FORMS,
    GRADIENT_FORMS,
    arrays,
    layer_gradients,
    layer_outputs,
    tensors,
)
from iclcheck.numerics.mesa_layer.rounding_balls import Ball, balls, dot

SHAPES = ((1, 1, 1, 0, 0), (4, 2, 2, 0, 0), (6, 3, 2, 10, 0), (5, 4, 3, 6, 4), (6, 2, 2, 20, 8))


def case_of(seed: int, T: int, d: int, m: int, power: int, spread: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    keys = draw.normal(size=(T, d))
    keys[:, 1:] *= 2.0**-spread
    return {
        "keys": keys.tolist(), "values": draw.normal(size=(T, m)).tolist(),
        "queries": draw.normal(size=(T, d)).tolist(),
        "forget": draw.uniform(0.5, 1.0, size=T).tolist(), "regulariser": 2.0**power,
        "pulls": draw.normal(size=(T, m)).tolist(), "gate": draw.uniform(0.0, 2.0, size=T).tolist(),
        "penalty": draw.uniform(0.5, 2.0, size=d).tolist(),
    }  # fmt: skip


def exact_outputs(case: dict[str, Any], gated: bool = False) -> Any:
    """o_t by sums and elimination in rational numbers, (T, m)."""
    keys, values, queries = (
        [[Fraction(x) for x in row] for row in case[name]] for name in ("keys", "values", "queries")
    )
    d, m = len(keys[0]), len(values[0])
    ridge = [Fraction(x) for x in case["penalty"]] if gated else [1 / Fraction(case["regulariser"])] * d
    H = [[ridge[i] * (i == j) * (not gated) for j in range(d)] for i in range(d)]
    G, found = [[Fraction(0)] * d for _ in range(m)], []
    for k, v, q, f, b in zip(keys, values, queries, case["forget"], case["gate"], strict=True):
        f, b = Fraction(f), Fraction(b) if gated else Fraction(1)
        H = [[f * H[i][j] + b * k[i] * k[j] for j in range(d)] for i in range(d)]
        G = [[f * G[i][j] + b * v[i] * k[j] for j in range(d)] for i in range(m)]
        system = [[H[i][j] + ridge[i] * (i == j) * gated for j in range(d)] + [q[i]] for i in range(d)]
        x = solved(system)
        found.append([sum(a * c for a, c in zip(row, x, strict=True)) for row in G])
    return found


def solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """The solution of a system with its right side in the last column; it is positive definite: no pivot vanishes."""
    d = len(rows)
    for c in range(d):
        rows[c] = [x / rows[c][c] for x in rows[c]]
        for r in range(d):
            if r != c:
                rows[r] = [x - rows[r][c] * y for x, y in zip(rows[r], rows[c], strict=True)]
    return [row[-1] for row in rows]


def errors(outputs: Any, exact: Any) -> Any:
    """|computed - exact|, (T, m)."""
    return np.array(
        [[float(abs(Fraction(x) - y)) for x, y in zip(*rows, strict=True)] for rows in zip(outputs, exact, strict=True)]
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_output_is_further_from_the_exact_one_than_its_bound(form: str, shape: tuple[int, ...]) -> None:
    for seed in range(4):
        case = case_of(seed, *shape)
        found = layer_outputs([case], [form], "cpu")
        off = errors(found["outputs"][0][form], exact_outputs(case))
        assert (off <= np.array(found["rounding"][0][form])).all()


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_in_single_precision_is_outside_of_the_bounds(form: str) -> None:
    case = case_of(0, 6, 3, 2, 4, 0)
    single = {name: tensor.float() for name, tensor in tensors(case, "cpu").items()}
    outputs = FORMS[form](**single).tolist()
    off = errors(outputs, exact_outputs(case))
    assert (off > BOUNDS[form](*arrays(case))).any()


@pytest.mark.parametrize("form", GRADIENT_FORMS)
def test_gradients_are_within_their_bounds_of_those_in_turned_coordinates(form: str) -> None:
    """Turning all coordinates of the keys turns the gradients: two float64 computations, both within the bound."""
    case = case_of(1, 5, 3, 2, 2, 0)
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    turned = {**case, **{name: (np.array(case[name]) @ turn).tolist() for name in ("keys", "queries")}}
    here, there = (layer_gradients([one], [form], "cpu") for one in (case, turned))
    for name, bound in here["rounding"][0][form].items():
        slopes = [np.array(one["gradients"][0][form][name]) for one in (here, there)]
        if name in ("keys", "queries"):
            slopes[1] = slopes[1] @ turn.T
        off = np.linalg.norm((slopes[0] - slopes[1]).reshape(len(bound), -1), axis=1)
        # the turned inputs are rounded as well, by 4 eps of them, which is no more than a bound for one product
        assert (off <= 2 * np.array(bound)).all()


@pytest.mark.parametrize("steps", [None, 0, 1, 2])
def test_gated_outputs_are_within_their_bounds(steps: int | None) -> None:
    for seed in range(3):
        case = case_of(seed, 4, 3, 2, 0, 0)
        found = gated_outputs([case], steps, "cpu")
        if steps is None:
            off = errors(found["outputs"][0], exact_outputs(case, gated=True))
            assert (off <= np.array(found["rounding"][0])).all()
        assert float(np.max(found["rounding"][0])) < 1e-9


def test_balls_hold_the_exact_sum_of_products() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        a, b = draw.normal(size=7) * 10.0 ** draw.integers(-8, 8, size=7), draw.normal(size=7)
        found = dot(balls(a.tolist()), balls(b.tolist()))
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True))
        assert abs(Fraction(found.value) - exact) <= Fraction(found.error)


def test_a_ball_divided_by_one_that_holds_zero_has_no_bound() -> None:
    assert (Ball(1.0) / Ball(1e-20, 1e-19)).error == float("inf")


def test_more_steps_of_conjugate_gradients_have_larger_bounds() -> None:
    case = case_of(2, 4, 3, 2, 0, 0)
    sizes = [float(np.max(steps_bounds(case, n))) for n in range(3)]
    assert sizes == sorted(sizes)
    assert torch.finfo(torch.float64).eps < sizes[-1] < 1e-9
