r"""The verdict on weights that a user brings: distance, leak, excess risk, and which convention would fit.

Main statements
    agrees      |A - A*|_F <= r |A*|_F with A = u U + u12 u21^T and, for d > 1, |u12| |u21| <= r |A*|_F, in the
                convention that the user states (ours if none): normalisation, sign and transposes carry the weights to
                ours, the query mask decides which even part they have, and a scale of the inputs goes to the law
    mismatch    the same rule is applied under every other convention of a fixed list. Where the weights fail as stated
                and match there, the verdict stays "contradicts" and names it, with both distances. No scale is fitted
    factor      where no convention of the list matches and A = c A* up to r, the report says so, with c
    blind spots conventions under which weights that agree would agree as well are listed
What cannot be told from weights
    What leaves the map unchanged: `unidentifiable`, decided by exact comparison of the weights given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .parameters import UsageError, complete, holds_no_number
from .settings import FloatArray

if TYPE_CHECKING:
    from ...numerics.users_models.conventions import Convention
    from ...theory.one_layer.fixed_point import FixedPoint

CLAIM = "fixed-point"
MASK = "query masked from keys and values or not"
TRANSPOSED = {"score": "W_KQ transposed", "tokens": "W_PV transposed"}

NEAR = 0.25  # relative distance; weights further off than this are not explained by a convention


@dataclass(frozen=True)
class ConventionFit:
    """A convention, how far the weights are from the fixed point read in it (relative to its size), and whether they
    would agree there at the allowed distance."""

    convention: str
    distance: float
    matches: bool


@dataclass(frozen=True)
class WeightsReport:
    """How given weights compare with the fixed point of a law.

    convention      the stated one, in words
    distance        |A - A*|_F / |A*|_F
    leak            |u12| |u21| / |A*|_F
    even_part       root mean square of the part of yhat that is even in the task, in units of that of the
                    predicted yhat; the rule of `agrees` does not see it, the excess risk does
    excess_risk     E (yhat - w.x_q)^2 minus its minimum;  minimal_risk: that minimum (both without the 1/2)
    better_fit      of weights that contradict: conventions under which they match, or are much closer and near
    also_agree      of weights that agree: other conventions under which they would agree as well
    wrong_factor    c where A = c A* up to the allowed distance and no convention matches; else None
    not_identifiable  what no check of these weights can tell, since it leaves the map or the minimum unchanged
    preconditioner, predicted   A and A*, of our convention
    """

    outcome: str
    within: float
    dimension: int
    convention: str
    distance: float
    leak: float
    balance: float
    even_part: float
    excess_risk: float
    minimal_risk: float
    better_fit: tuple[ConventionFit, ...]
    also_agree: tuple[ConventionFit, ...]
    wrong_factor: float | None
    not_identifiable: tuple[str, ...]
    preconditioner: list[list[float]]
    predicted: list[list[float]]

    @property
    def exit_status(self) -> int:
        return 0 if self.outcome == "agrees" else 1

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {"claim": CLAIM, **asdict(self), "exit_status": self.exit_status}

    def __str__(self) -> str:
        return "\n".join([*self.verdict_lines(), *self.convention_lines()])

    def verdict_lines(self) -> list[str]:
        """The verdict, and what its rule does not see."""
        verb = "agrees with" if self.outcome == "agrees" else "contradicts"
        lines = [
            f"{CLAIM}: the weights' preconditioner {verb} the prediction: "
            f"|A - A*|_F = {self.distance:.3g} |A*|_F, allowed {self.within:g}",
            f"leak |u12| |u21| = {self.leak:.3g} |A*|_F"
            + (", allowed the same" if self.dimension > 1 else " (part of A for d = 1)"),
            f"excess risk {self.excess_risk:.4g} over the minimal risk {self.minimal_risk:.4g}",
        ]
        if self.even_part > self.within:
            lines.append(
                "WARNING: this is another function: u12 and u21 add a part that is even in the task, "
                f"{self.even_part:.3g} of the predicted output in root mean square, which distance and leak do not "
                "see; set them to 0, or go by the excess risk"
            )
        return lines

    def convention_lines(self) -> list[str]:
        """The convention that was stated, those that would fit, and what cannot be told."""
        lines = [f"read in the convention: {self.convention}"]
        for fit in self.better_fit:
            where = f"(distance {fit.distance:.3g} there, {self.distance:.3g} as stated)"
            verb = "your weights match under" if fit.matches else "your weights are closer, and no match, under"
            lines.append(f"{verb} '{fit.convention}' {where}")
        if self.wrong_factor is not None:
            lines.append(
                f"a wrong overall factor: your weights are {self.wrong_factor:.4g} times the prediction, and no "
                "convention of the list explains that"
            )
        if self.also_agree:
            others = ", ".join(f"'{fit.convention}' ({fit.distance:.3g})" for fit in self.also_agree)
            lines.append(f"not told apart at {self.within:g}, would agree as well: {others}")
        return [*lines, f"not identifiable from weights: {'; '.join(self.not_identifiable)}"]

    def _repr_html_(self) -> str:
        from ..notebooks import verdict_html

        return verdict_html(f"{CLAIM}: your weights", self.outcome, str(self))

    def _repr_markdown_(self) -> str:
        from ..notebooks import verdict_markdown

        return verdict_markdown(f"{CLAIM}: your weights", self.outcome, str(self))


def judge_weights(
    weights: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    within: float,
    convention: Convention | str = "iclcheck",
) -> WeightsReport:
    """Compare W_PV and W_KQ, both (d+1, d+1), with the fixed point for the law given by `parameters`.

    The weights are read in `convention`. Raises AssumptionError, WeightsShapeError, ConventionError or UsageError, each
    a ValueError of one sentence.
    """
    from ...theory.one_layer.assumptions import real_array
    from ...theory.one_layer.fixed_point import fixed_point
    from .one_layer import LAW

    if not (np.isfinite(within) and within > 0):
        raise UsageError(f"--within needs a finite number above 0, got {within:g}; 0.05 allows 5 %")
    stated = convention_of(convention)
    law = scaled_law(complete(CLAIM, LAW, parameters), stated.input_scale)
    found = fixed_point(**law)
    d = found.preconditioner.shape[0]
    arrays = {name: real_array(detached(weights[name]), name) for name in ("W_PV", "W_KQ")}
    judge_shapes(arrays, d)
    with np.errstate(all="ignore"):
        try:
            report = compared(arrays, law, found, within, stated)
        except OverflowError:
            report = None
    if report is None or holds_no_number(asdict(report)):
        raise UsageError(
            "the weights' map or its risk leaves the range of double precision "
            f"(largest entry {largest(arrays):.3g}); take a checkpoint from before the training diverged"
        )
    return report


def convention_of(given: Convention | str) -> Convention:
    """A convention, or the one that its name says. Raises ConventionError."""
    from ...numerics.users_models.conventions import Convention, named_convention

    return given if isinstance(given, Convention) else named_convention(str(given))


def scaled_law(law: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """The law of c x; the law itself, untouched, for c = 1."""
    if scale == 1:
        return dict(law)
    from ...theory.one_layer.assumptions import real_array

    return {**law, "covariance": scale**2 * real_array(law["covariance"], "covariance")}


def compared(
    given: Mapping[str, FloatArray], law: Mapping[str, Any], found: FixedPoint, within: float, stated: Convention
) -> WeightsReport:
    """The report on weights of the right shapes."""
    from ...numerics.one_layer import observables

    readings = Readings(given, law, within, stated)
    W_PV, W_KQ = arrays = stated.canonical(given["W_PV"], given["W_KQ"], law["context_length"])
    A, d = observables.effective_preconditioner(W_PV, W_KQ), len(found.preconditioner)
    own = readings.fit("", arrays, found.preconditioner)
    others = sorted(readings.others(found.preconditioner), key=lambda fit: round(fit.distance, 9))
    # Rounded, so that two that are the same for this law (no 1/N and 2 x at N = 4) come in their own order.
    better = [fit for fit in others if fit.matches or fit.distance <= min(own.distance / 2, NEAR)]
    even = even_risk({"W_PV": W_PV, "W_KQ": W_KQ}, law, stated)
    values = law_values(law)
    total = float(np.trace(values["Lambda"] @ values["Psi"]))  # E (w.x_q)^2
    return WeightsReport(
        outcome="agrees" if own.matches else "contradicts",
        within=within,
        dimension=d,
        convention=str(stated),
        distance=own.distance,
        leak=float(observables.leak(W_PV, W_KQ)) / norm(found.preconditioner),
        balance=float(observables.balance(W_PV, W_KQ)),
        even_part=(even / (total - 2 * found.loss)) ** 0.5,
        excess_risk=excess_of(A - found.preconditioner, law) + even,
        minimal_risk=2 * found.loss,
        better_fit=() if own.matches else tuple(better[:3]),
        also_agree=tuple(fit for fit in others if fit.matches) if own.matches else (),
        wrong_factor=None if own.matches or any(fit.matches for fit in better) else factor_of(A, found, within),
        not_identifiable=tuple(unidentifiable(given, stated, law["context_length"])),
        preconditioner=A.tolist(),
        predicted=found.preconditioner.tolist(),
    )


def norm(matrix: FloatArray) -> float:
    return float(np.linalg.norm(matrix))


def factor_of(A: FloatArray, found: FixedPoint, within: float) -> float | None:
    """c with |A - c A*| <= r |c A*|, by projection; None where there is none. Named only, never part of a verdict."""
    predicted = found.preconditioner
    c = float(np.vdot(A, predicted) / np.vdot(predicted, predicted))
    return c if c != 0 and norm(A - c * predicted) <= within * abs(c) * norm(predicted) else None


@dataclass(frozen=True)
class Readings:
    """Weights as they were given, and what they are in other conventions than the stated one."""

    given: Mapping[str, FloatArray]
    law: Mapping[str, Any]
    within: float
    stated: Convention

    def fit(self, name: str, weights: tuple[FloatArray, FloatArray], predicted: FloatArray) -> ConventionFit:
        """The rule of `agrees` on weights of our convention."""
        from ...numerics.one_layer import observables

        A, size = observables.effective_preconditioner(*weights), norm(predicted)
        distance = norm(A - predicted) / size
        leaks = len(A) > 1 and float(observables.leak(*weights)) > self.within * size
        return ConventionFit(name, distance, bool(distance <= self.within and not leaks))

    def canonical(self, convention: Convention) -> tuple[FloatArray, FloatArray]:
        return convention.canonical(self.given["W_PV"], self.given["W_KQ"], self.law["context_length"])

    def others(self, predicted: FloatArray) -> Iterator[ConventionFit]:
        """Every other convention of the list that changes the map."""
        yield from self.other_factors(predicted)
        yield from self.other_sides(predicted)
        for name, needed in other_laws(self.law, self.stated):
            yield self.fit(name, self.canonical(self.stated), needed)
        inverse = "the inverse (Gamma itself called the preconditioner)"
        yield self.fit(inverse, self.canonical(self.stated), np.asarray(np.linalg.pinv(predicted)))

    def other_factors(self, predicted: FloatArray) -> Iterator[ConventionFit]:
        """The three normalisations with either sign."""
        from ...numerics.users_models.conventions import NORMS

        for normalisation, name in NORMS.items():
            for sign, turned in ((self.stated.sign, ""), (-self.stated.sign, " and the opposite sign")):
                other = replace(self.stated, normalisation=normalisation, sign=sign)
                if other != self.stated:
                    yield self.fit(name + turned, self.canonical(other), predicted)

    def other_sides(self, predicted: FloatArray) -> Iterator[ConventionFit]:
        """Transposed matrices, where that changes the blocks that enter a prediction."""
        for fields in (("score",), ("tokens",), ("score", "tokens")):
            other = transposed(self.stated, *fields)
            if not same_blocks(self.canonical(other), self.canonical(self.stated)):
                name = " and ".join(TRANSPOSED[field] for field in fields)
                yield self.fit(name, self.canonical(other), predicted)


def transposed(convention: Convention, *fields: str) -> Convention:
    """The convention with the other side in these fields."""
    sides = {"keys first": "queries first", "queries first": "keys first", "columns": "rows", "rows": "columns"}
    turned: dict[str, Any] = {field: sides[getattr(convention, field)] for field in fields}
    return replace(convention, **turned)


def same_blocks(first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]) -> bool:
    """Whether the last rows of W_PV and the first d columns of W_KQ are equal, exactly."""
    return bool(np.array_equal(first[0][-1], second[0][-1]) and np.array_equal(first[1][:, :-1], second[1][:, :-1]))


def unidentifiable(given: Mapping[str, FloatArray], stated: Convention, context_length: float) -> Iterator[str]:
    """What leaves the map of these weights, or the minimum, unchanged; decided exactly, without a tolerance."""
    W_PV, W_KQ = own = stated.canonical(given["W_PV"], given["W_KQ"], context_length)
    if mask_is_idle(W_PV, W_KQ):
        yield f"{MASK} (same map)"
    else:
        yield f"{MASK} (no part of the weights; as u12 is not 0 it changes the map, judged as {stated.query})"
    yield "factor 1/2 in the loss (same minimum)"
    yield "scale between W_PV and W_KQ (same map)"
    for field, name in TRANSPOSED.items():
        if same_blocks(transposed(stated, field).canonical(given["W_PV"], given["W_KQ"], context_length), own):
            yield f"{name} or not (same blocks)"


def mask_is_idle(W_PV: FloatArray, W_KQ: FloatArray) -> bool:
    """Whether the query's own column adds nothing: (u12.x)(x^T U x) is 0 for all x iff one factor is."""
    U = W_KQ[:-1, :-1]
    return not W_PV[-1, :-1].any() or not (U + U.T).any()


