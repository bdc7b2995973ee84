r"""The claim mesa-layer: the real layer is regularised least squares at every t, with the derived gradients and limits.

Eight checks
    outputs at every t        the layer's plain forms in float64 against the derived weights, computed in rational
                              numbers for the very same inputs; what is left is the layer's own rounding, which is
                              bounded
    outputs in chunks         the same for the chunkwise form, whose bound goes by norms
    outputs, ill-conditioned  the plain forms at condition numbers up to 1e10, where float64 may leave two digits
    long sequences            up to 64 times, against the weights that `predict` gives
    gradients, and in chunks  through the direct solve by automatic differentiation, and those that the chunkwise form
                              computes itself, against the derived backward pass
    small lambda              (zeta_t0/lambda) o_t minus linear attention, against the derived remainder, in units of it
    the bound at small lambda no output is further from linear attention than the derived bound, and some come close to
    it
The audit puts the printed limit, linear attention without a factor, to the outputs at small lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.formulas import SingularSystemError
from ...theory.mesa_layer import backward_pass, mesa_layer, printed_limit, regulariser_limits
from ...theory.mesa_layer.key_value_sequences import KeyValueSequence
from ...theory.mesa_layer.verified_weights import decayed_sums, mesa_weights
from ..claims.alterable import Alterable
from ..claims.audit import Audit
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from ..claims.exact_checks import ExactCheck, PrintedNumber, Row
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from ..verdicts.verdict import Verdict, decide

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.mesa_layer.layer_measurements"
FormulaMaker = Callable[[], "Formula"]
Case = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """T, d, m, the power of two that lambda is, the least gate in sixteenths, and how close keys are to collinear."""

    times: int
    d: int
    m: int
    regulariser: int
    least_gate: int
    spread: int = 0


SHAPES: Mapping[str, tuple[Shape, ...]] = {
    "plain": (
        Shape(1, 1, 1, 0, 16), Shape(4, 1, 2, 2, 8), Shape(5, 2, 2, 0, 8), Shape(5, 3, 2, 6, 4), Shape(4, 3, 3, -10, 8),
        Shape(4, 4, 2, 6, 10, 4), Shape(4, 2, 2, 12, 14, 5),
    ),
    "ill-conditioned": (Shape(6, 3, 3, 26, 16, 7), Shape(5, 4, 2, 16, 15, 7), Shape(4, 2, 2, 32, 16, 10)),
    "long": (Shape(64, 4, 3, 2, 16), Shape(64, 3, 3, 4, 14), Shape(48, 6, 8, 0, 15), Shape(32, 2, 2, 8, 14, 7)),
    "gradients": (
        Shape(1, 1, 1, 0, 8), Shape(3, 2, 2, 0, 8), Shape(4, 1, 2, 3, 4), Shape(4, 3, 2, -2, 10), Shape(3, 3, 1, 2, 16),
    ),
    "small lambda": (
        Shape(4, 1, 1, -8, 16), Shape(4, 2, 2, -10, 8), Shape(5, 3, 2, -12, 12), Shape(4, 2, 1, -20, 14),
        Shape(4, 1, 2, -12, 4),
    ),
}  # fmt: skip


def case_of(name: str, shape: Shape, seed: int) -> Case:
    """Odd eighths in (-2, 2): the same floats on every machine, short rational numbers, and none of them zero.

    With `spread` s all components of the keys but the first are 2^-s times as large.
    """
    draw = generator(f"mesa layer/{name}/{shape}", seed)
    T, d, m = shape.times, shape.d, shape.m

    def eighths(size: int) -> FloatArray:
        found: FloatArray = (2 * draw.integers(-8, 8, size=(T, size)) + 1) / 8
        return found

    keys, values, queries, pulls = eighths(d), eighths(m), eighths(d), eighths(m)
    keys[:, 1:] *= 2.0**-shape.spread
    gates = draw.integers(shape.least_gate, 17, size=T) / 16
    return {
        "keys": keys.tolist(), "values": values.tolist(), "queries": queries.tolist(), "pulls": pulls.tolist(),
        "regulariser": 2.0**shape.regulariser, "forget": gates.tolist(),
    }  # fmt: skip


@cache
def cases_of(name: str, seed: int) -> list[Case]:
    """The sequences of a check, by the name of their shapes."""
    return [case_of(name, shape, seed) for shape in SHAPES[name]]


def columns(rows: list[list[float]]) -> tuple[Any, ...]:
    """Rows of floats as columns of exact rationals."""
    return tuple(np.array([[Fraction(entry)] for entry in row], dtype=object) for row in rows)


def sequence_of(case: Case) -> KeyValueSequence:
    """A case in rational numbers: floats are such."""
    gates = tuple(Fraction(gate) for gate in case["forget"])
    keys, values, queries = (columns(case[name]) for name in ("keys", "values", "queries"))
    return KeyValueSequence(keys, values, queries, gates, Fraction(case["regulariser"]))


def letters_of(name: str) -> Callable[[int], list[Mapping[str, Any]]]:
    """Where altered formulas are compared: the cases themselves."""
    return lambda seed: [
        {"sequence": sequence_of(case), "pulls": columns(case["pulls"])} for case in cases_of(name, seed)
    ]


def task_of(measurement: str, name: str, **further: Any) -> Callable[[Budget], Task]:
    """A measurement on the cases of that name."""
    return lambda budget: Task(
        f"{MEASUREMENTS}:{measurement}", {"cases": cases_of(name, budget.seed), **further}, budget.device, cost=0.2
    )


PLAIN_FORMS = ("direct solve", "recursion")


def outputs_task(name: str, forms: tuple[str, ...]) -> Callable[[Budget], Task]:
    """The layer's outputs by these forms on the cases of that name."""
    return task_of("layer_outputs", name, forms=list(forms))


