r"""The claim gradient-flow: the exact flow of u and U without leak.

Four checks
    EnumeratedVelocity    the real layer's gradient over Gauss nodes at random u and U is the derived one, exact up to
                          rounding; its entries by u12 and u21 are zero
    SampledVelocity       its gradient along all directions of A over fresh prompts
    FlowPath              the flow of the real layer's enumerated gradient, integrated by numerics, is where the derived
                          one is
    DescentFollowsFlow    the real layer trained by plain stochastic gradient descent with small steps is near it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import formulas, gradient_flow
from ...theory.one_layer.decoupled_flow import FlowState, decoupled_flow
from ...theory.one_layer.population_loss import absolute, rounding_factor
from ...theory.one_layer.prompt_law import PromptLaw
from ...theory.one_layer.stationarity import orthonormal_matrices, second_moment
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.verdict import Verdict, decide
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .convergence import replicas_of, training_tasks
from .loss_checks import Case, enumerated_verdict, gap_of_sampled_loss, weights_of
from .one_layer import CONTEXT_LENGTH, COVARIANCE, NOISE_VARIANCE, TASK_COVARIANCE
from .one_layer_predictions import letters_of_case, letters_of_law
from .replica_verdict import replica_verdict
from .settings import FloatArray, Setting, dimension_of, gaussian_setting, generator, rounded
from .stationarity import ENUMERATED, SAMPLED, described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

FLOWS = "iclcheck.numerics.one_layer.flows"
VALUE_GAIN_0 = Parameter("value_gain_0", "u at the start, a number")
KEY_QUERY_0 = Parameter("key_query_0", "U at the start, d x d")
START = (COVARIANCE, CONTEXT_LENGTH, VALUE_GAIN_0, KEY_QUERY_0)
Path = Callable[[Setting, FlowState, Sequence[float]], list[FlowState]]
FormulaMaker = Callable[[], "Formula"]


def derived_path(setting: Setting, start: FlowState, times: Sequence[float]) -> list[FlowState]:
    """The flow that `predict` gives."""
    flow = flow_of(setting)
    return [flow.after(start, time) for time in times]


def flow_of(setting: Setting) -> Any:
    """The derived flow of a setting, in numbers."""
    (length,) = setting["context_lengths"]
    return decoupled_flow(setting["covariance"], length, setting["task_covariance"], setting["noise_variance"])


def path_of(formula: Formula) -> Path:
    """The flow of a formula, which may be an altered one."""
    parts = formula.parts

    def path(setting: Setting, start: FlowState, times: Sequence[float]) -> list[FlowState]:
        return gradient_flow.path_by(parts["key_query"], parts["value"], letters_of_law(setting), start, times)

    return path


def row_of(state: FlowState) -> FloatArray:
    """(u, U) in one row."""
    return np.concatenate([[state.u], np.ravel(state.U)])


def without_leak(case: Case) -> FlowState:
    """u and U of a case's weights."""
    W_PV, W_KQ = case.weights
    return FlowState(float(W_PV[-1, -1]), W_KQ[:-1, :-1])


@dataclass(frozen=True)
class EnumeratedVelocity:
    """-grad L of the real layer at random u and U, against the formula; and no gradient by u12 and u21."""

    formula: FormulaMaker
    cases: Callable[[int], list[Case]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "velocity of the flow, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        cases = self.cases(budget.seed)
        return [Task(f"{ENUMERATED}:enumerated_gradient", case.parameters(), cost=0.1) for case in cases]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [row for case, values in zip(cases, found, strict=True) for row in self.rows(case, values)]
        ran = f"{sum(values['nodes'] for values in found):.1e} Gauss nodes at {len(cases)} random u and U"
        settings = [described(case.setting) for case in cases]
        unit = "as a difference in units of |grad L|"
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, settings)

    def rows(self, case: Case, values: Values) -> list[tuple[float, float]]:
        """(difference, allowance) of (u', U'), and of the gradient by (u12, u21), in units of the velocity."""
        letters = letters_of_case(case)
        predicted = np.asarray(self.formula().value(letters), dtype=float)
        size = float(np.linalg.norm(predicted))
        moving, leaking = parts_of(values["W_PV"], values["W_KQ"])
        of_moving, of_leaking = parts_of(values["W_PV_rounding"], values["W_KQ_rounding"])
        allowed = np.linalg.norm(of_moving) + rounding_of(self.formula(), letters, dimension_of(case.setting))
        difference = np.linalg.norm(predicted + moving)
        return [
            (float(difference) / size, float(allowed) / size),
            (float(np.linalg.norm(leaking)) / size, float(np.linalg.norm(of_leaking)) / size),
        ]