def detached(weights: Any) -> Any:
    """A torch tensor, on any device and with or without a gradient, as a NumPy array; all else as it is."""
    return weights.detach().cpu().double().numpy() if hasattr(weights, "detach") else weights


def largest(arrays: Mapping[str, FloatArray]) -> float:
    return max(float(np.abs(array).max()) for array in arrays.values())


def judge_shapes(weights: Mapping[str, FloatArray], dimension: int) -> None:
    """Refuse weights of another dimension, with the mend."""
    from ...numerics.users_models.blocks import split_weights

    split_weights(weights, dimension)


def law_values(law: Mapping[str, Any]) -> dict[str, Any]:
    """Lambda, Psi, N and sigma^2 of a law, by their letters."""
    covariance, task = np.asarray(law["covariance"], dtype=float), law["task_covariance"]
    return {
        "Lambda": covariance,
        "Psi": np.eye(len(covariance)) if task is None else np.asarray(task, dtype=float),
        "N": float(law["context_length"]),
        "sigma2": float(law["noise_variance"]),
    }


def even_risk(weights: Mapping[str, FloatArray], law: Mapping[str, Any], stated: Convention) -> float:
    """E (part of yhat that is even in the task)^2, from the exact loss on all parameters, with or without the query."""
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.masked_query import masked_even_loss
    from ...theory.one_layer.population_loss import general_even_loss, numbers

    values = law_values(law)
    blocks = numbers(values["Lambda"], values["N"], (weights["W_PV"], weights["W_KQ"]))
    loss = masked_even_loss() if stated.query == "masked" else general_even_loss()
    return max(0.0, 2 * float(evaluate(loss, {**blocks, **values})))