def in_floats(exact: Any) -> FloatArray:
    """Exact numbers rounded to float64. Raises SingularSystemError beyond its range."""
    try:
        return np.asarray(exact, dtype=float)
    except OverflowError:
        raise SingularSystemError("need numbers within the range of float64, got larger ones") from None


# Outputs


@lru_cache(maxsize=16)
def derived_outputs(formula: FormulaMaker, name: str, seed: int) -> list[FloatArray]:
    """Phi_t q_t of a formula for the weights, (T, m) for each case; kept, for altered gradients do not change them."""
    found = []
    for case in cases_of(name, seed):
        sequence = sequence_of(case)
        pairs = zip(formula().value({"sequence": sequence}), sequence.queries, strict=True)
        found.append(in_floats([(Phi @ query)[:, 0] for Phi, query in pairs]))
    return found


@cache
def verified_outputs(name: str, seed: int) -> list[FloatArray]:
    """Phi_t q_t of the verified weights, (T, m) for each case."""
    found = []
    for case in cases_of(name, seed):
        weights = mesa_weights(case["keys"], case["values"], case["regulariser"], case["forget"])
        found.append(np.einsum("tmd,td->tm", weights, np.array(case["queries"])))
    return found


Outputs = Callable[[str, int], list[FloatArray]]