def parts_of(W_PV: Any, W_KQ: Any) -> tuple[FloatArray, FloatArray]:
    """The entries at u and U, and those at u12 and u21, of a pair of matrices."""
    value, key_query = np.array(W_PV), np.array(W_KQ)
    moving = np.concatenate([[value[-1, -1]], np.ravel(key_query[:-1, :-1])])
    return moving, np.concatenate([value[-1, :-1], key_query[-1, :-1]])


def rounding_of(formula: Formula, letters: Mapping[str, Any], dimension: int) -> float:
    """What floating point may lose of (u', U'), as in `LossOnWeights.with_rounding`."""
    sizes = {name: np.abs(value) for name, value in letters.items()}
    bounds = [
        np.ravel(rounding_factor(part, dimension) * evaluate(absolute(part), sizes)) for part in formula.parts.values()
    ]
    return float(np.linalg.norm(np.concatenate(bounds)))


@dataclass(frozen=True)
class SampledVelocity:
    """The sampled gradient along all directions V_k of A at one random u and U: E Z_k = -tr(V_k^T U')/u."""

    formula: FormulaMaker
    case: Callable[[int], Case]
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "velocity of the flow, sampled"

    def directions(self, case: Case) -> FloatArray:
        """V_k, orthonormal, the first along U."""
        return rounded(orthonormal_matrices(without_leak(case).U))

    def expected_gap(self, budget: Budget) -> float:
        """Scaled from that of a sampled loss: the second moments are derived, the spread is of the same kind."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        case = self.case(budget.seed)
        parameters = {
            **case.parameters(),
            "directions": self.directions(case).tolist(),
            "prompts": budget.prompts,
            "stream_key": f"{self.name}/{budget.seed}/{content_hash(case.parameters())}",
        }
        return [Task(f"{SAMPLED}:sampled_stationarity", parameters, budget.device, cost=2.5e-7 * budget.prompts)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        case = self.case(budget.seed)
        (found,) = run(self.tasks(budget))
        compared = self.compared(case, found)
        worst = max(compared, key=lambda one: abs(one.measured - one.predicted) / one.allowed)
        gap = float(np.linalg.norm([one.detectable for one in compared]))
        holds = all(one.holds for one in compared)
        return Verdict(
            self.name, decide(holds, gap, self.resolution), worst.measured, worst.predicted, worst.allowed, gap,
            "as a component of the velocity in units of its size", self.false_alarm, self.miss,
            f"{compared[0].draws:.1e} prompts at one random u and U", {"settings": [described(case.setting)]},
        )  # fmt: skip

    def compared(self, case: Case, found: Values) -> list[MeanComparison]:
        """One comparison for each direction, in units of |U'|/|u|; the rates are shared among them."""
        letters, directions = letters_of_case(case), self.directions(case)
        velocity = np.asarray(self.formula().value(letters), dtype=float)[1:].reshape(directions.shape[1:])
        slope = -velocity / float(letters["u"])
        size = float(np.linalg.norm(slope))
        values = {**letters, "A": float(letters["u"]) * letters["U"], "V": directions}
        moments = np.asarray(evaluate(second_moment(PromptLaw()), values)) / size**2
        count = len(directions)
        compared = []
        for k, direction in enumerate(directions):
            predicted = float(np.sum(direction * slope)) / size
            # E (Z - p)^2 <= (sqrt(E Z^2) + |p|)^2 for any p, the predicted mean of an altered statement included
            spread = (math.sqrt(float(moments[k])) + abs(predicted)) ** 2
            compared.append(
                compare_mean(
                    found["count"], found["sum"][k] / size, found["sum_of_squares"][k] / size**2, spread,
                    predicted=predicted, false_alarm=self.false_alarm / count, miss=self.miss / count,
                )
            )  # fmt: skip
        return compared