def excess_of(displacement: FloatArray, law: Mapping[str, Any]) -> float:
    """tr(D^T M D Lambda) for D = A - A*: the excess risk of the odd part, by the completed square of fixed-point."""
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.fixed_point import general_second_moment

    values = law_values(law)
    curvature = evaluate(general_second_moment(), values)
    return float(np.trace(displacement.T @ curvature @ displacement @ values["Lambda"]))


def other_laws(law: Mapping[str, Any], stated: Convention) -> Iterator[tuple[str, FloatArray]]:
    """Other laws of the inputs with the A* that weights trained on them have; `law` is that of the stated scale."""
    from ...theory.one_layer.fixed_point import fixed_point

    d = len(law_values(law)["Lambda"])
    scales = {"2 x": 2.0, "x / 2": 0.5, "sqrt(d) x": d**0.5, "x / sqrt(d)": d**-0.5, "x": 1.0}
    for name, scale in scales.items():
        if scale != stated.input_scale and (scale != 1.0 or name == "x"):
            other = scaled_law(law, scale / stated.input_scale)
            yield f"trained on inputs {name}", fixed_point(**other).preconditioner
    gain = uniform_gain(law)
    if gain is not None:
        yield "trained on x uniform in a cube, with the same covariance", gain * np.eye(d)


def uniform_gain(law: Mapping[str, Any]) -> float | None:
    """The learning rate for x ~ U(-a, a)^d where the law is of that covariance, a^2/3 I, with tasks N(0, I) and no
    noise; None elsewhere."""
    from ...theory.one_layer.uniform_covariates import learning_rate_and_risk

    values = law_values(law)
    Lambda, d = values["Lambda"], len(values["Lambda"])
    isotropic = np.array_equal(Lambda, Lambda[0, 0] * np.eye(d)) and np.array_equal(values["Psi"], np.eye(d))
    if not isotropic or values["sigma2"] != 0:
        return None
    eta, _ = learning_rate_and_risk(d, law["context_length"], float((3 * Lambda[0, 0]) ** 0.5))
    return eta