def rows_of_outputs(outputs: Outputs, name: str) -> Callable[[Budget, Values], list[Row]]:
    """Per case and form: relative difference over all t, and what rounding allows."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for derived, measured, rounding in zip(
            outputs(name, budget.seed), found["outputs"], found["rounding"], strict=True
        ):
            result += [relative_row(np.array(measured[form]), derived, np.array(rounding[form])) for form in measured]
        return result

    return rows


def relative_row(measured: FloatArray, derived: FloatArray, rounding: FloatArray) -> Row:
    """(|measured - derived|, allowed) in units of |measured|, over all entries; altered numbers may be out of range."""
    size = float(np.linalg.norm(measured))
    # The derived numbers are rounded once, and applied to the query in at most d + 1 roundings.
    allowed = float(np.linalg.norm(rounding)) / size + 100 * float(np.finfo(float).eps)
    return float(np.linalg.norm(measured - derived)) / size, allowed


def ran_outputs(found: Values) -> str:
    """What was run, in words."""
    forms = list(found["outputs"][0])
    times = sum(len(next(iter(one.values()))) for one in found["outputs"])
    return f"{times} outputs by {', '.join(forms)}, condition numbers up to {max(found['condition']):.0e}"


# Gradients


@lru_cache(maxsize=4)
def derived_gradients(formula: FormulaMaker, seed: int) -> list[dict[str, FloatArray]]:
    """For each case the gradients by input, read off the one row of the formula."""
    return [split_row(formula().value(letters), case) for letters, case in gradient_letters(seed)]


@cache
def gradient_letters(seed: int) -> list[tuple[Mapping[str, Any], Case]]:
    """Sequences with pulls, each with its case."""
    return list(zip(letters_of("gradients")(seed), cases_of("gradients", seed), strict=True))


def split_row(row: Any, case: Case) -> dict[str, FloatArray]:
    """One row of gradients, by input."""
    floats, found, start = in_floats(row), {}, 0
    for name in ("keys", "values", "queries", "forget", "regulariser"):
        shape = np.shape(case[name])
        size = int(np.prod(shape))
        found[name], start = floats[start : start + size].reshape(shape), start + size
    return found


def rows_of_gradients(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Per case and input: relative difference, and what rounding allows."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for derived, measured, rounding in zip(
            derived_gradients(formula, budget.seed), found["gradients"], found["rounding"], strict=True
        ):
            for form, slopes in measured.items():
                result += [relative_row(np.array(slopes[n]), derived[n], np.array(rounding[form][n])) for n in slopes]
        return result

    return rows


def ran_gradients(found: Values) -> str:
    """What was run, in words."""
    forms = ", ".join(found["gradients"][0])
    return f"gradients in keys, values, queries, gates and lambda of {len(found['gradients'])} sequences by {forms}"


# Small lambda


@dataclass(frozen=True)
class Rescaled:
    """(zeta_t0/lambda) o_t minus linear attention (T, m), its rounding, and the size of linear attention's terms."""

    distance: FloatArray
    rounding: FloatArray


def rescaled(case: Case, found: Values, place: int) -> Rescaled:
    """Measured, by the direct solve."""
    scale = np.cumprod(case["forget"])[:, None] / case["regulariser"]
    outputs, rounding = (np.array(found[name][place]["direct solve"]) for name in ("outputs", "rounding"))
    linear = np.array(found["linear_attention"][place])
    # linear attention: 2 t + d + 2 roundings of a sum whose terms the bound on o_t has as well, times R ~ c there
    return Rescaled(scale * outputs - linear, scale * rounding * 2 + 4 * float(np.finfo(float).eps) * abs(linear))