@dataclass(frozen=True)
class FlowPath:
    """The integrated flow of the real layer's enumerated gradient, at several times, against the derived one.

    The allowance is the whole difference between two tolerances of numerics' integrator, about nine times its error,
    and what the derived flow may be off by.
    """

    path: Path
    settings: Callable[[int], list[Setting]]
    time: float = 2.0
    points: int = 4
    starts: int = 3
    tolerance: float = 1e-9
    resolution: float = 1e-5
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "path of the flow, integrated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled; the error of the integration is known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting, budget.seed) for setting in self.settings(budget.seed)]

    def task(self, setting: Setting, seed: int) -> Task:
        starts = [{"u": one.u, "U": one.U.tolist()} for one in random_starts(setting, seed, self.starts)]
        parameters = {
            "distribution": setting, "starts": starts, "time": self.time, "points": self.points,
            "tolerance": self.tolerance,
        }  # fmt: skip
        return Task(f"{FLOWS}:enumerated_flows", parameters, cost=0.6)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        rows = [
            row
            for setting, values in zip(settings, found, strict=True)
            for k, start in enumerate(random_starts(setting, budget.seed, self.starts))
            for row in self.rows(setting, start, values, k)
        ]
        evaluations = sum(values["evaluations"] for values in found)
        ran = f"{evaluations} gradients over Gauss nodes, {len(rows)} points of {len(settings)} laws"
        unit = "as a distance in units of the weights' size"
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, [described(one) for one in settings])

    def rows(self, setting: Setting, start: FlowState, values: Values, place: int) -> list[tuple[float, float]]:
        """(difference, allowance) at every time, for the start of that place."""
        times = [self.time * (k + 1) / self.points for k in range(self.points)]
        rows = []
        for k, state in enumerate(self.path(setting, start, times), start=1):
            predicted = row_of(state)
            size = float(np.linalg.norm(predicted))
            fine, coarse = (measured_row(values[name][k], place) for name in ("fine", "coarse"))
            error = float(np.linalg.norm(fine - coarse)) / size + DERIVED_FLOW
            rows.append((float(np.linalg.norm(fine - predicted)) / size, error))
        return rows


# Of the derived flow, relative to the weights: local errors below 1e-12, grown and added up over some hundred steps.
DERIVED_FLOW = 1e-9


def measured_row(values: Mapping[str, Any], place: int) -> FloatArray:
    """(u, U) in one row, of the start at that place."""
    return np.concatenate([[values["u"][place]], np.ravel(values["U"][place])])


def random_starts(setting: Setting, seed: int, count: int, scale: float = 1.0) -> list[FlowState]:
    """Starts with entries uniform in (-scale, scale): both signs, not balanced, U not symmetric."""
    d = dimension_of(setting)
    draw = generator(f"flow starts/{content_hash(setting)}", seed)
    return [
        FlowState(float(draw.uniform(-scale, scale)), np.asarray(draw.uniform(-scale, scale, size=(d, d))))
        for _ in range(count)
    ]


@dataclass(frozen=True)
class DescentFollowsFlow:
    """Replicas of plain stochastic gradient descent from random starts without leak, against the flow at its time.

    The error of a replica is |W_end - W_flow| / |W_flow| over both weights, the leak that noise makes included. Half of
    the runs travel more than 0.6 of that size, nine of ten more than 0.27.
    """

    path: Path
    setting: Callable[[int, int], Setting]
    training: dict[str, Any] = field(default_factory=dict)
    margin: float = 0.1
    required: float = 0.85
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "descent with small steps follows the flow"

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        return replicas_of(self.training, self.setting, budget)

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and how far paths on fresh prompts stray."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return training_tasks(self.configurations(budget), budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        laws = [one["distribution"] for one in self.configurations(budget)]
        errors = np.array([self.error(law, found, k) for k, law in enumerate(laws)])
        return replica_verdict(
            self.name, errors, self.margin, self.required, self.false_alarm,
            "as a distance from the flow in units of the weights' size",
            f"{sum(sum(v['prompts']) for v in found):.1e} prompts",
        )  # fmt: skip

    def error(self, setting: Setting, found: list[Values], replica: int) -> float:
        d, time = dimension_of(setting), self.training["steps"] * self.training["learning_rate"]
        start, end = ended(found, "start_", replica), ended(found, "", replica)
        moving = FlowState(float(start[0]), start[1 : 1 + d * d].reshape(d, d))
        (state,) = self.path(setting, moving, [time])
        predicted = np.concatenate([row_of(state), np.zeros(2 * d)])
        return float(np.linalg.norm(end - predicted) / np.linalg.norm(predicted))


