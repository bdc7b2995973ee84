r"""The claim mesa-preconditioning, and the audit of the recursion that is printed for it.

Four checks, all on real models of k + 1 layers of causal linear attention
    the model's predictions against the derived ones, at every t, for three iterations
    the model against regularised least squares by a linear solve, within the derived error bound
    the residual at the extremal points of the spectrum, where Chebyshev's steps (and the ends, for a constant step)
    take their bound with alternating signs
    and at random points of the spectrum, where it may not be larger
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mesa import iterations, printed_iteration
from ...theory.mesa import preconditioning as theory
from ..claims.alterable import Alterable
from ..claims.audit import Audit
from ..claims.claim import Budget, Claim, Parameter, Values
from ..claims.exact_checks import ExactCheck, PrintedNumber, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENT = "iclcheck.numerics.mesa.iterated_layers:iterated_predictions"
# iteration, n, T, layers before the gradient layer, lambda, sum of squares of a sequence; A_t is in [1/lambda, 1/lambda
# + energy], and the rates at these sizes bring the bound below 1e-7 of the prediction's size
SETTINGS = (
    ("neumann", 2, 5, 30, 1.25, 0.7), ("neumann", 3, 6, 24, 1.0, 0.3), ("richardson", 1, 4, 30, 2.0, 1.0),
    ("richardson", 3, 8, 40, 1.0, 3.0), ("chebyshev", 2, 6, 14, 2.0, 1.0), ("chebyshev", 4, 8, 22, 1.0, 5.0),
)  # fmt: skip
SEQUENCES = 2
WORST = (("neumann", 3), ("richardson", 3), ("chebyshev", 1), ("chebyshev", 2), ("chebyshev", 4), ("chebyshev", 7))
LOW, HIGH, WEAK = 0.5, 1.75, 4.0  # the spectrum of the scalar checks, and lambda with 1/lambda < LOW
PARAMETERS = (
    Parameter("sequence", "s_1 .. s_T, one row for each (T x n)"),
    Parameter("regulariser", "lambda > 0; the penalty is |Phi|^2/(2 lambda)"),
    Parameter("steps", "k, how many layers precondition before the gradient layer, from 0"),
    Parameter("iteration", "neumann, richardson or chebyshev", required=False, default="chebyshev", word=True),
    Parameter("spectrum_bounds", "[mu, M] that hold the eigenvalues of every A_t; left out: the tightest", False),
)

Made = Callable[[], "Formula"]


def letters(seed: int) -> list[dict[str, Any]]:
    """For each setting the step sizes, lambda, and what they may be mistaken for."""
    found = []
    for iteration, n, length, steps, regulariser, energy in SETTINGS:
        draw = generator(f"mesa-preconditioning/{iteration}/{n}/{length}", seed)
        omegas = iterations.step_sizes(iteration, steps, 1 / regulariser, 1 / regulariser + energy)
        others = draw.uniform(0.2, 1.9, size=2)
        found.append({
            "omegas": omegas, "lambda": regulariser, "lambda'": float(others[0]), "omega'": float(others[1]),
        })  # fmt: skip
    return found


def models_task(formula: Made) -> Callable[[Budget], Task]:
    """Sequences, the models with a formula's weights, and regularised least squares."""

    def task(budget: Budget) -> Task:
        cases = []
        for (_, n, length, _, regulariser, energy), values in zip(SETTINGS, letters(budget.seed), strict=True):
            others = {name: values[name] for name in ("lambda'", "omega'")}
            model = theory.wiring(formula().parts, regulariser, values["omegas"], n, **others)
            law = {"kind": "linear", "size": n, "length": length, "noise_variance": 0.05}
            cases.append({
                "task": law, "sequences": SEQUENCES, "energy": energy, "regulariser": regulariser, **model,
            })  # fmt: skip
        parameters = {"cases": cases, "stream_key": f"mesa-preconditioning/{budget.seed}"}
        return Task(MEASUREMENT, parameters, budget.device, cost=0.5)

    return task


def largest(distances: FloatArray, allowed: FloatArray, sizes: FloatArray) -> Row:
    """The distance that is nearest to what is allowed, both in units of the predictions' root mean square."""
    size = float(np.sqrt(np.mean(sizes**2)))
    place = np.unravel_index(np.argmax(distances / np.maximum(allowed, 1e-300)), allowed.shape)
    return float(distances[place]) / size, max(float(allowed[place]), 1e-300) / size


