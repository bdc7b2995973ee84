r"""The claim pl-inequality: |grad L|^2 >= mu (L - min L) along the flow, with mu printed and derived.

Two checks
    EnumeratedSquares    |dL/dU|^2 and L of the real layer at random u and U are the derived ones, exact up to rounding
    InequalityOnFlows    at every point of flows of the real layer's enumerated gradient, from random starts of ZFB
                         Theorem 4.1 and from random unbalanced starts, the inequality holds
An inequality with room is refused by no measurement that lies within the room: the altered statements that count are
those of the identities behind it. How much room there is, is reported: the least of |grad L|^2/(mu (L - min L)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.one_layer import formulas, pl_inequality
from ...theory.one_layer.decoupled_flow import FlowState
from ..records.tasks import Task
from ..verdicts.verdict import Verdict, decide
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .gradient_flow import FLOWS, cases, flow_of, parts_of, random_starts
from .loss_checks import Case, enumerated_verdict
from .one_layer import CONTEXT_LENGTH, COVARIANCE
from .one_layer_predictions import letters_of_case
from .settings import Setting, gaussian_setting, generator, rounded
from .stationarity import ENUMERATED, described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

FormulaMaker = Callable[[], "Formula"]


@dataclass(frozen=True)
class EnumeratedSquares:
    """|dL/dU|^2 and L at random u and U, in units of the predicted ones."""

    formula: FormulaMaker
    cases: Callable[[int], list[Case]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "squared gradient and loss, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        wanted = self.cases(budget.seed)
        return [Task(f"{ENUMERATED}:enumerated_gradient", case.parameters(), cost=0.1) for case in wanted]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        wanted = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [row for case, values in zip(wanted, found, strict=True) for row in self.rows(case, values)]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as a difference in units of the predicted value",
            f"{sum(v['nodes'] for v in found):.1e} Gauss nodes at {len(wanted)} random u and U",
            [described(case.setting) for case in wanted],
        )  # fmt: skip

    def rows(self, case: Case, values: Values) -> list[tuple[float, float]]:
        square, loss = (float(one) for one in np.asarray(self.formula().value(letters_of_case(case)), dtype=float))
        slope, bound = (parts_of(values[f"W_PV{s}"], values[f"W_KQ{s}"])[0][1:] for s in ("", "_rounding"))
        measured = float(np.sum(slope**2))
        # (g + e)^2 - g^2 <= 2 |g| |e| + |e|^2 for the rule; PREDICTED for the polynomials.
        lost = 2 * math.sqrt(measured) * float(np.linalg.norm(bound)) + float(np.sum(bound**2))
        return [
            (abs(measured - square) / abs(square), lost / abs(square) + PREDICTED),
            (abs(values["loss"] - loss) / abs(loss), values["loss_rounding"] / abs(loss) + PREDICTED),
        ]


# Polynomials of at most 10 terms of at most 12 letters at d <= 2, whose sum is not smaller than a thousandth of the sum
# of their sizes at these weights: 1000 (12 d + 14) eps, rounded up.
PREDICTED = 1e-11


@dataclass(frozen=True)
class FlowOfStart:
    """A start with what the inequality says about its flow."""

    setting: Setting
    start: FlowState
    constants: dict[str, float]


@dataclass(frozen=True)
class InequalityOnFlows:
    """The worst ratio mu (L - min L)/|grad L|^2 over the points of all flows: at most one."""

    flows: Callable[[int], list[list[FlowOfStart]]]
    time: float = 6.0
    points: int = 24
    tolerance: float = 1e-8
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "inequality at every point of the flows"

    def expected_gap(self, budget: Budget) -> float | None:
        """An inequality: how far it is from being violated is known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(group) for group in self.flows(budget.seed)]

    def task(self, group: list[FlowOfStart]) -> Task:
        starts = [{"u": one.start.u, "U": one.start.U.tolist()} for one in group]
        parameters = {
            "distribution": group[0].setting, "starts": starts, "time": self.time, "points": self.points,
            "tolerance": self.tolerance,
        }  # fmt: skip
        return Task(f"{FLOWS}:enumerated_flows", parameters, cost=0.6)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        groups = self.flows(budget.seed)
        found = run(self.tasks(budget))
        ratios: dict[str, list[float]] = {}
        for group, values in zip(groups, found, strict=True):
            for k, one in enumerate(group):
                for name, mu in one.constants.items():
                    ratios.setdefault(name, []).extend(self.ratios(one, mu, values, k))
        worst = max(max(row) for row in ratios.values())
        points = sum(len(row) for row in ratios.values())
        return Verdict(
            self.name, decide(worst <= 1.0, 0.0, 1.0), worst, 1.0, 0.0, 0.0,
            "as the largest mu (L - min L)/|grad L|^2, at most one", 0.0, 0.0,
            f"{points} points of {sum(len(group) for group in groups)} flows under {len(groups)} laws; least room "
            + ", ".join(f"{1 / max(row):.3g} ({name})" for name, row in ratios.items()),
            {
                "settings": [described(group[0].setting) for group in groups],
                "room": {
                    name: {"least": 1 / max(row), "median": 1 / float(np.median(row))} for name, row in ratios.items()
                },
            },
        )  # fmt: skip

    def ratios(self, one: FlowOfStart, mu: float, values: Values, place: int) -> list[float]:
        """mu (L - min L)/|grad L|^2 where the loss is above its minimum by more than ROUNDED_EXCESS of it."""
        minimum = flow_of(one.setting).minimum
        rows = [(point["loss"][place], point["squared_gradient"][place]) for point in values["fine"]]
        return [mu * (loss - minimum) / square for loss, square in rows if loss - minimum > ROUNDED_EXCESS * loss]