def rows_of_remainder(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Per case: the difference from the derived remainder, in units of what is measured of it."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for place, case in enumerate(cases_of("small lambda", budget.seed)):
            one = rescaled(case, found, place)
            derived = in_floats(formula().value({"sequence": sequence_of(case)}))
            result.append(relative_row(one.distance, derived, one.rounding))
        return result

    return rows


@dataclass(frozen=True)
class BoundAtSmallLambda:
    """|(zeta_t0/lambda) o_t - B_t q_t| in units of (lambda/zeta_t0) |B_t S_t| |q_t|: never above 1, and close to it."""

    resolution: float = 0.05
    cost_of_alteration: AlterationCost = "exact"
    name: str = "the bound at small lambda"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [outputs_task("small lambda", ("direct solve",))(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        ratios = [
            pair
            for place, case in enumerate(cases_of("small lambda", budget.seed))
            for pair in self.ratios(case, found, place)
        ]
        measured, rounding = max(ratios)
        gap = max(1 - measured, 0.0) + 2 * rounding
        return Verdict(
            self.name, decide(all(ratio <= 1 + off for ratio, off in ratios), gap, self.resolution), measured, 1.0,
            rounding, gap, "of the bound, at most", 0.0, 0.0,
            f"{len(ratios)} outputs of {len(SHAPES['small lambda'])} sequences", {},
        )  # fmt: skip

    def ratios(self, case: Case, found: Values, place: int) -> list[tuple[float, float]]:
        """(ratio, its rounding) for every t."""
        sequence, one = sequence_of(case), rescaled(case, found, place)
        result = []
        for t, query in enumerate(sequence.queries, start=1):
            letters = regulariser_limits.letters_at(sequence, t)
            bound = float(letters["c"]) * float(
                np.linalg.norm(in_floats(letters["B"] @ letters["S"])) * np.linalg.norm(in_floats(query))
            )
            if bound:  # the values of short sequences may cancel: then the layer is linear attention, both 0
                distance, rounding = (float(np.linalg.norm(part[t - 1])) for part in (one.distance, one.rounding))
                result.append((distance / bound, rounding / bound))
        return result


# The claim


PARAMETERS = (
    Parameter("keys", "k_1 .. k_T, one per row (T x d)"),
    Parameter("values", "v_1 .. v_T, one per row (T x m)"),
    Parameter("regulariser", "lambda > 0: the regulariser is zeta_t0/(2 lambda) |Phi|^2"),
    Parameter("forget", "gates gamma_t in (0, 1] (T), or one number for all", False, 1.0),
)


def predict_weights(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"weights": mesa_weights(**parameters).tolist()}


def mesa_layer_claim(
    weights: FormulaMaker = mesa_layer.recursion,
    gradients: FormulaMaker = backward_pass.formula,
    remainder: FormulaMaker = regulariser_limits.formula,
) -> Claim:
    """The formulas can be altered, to see the same checks refuse other layers."""

    def outputs(name: str, seed: int) -> list[FloatArray]:
        return derived_outputs(weights, name, seed)

    return Claim(
        "mesa-layer",
        mesa_layer.derivation,
        PARAMETERS,
        predict_weights,
        (
            ExactCheck(
                "outputs at every t", outputs_task("plain", PLAIN_FORMS), rows_of_outputs(outputs, "plain"),
                ran_outputs, "as a relative difference",
            ),
            ExactCheck(
                "outputs in chunks", outputs_task("plain", ("chunks",)), rows_of_outputs(outputs, "plain"), ran_outputs,
                "as a relative difference", resolution=1e-3,
            ),
            ExactCheck(
                "outputs, ill-conditioned", outputs_task("ill-conditioned", PLAIN_FORMS),
                rows_of_outputs(outputs, "ill-conditioned"),
                ran_outputs, "as a relative difference", resolution=0.05,
            ),
            ExactCheck(
                "long sequences", outputs_task("long", (*PLAIN_FORMS, "chunks")),
                rows_of_outputs(verified_outputs, "long"),
                ran_outputs, "as a relative difference", resolution=1e-5,
            ),
            ExactCheck(
                "gradients", task_of("layer_gradients", "gradients", forms=["direct solve"]),
                rows_of_gradients(gradients), ran_gradients, "as a relative difference",
            ),
            ExactCheck(
                "gradients in chunks", task_of("layer_gradients", "gradients", forms=["chunks"]),
                rows_of_gradients(gradients), ran_gradients, "as a relative difference", resolution=0.01,
            ),
            ExactCheck(
                "small lambda", outputs_task("small lambda", ("direct solve",)), rows_of_remainder(remainder),
                ran_outputs,
                "in units of the distance of (zeta_t0/lambda) o_t from linear attention",
            ),
            BoundAtSmallLambda(),
        ),
        "sequences of T <= 5 random pairs against weights in rational numbers (d <= 4, m <= 3, lambda from 2^-10 to "
        "2^12, gates from 1/4 to 1, condition numbers up to some 1e4; apart from these, up to some 1e10); T <= 64 and "
        "d <= 6 against verified weights; gradients at T <= 4, lambda from 1/4 to 8; small lambda from 2^-8 to 2^-20",
        (
            Alterable(
                mesa_layer.recursion, mesa_layer.points, letters_of("plain"),
                lambda altered: mesa_layer_claim(weights=lambda: altered), most=24,
            ),
            Alterable(
                mesa_layer.direct_sums, mesa_layer.points, letters_of("plain"),
                lambda altered: mesa_layer_claim(weights=lambda: altered), most=16,
            ),
            Alterable(
                backward_pass.formula, backward_pass.points, letters_of("gradients"),
                lambda altered: mesa_layer_claim(gradients=lambda: altered), most=24,
            ),
            Alterable(
                regulariser_limits.formula, regulariser_limits.points, letters_of("small lambda"),
                lambda altered: mesa_layer_claim(remainder=lambda: altered),
            ),
        ),
    )  # fmt: skip


# The printed limit


ONE_PAIR: Case = {
    "keys": [[1.0]], "values": [[1.0]], "queries": [[1.0]], "forget": [1.0], "regulariser": float(printed_limit.SMALL),
}  # fmt: skip


def counterexample_task(budget: Budget) -> Task:
    parameters = {"cases": [ONE_PAIR], "forms": ["direct solve"]}
    return Task(f"{MEASUREMENTS}:layer_outputs", parameters, budget.device, cost=0.02)


def compare_with_printed(found: Values) -> tuple[float, float, float, bool]:
    """The output at lambda = 2^-20 beside linear attention; allowed is how far the rescaled output is from it there."""
    printed = float(printed_limit.printed_at(printed_limit.one_pair(printed_limit.SMALL))[0, 0])
    measured = found["outputs"][0]["direct solve"][0][0]
    letters = regulariser_limits.letters_at(printed_limit.one_pair(printed_limit.SMALL), 1)
    allowed = float(abs(letters["c"] * letters["B"] @ letters["S"])[0, 0]) + found["rounding"][0]["direct solve"][0][0]
    return measured, printed, allowed, abs(measured - printed) <= allowed


AUDIT = Audit(
    printed="As lambda -> 0 the mesa layer turns into linear attention.",
    reading=(
        "The layer is its output Phi_t q_t, with R_0 = lambda I, and linear attention is sum_i zeta_ti v_i (k_i.q_t). "
        "The text of the paper was not at hand when this page was written."
    ),
    counterexample=printed_limit.counterexample,
    corrected="mesa-layer",
    correction=(
        "The output goes to 0 with lambda, |o_t| <= (lambda/zeta_t0) |B_t| |q_t|; it is (zeta_t0/lambda) o_t that goes "
        "to linear attention, and is never further from it than (lambda/zeta_t0) |B_t S_t| |q_t|."
    ),
    survives=(
        "The direction: at small lambda the layer computes linear attention up to a factor, which without forgetting "
        "is the constant lambda and can be taken up by the projection behind the layer. With forgetting the factor "
        "lambda/zeta_t0 grows with t."
    ),
)


def audit_claim() -> Claim:
    """The printed limit at one pair."""
    return Claim(
        "audit-mesa-limit",
        printed_limit.refutation,
        PARAMETERS,
        predict_limits,
        (
            PrintedNumber(
                "output at lambda = 2^-20", counterexample_task, compare_with_printed,
                lambda found: "1 pair, T = d = 1", "as the output",
            ),
        ),
        "one pair; no formula of its own is altered: those of mesa-layer are",
        audit=AUDIT,
    )  # fmt: skip


def predict_limits(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The layer's weights beside those of linear attention, both (T, m, d)."""
    return {"printed": decayed_sums(**parameters).tolist(), "weights": mesa_weights(**parameters).tolist()}


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed statement that it corrects."""
    return mesa_layer_claim(), audit_claim()