def rows_of_predictions(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """The model against a formula's predictions; the formula's sums have fewer roundings than the layers'."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for place, values in enumerate(letters(budget.seed)):
            model, sequences = np.array(found["model"][place]), np.array(found["sequence"][place])
            derived = np.array([formula().value({**values, "sequence": one}) for one in sequences], dtype=float)
            distances = np.linalg.norm(model - derived, axis=-1)
            result.append(largest(distances, 2 * np.array(found["model_rounding"][place]), model))
        return result

    return rows


def rows_of_least_squares(budget: Budget, found: Values) -> list[Row]:
    """The model against least squares: the derived bound, and the rounding of both."""
    del budget
    result = []
    for place, (iteration, _, _, steps, regulariser, energy) in enumerate(SETTINGS):
        rate = iterations.residual_bound(iteration, steps, 1 / regulariser, 1 / regulariser + energy)
        model, exact = np.array(found["model"][place]), np.array(found["least_squares"][place])
        allowed = [[rate * norm for norm in norms_of(np.array(one), regulariser)] for one in found["sequence"][place]]
        rounding = np.array(found["model_rounding"][place]) + np.array(found["solve_rounding"][place])
        result.append(largest(np.linalg.norm(model - exact, axis=-1), np.array(allowed) + rounding, exact))
    return result


def norms_of(sequence: FloatArray, regulariser: float) -> list[float]:
    """|Phi_t| |s_t| at every t."""
    maps = theory.least_squares_maps(sequence, regulariser)
    return [float(np.linalg.norm(Phi, 2) * np.linalg.norm(s)) for Phi, s in zip(maps, sequence, strict=True)]


def described(found: Values) -> str:
    layers = sorted({one[3] + 1 for one in SETTINGS})
    return f"{len(found['model'])} models of {layers[0]} to {layers[-1]} layers, {SEQUENCES} sequences each, every t"


# One dimension, where the residual itself can be read


def points_of_spectrum(iteration: str, steps: int, seed: int) -> FloatArray:
    """The points where the bound is attained: m + 1 extremal points, or both ends; then 4 random ones."""
    m = steps + 1 if iteration == "chebyshev" else 1
    extremal = (LOW + HIGH) / 2 - (HIGH - LOW) / 2 * np.cos(np.pi * np.arange(m + 1) / m)
    inside = generator(f"mesa-preconditioning/{iteration}/{steps}", seed).uniform(LOW, HIGH, size=4)
    return np.concatenate([extremal, inside])


def scalar_task(formula: Made) -> Callable[[Budget], Task]:
    """Sequences (s_1, 1) of numbers with s_1^2 + 1/lambda = a for each point a of the spectrum."""

    def task(budget: Budget) -> Task:
        cases = []
        for iteration, steps in WORST:
            points = points_of_spectrum(iteration, steps, budget.seed)
            sequences = [[[float(np.sqrt(a - 1 / WEAK))], [1.0]] for a in points]
            omegas = iterations.step_sizes(iteration, steps, LOW, HIGH)
            model = theory.wiring(formula().parts, WEAK, list(omegas), 1, **{"lambda'": 1.7, "omega'": 0.3})
            cases.append({"sequence": sequences, "regulariser": WEAK, **model})
        return Task(MEASUREMENT, {"cases": cases, "stream_key": "not drawn"}, budget.device, cost=0.2)

    return task


def measured_residuals(found: Values, place: int) -> tuple[FloatArray, FloatArray]:
    """1 - model/least squares at t = 2, and a bound on its rounding.

    a itself is off by 4 eps, from its root and square: R moves by at most 4 eps a |R'|, and |R'| <= m sum |omega_j|
    times the largest |R| of a factor less, far below the rounding of the model, whose every step meets a.
    """
    model, exact = (np.array(found[name][place])[:, 1, 0] for name in ("model", "least_squares"))
    rounding = np.array(found["model_rounding"][place])[:, 1] + np.array(found["solve_rounding"][place])[:, 1]
    return 1 - model / exact, 4 * rounding / np.abs(exact)


def rows_at_extremal_points(budget: Budget, found: Values) -> list[Row]:
    del budget
    result = []
    for place, (iteration, steps) in enumerate(WORST):
        m = steps + 1 if iteration == "chebyshev" else 1
        rate = iterations.residual_bound(iteration, steps, LOW, HIGH)
        residuals, bounds = measured_residuals(found, place)
        signs = (-1.0) ** np.arange(m + 1) if iteration == "chebyshev" else np.array([1.0, (-1.0) ** (steps + 1)])
        predicted = signs * rate
        if iteration == "neumann":
            predicted = np.array([(1 - LOW) ** (steps + 1), (1 - HIGH) ** (steps + 1)])
        differences = np.abs(residuals[: m + 1] - predicted)
        result.append(max(zip(differences, bounds[: m + 1], strict=True), key=lambda row: row[0] / row[1]))
    return [(float(a), float(b)) for a, b in result]


def rows_inside(budget: Budget, found: Values) -> list[Row]:
    """How far a residual inside exceeds the bound: not at all, beyond rounding."""
    del budget
    result = []
    for place, (iteration, steps) in enumerate(WORST):
        rate = iterations.residual_bound(iteration, steps, LOW, HIGH)
        residuals, bounds = measured_residuals(found, place)
        excess = np.maximum(np.abs(residuals) - rate, 0)
        result += [(float(a), float(b)) for a, b in zip(excess, bounds, strict=True)]
    return result


def points_in_words(found: Values) -> str:
    return f"{sum(len(one) for one in found['model'])} points of [{LOW}, {HIGH}], {len(WORST)} models on numbers"


def points_of_checks(seed: int) -> list[dict[str, Any]]:
    """Letters with sequences of their own, to say how far an altered formula is from the original."""
    found = []
    for (_, n, length, _, _, energy), values in zip(SETTINGS, letters(seed), strict=True):
        draw = generator(f"mesa-preconditioning/sequence/{n}/{length}", seed).uniform(-1, 1, size=(length, n))
        found.append({**values, "sequence": draw * np.sqrt(energy / np.sum(draw**2))})
    return found


UNIT = "in units of the predictions' root mean square"


def preconditioning_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mesa-preconditioning",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck("model = derived predictions", models_task(theory.formula), rows_of_predictions(formula),
                       described, UNIT),
            ExactCheck("model = least squares, within the bound", models_task(formula), rows_of_least_squares,
                       described, UNIT, cost_of_alteration="measured anew"),
            ExactCheck("the bound attained", scalar_task(formula), rows_at_extremal_points, points_in_words,
                       "as a residual", cost_of_alteration="measured anew"),
            ExactCheck("the bound not passed", scalar_task(formula), rows_inside, points_in_words,
                       "as a residual", cost_of_alteration="measured anew"),
        ),
        "sequences s_{t+1} = W s_t + noise with random rotations W, n <= 4, T <= 8, scaled so that kappa <= 6; models "
        "of 15 to 41 layers, and of 2 to 8 on numbers with spectrum points in [0.5, 1.75]. The identities are proved "
        "for every sequence, the minimax property in words with exact points for m <= 3",
        (
            Alterable(
                theory.formula,
                theory.points,
                points_of_checks,
                lambda altered: preconditioning_claim(lambda: altered),
            ),
        ),
    )  # fmt: skip


# The printed recursion


def printed_task(budget: Budget) -> Task:
    """The printed recursion as layers: s_1 = s_2 = 1 and lambda = 2 at t = 2, where C p is the iterate itself."""
    del budget
    case = {"sequence": [[[1.0], [1.0]]], "regulariser": 2.0, **printed_iteration.wiring(printed_iteration.LAYERS)}
    return Task(MEASUREMENT, {"cases": [case], "stream_key": "not drawn"}, "cpu", cost=0.1)


def compare_with_printed(found: Values) -> tuple[float, float, float, bool]:
    """The last iterate beside the printed limit."""
    measured, allowed = found["model"][0][0][1][0], found["model_rounding"][0][0][1]
    printed = float(printed_iteration.printed_limit())
    return measured, printed, allowed, abs(measured - printed) <= allowed


AUDIT = Audit(
    printed=(
        "s^{K+1} = s^K + ((1 - 1/lambda) I - S S^T) s^K, starting from s^0 = s_t, tends to (S S^T + I/lambda)^{-1} s_t."
    ),
    reading=(
        "As a recursion for K = 0, 1, 2, ..., S holding the inputs seen. The text is quoted from our list of "
        "statements (v2, proof of Proposition 2); the paper itself was not at hand. A term s_t in the place of the "
        "first s^K on the right makes it the Neumann series: it reads like a slip of one index."
    ),
    counterexample=printed_iteration.counterexample,
    corrected="mesa-preconditioning",
    correction=(
        "s^{K+1} = s_t + ((1 - 1/lambda) I - S S^T) s^K tends to (S S^T + I/lambda)^{-1} s_t where the eigenvalues of "
        "S S^T + I/lambda are below 2; Richardson's iteration with omega = 2/(mu + M) and Chebyshev's steps do for all."
    ),
    survives=(
        "The proposition: layers of linear attention approximate the preconditioned query, and one more takes the "
        "gradient step."
    ),
)


def audit_claim() -> Claim:
    """The printed recursion at one point."""
    return Claim(
        "audit-mesa-richardson",
        printed_iteration.derivation,
        printed_iteration_parameters(),
        lambda parameters: printed_iteration.for_user(**parameters),
        (
            PrintedNumber(
                "limit of the printed recursion", printed_task, compare_with_printed,
                lambda found: f"{printed_iteration.LAYERS} layers of linear attention on s_1 = s_2 = 1, lambda = 2",
                "as the iterate",
            ),
        ),
        "one sequence of numbers, S S^T = 1, lambda = 2; no formula of its own is altered: those of "
        "mesa-preconditioning are",
        audit=AUDIT,
    )  # fmt: skip


def printed_iteration_parameters() -> tuple[Parameter, ...]:
    return (
        Parameter("moment", "S S^T, symmetric positive semi-definite (n x n)"),
        Parameter("regulariser", "lambda > 0"),
        Parameter("state", "s_t (n)"),
        Parameter("steps", "K, how often the recursions are applied", required=False, default=100),
    )


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed recursion that it corrects."""
    return preconditioning_claim(), audit_claim()