def ended(found: list[Values], prefix: str, replica: int) -> FloatArray:
    """(u, U, u12, u21) of a replica in one row."""
    return np.concatenate(parts_of(*weights_of(found, prefix, replica)))


def cases(seed: int) -> list[Case]:
    """Random u and U under laws with Psi and noise."""
    sizes = ((1, 1), (1, 2), (2, 1), (2, 2))
    return [case_without_leak(f"flow/{d}/{n}", seed, d, n) for d, n in sizes]


def case_without_leak(name: str, seed: int, dimension: int, length: int) -> Case:
    setting = gaussian_setting(name, seed, dimension, [length], noise=True)
    (start,) = random_starts(setting, seed, 1)
    W_PV, W_KQ = (np.zeros((dimension + 1, dimension + 1)) for _ in range(2))
    W_PV[-1, -1], W_KQ[:-1, :-1] = start.u, start.U
    return Case(setting, (W_PV, W_KQ))


def sampled_case(seed: int) -> Case:
    return case_without_leak("flow/sampled", seed, 2, 3)


def path_settings(seed: int) -> list[Setting]:
    sizes = ((1, 1, True), (1, 3, True), (2, 1, True), (2, 2, True), (2, 3, False))
    return [gaussian_setting(f"flow/path/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def replica_law(seed: int, replica: int) -> Setting:
    """d in 1..2, N in d..8, condition numbers up to 3, with and without noise."""
    draw = generator(f"flow/replica/{replica}", seed)
    d = int(draw.integers(1, 3))
    length = int(draw.integers(d, 9))
    return gaussian_setting(f"flow/replica/{replica}/law", seed, d, [length], noise=bool(draw.integers(2)))


# Small steps, to the time 1; batches large enough that the noise moves a run by a few per cent of its way.
DESCENT: dict[str, Any] = {
    "start": "no-leak", "scale": 0.5, "optimiser": "sgd", "learning_rate": 0.02, "batch_size": 2048,
    "schedule": "constant", "averaging": 0.0, "steps": 50,
}  # fmt: skip


def predict_gradient_flow(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = gradient_flow.flow_after(**parameters)
    return {"value_gain": found.value_gain, "key_query": found.key_query.tolist(), "loss": found.loss}


def gradient_flow_claim(formula: FormulaMaker = formulas.gradient_flow, path: Path = derived_path) -> Claim:
    """`formula` and its `path` can be altered, to see the same checks refuse other velocities."""
    return Claim(
        "gradient-flow",
        gradient_flow.derivation,
        (*START, Parameter("time", "t of theta' = -dL/dtheta, at least 0"), TASK_COVARIANCE, NOISE_VARIANCE),
        predict_gradient_flow,
        (
            EnumeratedVelocity(formula, cases),
            SampledVelocity(formula, sampled_case),
            FlowPath(path, path_settings),
            DescentFollowsFlow(path, replica_law, DESCENT),
        ),
        "velocity at random u and U of both signs, U not symmetric, four enumerated laws (d <= 2, N <= 2) and one "
        "sampled; the integrated flow to t = 2 from three starts under each of five laws (d <= 2, N <= 3); descent "
        "with 50 steps to t = 1, d in 1..2, N in d..8. Condition numbers up to 3, noise variance below 0.5",
        (
            Alterable(
                formulas.gradient_flow,
                formulas.weight_points,
                lambda seed: [letters_of_case(case) for case in cases(seed)],
                lambda formula: gradient_flow_claim(lambda: formula, path_of(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (gradient_flow_claim(),)
