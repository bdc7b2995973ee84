r"""The claim critical-points: the list of all critical points, their kinds, and where descent ends.

Three checks
    SlopeAlongTheLeak    dF/dt of the isotropic law by the quartic, against the real layer's gradient over Gauss nodes
    ListedPoints         the real layer at every listed point: the loss is the predicted one, the gradient vanishes, and
                         the second derivatives have the signs of the kind
    EndsOfFlow           gradient flow on the exact loss from random starts of all parameters ends at a listed minimum
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.one_layer import critical_points, feature_moments, isotropic_landscape, landscape_derivation
from ...theory.one_layer.critical_points import CriticalPoint
from ...theory.one_layer.reduced_landscape import Eigenspaces, ReducedLoss
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .loss_checks import enumerated_verdict
from .replica_verdict import replica_verdict
from .settings import FloatArray, Setting, generator
from .stationarity import ENUMERATED, described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

SECOND_DERIVATIVES = "iclcheck.numerics.one_layer.second_derivatives:enumerated_second_derivatives"
FLOW_ENDS = "iclcheck.numerics.training.exact_ends:flow_ends"
Slope = Callable[[int, int, Fraction], Fraction]  # d, N, t -> the quartic
# The weights of a point are rounded to float64. That moves each term of a gradient, of degree at most four in them, by
# less than the rounding of its evaluation, whose bound counts more operations than four: twice the bound is enough.
ROUNDED_WEIGHTS = 2.0


def diagonal_setting(eigenvalues: Sequence[float], context_length: int) -> Setting:
    """x ~ N(0, diag), w ~ N(0, I), no noise."""
    d = len(eigenvalues)
    return {
        "covariance": np.diag(np.asarray(eigenvalues, dtype=float)).tolist(),
        "context_lengths": [context_length],
        "task_covariance": np.eye(d).tolist(),
        "noise_variance": 0.0,
        "covariates": "gaussian",
    }


def quartic_by(formula: Formula) -> Slope:
    """The quartic by a formula in t, d and N."""
    return lambda d, N, t: Fraction(formula.value({"d": Fraction(d), "N": Fraction(N), "t": t}).item())


def predicted_quartic(d: int, N: int, t: Fraction) -> Fraction:
    return quartic_by(isotropic_landscape.quartic_formula())(d, N, t)


@dataclass(frozen=True)
class SlopeAlongTheLeak:
    """dF/dt = (d-1)^2 quartic(t)/(2 N^9 Q^2) at Lambda = I, |u12|^2 = t u^2, and no slope along (U, u21)."""

    quartic: Slope
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "slope along the leak, enumerated"

    def cases(self, seed: int) -> list[tuple[int, int, Fraction]]:
        """(d, N, t) with t random."""
        sizes = ((2, 1), (2, 2), (2, 3), (3, 1), (3, 2))
        draw = generator("critical points/t", seed)
        return [(d, n, Fraction(int(draw.integers(8, 80)), 16)) for d, n in sizes for _ in range(2)]

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(*case) for case in self.cases(budget.seed)]

    def task(self, d: int, N: int, t: Fraction) -> Task:
        p, K = leak(d, N).weights((t, Fraction(1)))
        W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
        W_PV[-1], W_KQ[:, :-1] = p, K
        setting = diagonal_setting([1.0] * d, N)
        parameters = {"distribution": setting, "W_PV": W_PV.tolist(), "W_KQ": W_KQ.tolist()}
        return Task(f"{ENUMERATED}:enumerated_gradient", parameters, cost=0.2)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [row for case, values in zip(cases, found, strict=True) for row in self.rows(*case, values)]
        settings = [f"d = {d}, N = {n}, t = {t}" for d, n, t in cases]
        ran = f"{sum(values['nodes'] for values in found):.1e} Gauss nodes at {len(cases)} leaks"
        unit = "as a difference in units of the predicted dF/dt"
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, settings)

    def rows(self, d: int, N: int, t: Fraction, values: Values) -> list[tuple[float, float]]:
        """(difference, allowed) of the slope along the leak, and of that along (U, u21), which is to be zero."""
        v = float(t) ** 0.5
        predicted = float((d - 1) ** 2 * self.quartic(d, N, t) / (2 * N**9 * leak_determinant(d, N, t) ** 2))
        slope, bound = np.array(values["W_PV"])[-1, 0] / (2 * v), np.array(values["W_PV_rounding"])[-1, 0] / (2 * v)
        others, others_bound = np.array(values["W_KQ"]), np.array(values["W_KQ_rounding"])
        size = abs(predicted) or 1.0
        return [
            (float(abs(slope - predicted)) / size, ROUNDED_WEIGHTS * float(bound) / size),
            (float(np.linalg.norm(others)) / size, ROUNDED_WEIGHTS * float(np.linalg.norm(others_bound)) / size),
        ]


@cache
def leak(d: int, N: int) -> ReducedLoss:
    """F of the isotropic law."""
    return ReducedLoss(Eigenspaces((Fraction(1),), (d,)), N, (0,))


@cache
def leak_determinant(d: int, N: int, t: Fraction) -> Fraction:
    """Q(t) of `isotropic_landscape`."""
    from ...theory.one_layer.fixed_point import exact_value

    return exact_value(isotropic_landscape.isotropic_quotient()[1], {"d": d, "N": N, "t": t})


@dataclass(frozen=True)
class ListedPoints:
    """Loss, gradient and second derivatives of the real layer at the listed points of some laws."""

    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "listed points and kinds, enumerated"

    def laws(self) -> list[tuple[tuple[float, ...], int]]:
        """(eigenvalues, N): isotropic, distinct and repeated ones."""
        return [((1.0,), 2), ((1.0, 1.0), 1), ((1.0, 1.0), 3), ((1.0, 2.0), 1), ((1.0, 5.0), 2), ((1.0, 1.0, 2.0), 1)]

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [
            Task(SECOND_DERIVATIVES, {
                "distribution": diagonal_setting(*law),
                "W_PV": point.value_weights.tolist(), "W_KQ": point.key_query_weights.tolist(),
            }, cost=1.0)
            for law in self.laws() for point in listed(*law).points
        ]  # fmt: skip

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        points = [(law, point) for law in self.laws() for point in listed(*law).points]
        rows = [row for (law, point), values in zip(points, found, strict=True) for row in rows_at(law, point, values)]
        nodes = sum(values["nodes"] for values in found)
        ran = f"{nodes:.1e} Gauss nodes at {len(points)} points of {len(self.laws())} laws"
        settings = [described(diagonal_setting(*law)) for law in self.laws()]
        unit = "as a difference in units of L(0), of L(0)/|theta| and of the largest second derivative"
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, settings)


@cache
def listed(eigenvalues: tuple[float, ...], context_length: int) -> critical_points.CriticalPoints:
    """The list of one law."""
    return critical_points.critical_points(np.diag(eigenvalues).tolist(), context_length)


def rows_at(law: tuple[tuple[float, ...], int], point: CriticalPoint, values: Values) -> list[tuple[float, float]]:
    """(difference, allowed) of the loss, of the gradient, and of the second derivatives that have to vanish.

    The last counts as 1 where the number of negative ones is not the index; for points of value 0, where there is none.
    """
    at_zero = sum(law[0]) / 2
    size = float(np.hypot(np.linalg.norm(point.value_weights), np.linalg.norm(point.key_query_weights))) or 1.0
    least = len(point.value_weights) * float(np.finfo(float).eps)  # the norms themselves are rounded
    gradient, bound = np.array(values["gradient"]), np.array(values["gradient_rounding"])
    loss_error = abs(values["loss"] - point.loss) / at_zero
    second, error = np.array(values["second_derivatives"]), np.array(values["rounding"])
    eigenvalues = np.sort(np.linalg.eigvalsh(second))
    largest = float(np.abs(eigenvalues).max())
    # An eigenvalue moves by at most the norm of the error; the eigenvalue solver adds a few roundings of the largest.
    allowed = ROUNDED_WEIGHTS * float(np.linalg.norm(error)) / largest + len(second) * float(np.finfo(float).eps)
    flat = np.abs(eigenvalues) <= allowed * largest
    negative = int(np.sum(eigenvalues < -allowed * largest))
    right = (
        negative > 0
        if point.index is None
        else (negative, int(flat.sum())) == (point.index, flat_directions(law, point))
    )
    return [
        (float(loss_error), ROUNDED_WEIGHTS * values["loss_rounding"] / at_zero + least),
        (
            float(np.linalg.norm(gradient)) * size / at_zero,
            ROUNDED_WEIGHTS * float(np.linalg.norm(bound)) * size / at_zero + least,
        ),
        (float(np.abs(eigenvalues[flat]).max(initial=0.0)) / largest if right else 1.0, allowed),
    ]


def flat_directions(law: tuple[tuple[float, ...], int], point: CriticalPoint) -> int:
    """The scale, and the rotations that move the leak within its eigenspaces."""
    different = sorted(set(law[0]))
    return 1 + sum(law[0].count(different[i]) - 1 for i in point.leaking)


@dataclass(frozen=True)
class EndsOfFlow:
    """Gradient flow on the exact loss from Gaussian starts of all parameters: each run ends at a listed minimum.

    The error of a run is |L - L_min|/L(0) for the nearest listed minimum, and 1 for a run that has not ended. The
    margin tells minima from saddles: their losses at these laws differ by 7e-4 L(0) or more (eigenvalues 1, 2; N = 20).
    """

    runs: int = 512
    scale: float = 0.5
    flat: float = 1e-5
    steps: int = 3000
    margin: float = 1e-4
    required: float = 0.99
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "flow ends at listed minima"

    def laws(self) -> list[tuple[tuple[float, ...], int]]:
        return [((1.0, 1.0), 1), ((1.0, 1.0), 8), ((1.0, 2.0), 20), ((1.0, 1.0, 1.0), 8)]

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and the distance at which runs stop."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [
            Task(FLOW_ENDS, {
                "moments": moments_of(*law), "dimension": len(law[0]), "runs": self.runs, "scale": self.scale,
                "seed": 1000 * budget.seed + k, "flat": self.flat, "steps": self.steps,
            }, cost=2.0)
            for k, law in enumerate(self.laws())
        ]  # fmt: skip

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        pairs = list(zip(self.laws(), found, strict=True))
        errors = np.concatenate([self.errors(law, values) for law, values in pairs])
        ran = f"{len(errors)} flows; at the global minimum: " + ", ".join(
            f"{share_at_the_best(law, values):.0%} ({', '.join(f'{x:g}' for x in law[0])}; N = {law[1]})"
            for law, values in pairs
        )
        unit = "as a difference of losses in units of L(0)"
        return replica_verdict(self.name, errors, self.margin, self.required, self.false_alarm, unit, ran)

    def errors(self, law: tuple[tuple[float, ...], int], values: Values) -> FloatArray:
        minima = [point.loss for point in listed(*law).points if point.kind.endswith("minimum")]
        gaps = np.abs(np.subtract.outer(np.array(values["loss"]), minima)).min(1) / (sum(law[0]) / 2)
        return np.where(np.array(values["ended"]), gaps, 1.0)


def moments_of(eigenvalues: tuple[float, ...], context_length: int) -> dict[str, Any]:
    """The loss as plain data, entries rounded to 12 digits so that a task does not carry the last bits."""
    found = feature_moments.feature_moments(np.diag(eigenvalues).tolist(), context_length)
    return {
        "constant": found.constant,
        "linear": [float(f"{x:.12g}") for x in found.linear],
        "quadratic": [[float(f"{x:.12g}") for x in row] for row in found.quadratic],
    }


def share_at_the_best(law: tuple[tuple[float, ...], int], values: Values) -> float:
    """The share of runs that end at the global minimum."""
    best = min(point.loss for point in listed(*law).points)
    return float(np.mean(np.abs(np.array(values["loss"]) - best) <= EndsOfFlow.margin * sum(law[0]) / 2))


def predict_critical_points(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = critical_points.critical_points(**parameters)
    return {
        "points": [
            {
                "kind": point.kind, "loss": point.loss, "multiplicity": point.multiplicity,
                "description": point.description, "index": point.index,
                "value_weights": point.value_weights.tolist(), "key_query_weights": point.key_query_weights.tolist(),
            }
            for point in found.points
        ],
        "complete": found.complete,
        "searched": found.searched,
    }  # fmt: skip


def critical_points_claim(quartic: Slope = predicted_quartic) -> Claim:
    """`quartic` can be altered, to see the same check refuse another one."""
    return Claim(
        "critical-points",
        landscape_derivation.derivation,
        (
            Parameter("covariance", "Lambda (d, d), positive definite; w ~ N(0, I), no noise"),
            Parameter("context_length", "N, a whole number of at least 1"),
        ),
        predict_critical_points,
        (SlopeAlongTheLeak(quartic), ListedPoints(), EndsOfFlow()),
        "Lambda with one or two different eigenvalues. The slope at ten random leaks (Lambda = I, d = 2, 3, N <= 3); "
        "loss, gradient and second derivatives at every listed point of six laws (d <= 3, N <= 3, eigenvalues with "
        "ratios up to 5); gradient flow on the exact loss, 512 starts with entries N(0, 1/4) for each of four laws "
        "(d = 2, 3, N up to 20). Only the quartic is altered as a negative control",
        (
            Alterable(
                isotropic_landscape.quartic_formula,
                isotropic_landscape.quartic_points,
                lambda seed: [
                    {"d": Fraction(d), "N": Fraction(n), "t": t} for d, n, t in SlopeAlongTheLeak(quartic).cases(seed)
                ],
                lambda formula: critical_points_claim(quartic_by(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (critical_points_claim(),)