# L and min L are right to some 1e-13 of L, so that the ratio is right to 1e-6 where the excess is above this share of
# L.
ROUNDED_EXCESS = 1e-7


def theorem_flows(seed: int) -> list[list[FlowOfStart]]:
    """Random laws with Psi = I, no noise, and starts of ZFB Theorem 4.1: sigma_0^2 |Gamma| sqrt(d) within (0, 2)."""
    sizes = ((1, 1), (1, 4), (2, 1), (2, 2), (2, 3))
    return [[theorem_flow(f"pl/{d}/{n}", seed, d, n, k) for k in range(4)] for d, n in sizes]


def theorem_flow(name: str, seed: int, dimension: int, length: int, place: int) -> FlowOfStart:
    setting = gaussian_setting(name, seed, dimension, [length], noise=False, plain_task=True)
    draw = generator(f"{name}/start/{place}", seed)
    theta = np.asarray(draw.uniform(-1, 1, size=(dimension, dimension)))
    Lambda = np.array(setting["covariance"])
    gamma = (1 + 1 / length) * Lambda + np.trace(Lambda) / length * np.eye(dimension)
    largest = 2 / (float(np.linalg.norm(gamma, 2)) * math.sqrt(dimension))
    scale = float(f"{math.sqrt(largest * float(draw.uniform(0.02, 0.98))):.11g}")
    found = pl_inequality.pl_constants(Lambda, length, scale, theta)
    exact = pl_inequality.theorem_start(scale, theta)
    # Rounded like all weights that are measured; 1e-11 of U moves a constant by far less than the room that is found.
    start = exact._replace(U=rounded(exact.U))
    return FlowOfStart(setting, start, {"printed": found.printed, "derived": found.derived})


def unbalanced_flows(seed: int) -> list[list[FlowOfStart]]:
    """Random laws with Psi and noise, and random starts for which the derived constant is positive."""
    settings = [gaussian_setting(f"pl/any/{d}/{n}", seed, d, [n], noise=True) for d, n in ((1, 2), (2, 2))]
    return [[one for one in unbalanced(setting, seed) if one.constants["derived"] > 0] for setting in settings]


def unbalanced(setting: Setting, seed: int) -> list[FlowOfStart]:
    flow = flow_of(setting)
    starts = random_starts(setting, seed, 8)
    return [FlowOfStart(setting, one, {"derived": pl_inequality.derived_constant(flow, one)}) for one in starts]


def flows(seed: int) -> list[list[FlowOfStart]]:
    return [group for group in (*theorem_flows(seed), *unbalanced_flows(seed)) if group]


def predict_constants(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = pl_inequality.pl_constants(**parameters)
    return {"printed_constant": found.printed, "derived_constant": found.derived}


def pl_inequality_claim(formula: FormulaMaker = formulas.squared_gradient) -> Claim:
    """`formula` can be altered, to see the same checks refuse other identities."""
    return Claim(
        "pl-inequality",
        pl_inequality.derivation,
        (
            COVARIANCE,
            CONTEXT_LENGTH,
            Parameter("scale", "sigma_0 above 0: u = sigma_0, U = sigma_0 Theta Theta^T/|Theta Theta^T|_F"),
            Parameter("theta", "Theta, d x d, not zero"),
        ),
        predict_constants,
        (EnumeratedSquares(formula, cases), InequalityOnFlows(flows)),
        "identities at random u and U under four laws with Psi and noise (d <= 2, N <= 2); the inequality at 25 points "
        "up to t = 6 of flows from 20 random starts of ZFB Theorem 4.1 (Psi = I, no noise, d <= 2, N <= 4) for both "
        "constants, and from random unbalanced starts under two laws with Psi and noise for the derived one",
        (
            Alterable(
                formulas.squared_gradient,
                formulas.weight_points,
                lambda seed: [letters_of_case(case) for case in cases(seed)],
                lambda formula: replace(pl_inequality_claim(), checks=(EnumeratedSquares(lambda: formula, cases),)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (pl_inequality_claim(),)
