r"""The verdict on weights that a user brings: distance, leak, excess risk, and which convention would fit.

Main statements
    agrees      |A - A*|_F <= r |A*|_F with A = u U + u12 u21^T and, for d > 1, |u12| |u21| <= r |A*|_F
    conventions a layer written in another convention computes the same map at other weights. For each
                convention below the weights that it would need are A* times a known factor (or the A* of
                scaled inputs), and the distance to that is reported. No scale is ever fitted.
What cannot be told from weights
    With u12 = u21 = 0 a query masked from keys and values gives the same map, and so does a loss without
    its 1/2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .parameters import UsageError, complete, holds_no_number
from .settings import FloatArray

if TYPE_CHECKING:
    from ...theory.one_layer.fixed_point import FixedPoint

CLAIM = "fixed-point"
NOT_IDENTIFIABLE = (
    "query masked from keys and values or not (same map at u12 = u21 = 0)",
    "factor 1/2 in the loss (same minimum)",
    "scale between W_PV and W_KQ (same map)",
)

NEAR = 0.25  # relative distance; weights further off than this are not explained by a convention


@dataclass(frozen=True)
class ConventionFit:
    """A convention, and how far the weights are from the fixed point written in it (relative to its size)."""

    convention: str
    distance: float


@dataclass(frozen=True)
class WeightsReport:
    """How given weights compare with the fixed point of a law.

    distance        |A - A*|_F / |A*|_F
    leak            |u12| |u21| / |A*|_F
    even_part       root mean square of the part of yhat that is even in the task, in units of that of the
                    predicted yhat; the rule of `agrees` does not see it, the excess risk does
    excess_risk     E (yhat - w.x_q)^2 minus its minimum;  minimal_risk: that minimum (both without the 1/2)
    better_fit      conventions under which the weights are much closer, and near; nearest first
    """

    outcome: str
    within: float
    dimension: int
    distance: float
    leak: float
    balance: float
    even_part: float
    excess_risk: float
    minimal_risk: float
    better_fit: tuple[ConventionFit, ...]
    preconditioner: list[list[float]]
    predicted: list[list[float]]

    @property
    def exit_status(self) -> int:
        return 0 if self.outcome == "agrees" else 1

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "claim": CLAIM,
            **asdict(self),
            "not_identifiable": list(NOT_IDENTIFIABLE),
            "exit_status": self.exit_status,
        }

    def __str__(self) -> str:
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
        lines += [
            f"closer under another convention: {fit.convention} (distance {fit.distance:.3g})"
            for fit in self.better_fit
        ]
        return "\n".join(lines)


def judge_weights(weights: Mapping[str, Any], parameters: Mapping[str, Any], *, within: float) -> WeightsReport:
    """Compare W_PV and W_KQ, both (d+1, d+1), with the fixed point for the law given by `parameters`.

    Raises AssumptionError, WeightsShapeError or UsageError, each a ValueError of one sentence.
    """
    from ...theory.one_layer.assumptions import real_array
    from ...theory.one_layer.fixed_point import fixed_point
    from .one_layer import LAW

    if not (np.isfinite(within) and within > 0):
        raise UsageError(f"--within needs a finite number above 0, got {within:g}; 0.05 allows 5 %")
    law = complete(CLAIM, LAW, parameters)
    found = fixed_point(**law)
    d = found.preconditioner.shape[0]
    arrays = {name: real_array(detached(weights[name]), name) for name in ("W_PV", "W_KQ")}
    judge_shapes(arrays, d)
    with np.errstate(all="ignore"):
        try:
            report = compared(arrays, law, found, within)
        except OverflowError:
            report = None
    if report is None or holds_no_number(asdict(report)):
        raise UsageError(
            "the weights' map or its risk leaves the range of double precision "
            f"(largest entry {largest(arrays):.3g}); take a checkpoint from before the training diverged"
        )
    return report


def compared(
    arrays: Mapping[str, FloatArray], law: Mapping[str, Any], found: FixedPoint, within: float
) -> WeightsReport:
    """The report on weights of the right shapes."""
    from ...numerics.one_layer import observables

    W_PV, W_KQ = arrays["W_PV"], arrays["W_KQ"]
    A, size = observables.effective_preconditioner(W_PV, W_KQ), float(np.linalg.norm(found.preconditioner))
    d = len(A)
    distance = float(np.linalg.norm(A - found.preconditioner)) / size
    leak = float(observables.leak(W_PV, W_KQ)) / size
    even = even_risk(arrays, law)
    total = float(np.trace(law_values(law)["Lambda"] @ law_values(law)["Psi"]))  # E (w.x_q)^2
    return WeightsReport(
        outcome="agrees" if distance <= within and (d == 1 or leak <= within) else "contradicts",
        within=within,
        dimension=d,
        distance=distance,
        leak=leak,
        balance=float(observables.balance(W_PV, W_KQ)),
        even_part=(even / (total - 2 * found.loss)) ** 0.5,
        excess_risk=excess_of(A - found.preconditioner, law) + even,
        minimal_risk=2 * found.loss,
        better_fit=better_conventions(A, found.preconditioner, law, distance),
        preconditioner=A.tolist(),
        predicted=found.preconditioner.tolist(),
    )


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


def even_risk(weights: Mapping[str, FloatArray], law: Mapping[str, Any]) -> float:
    """E (part of yhat that is even in the task)^2, from the exact loss on all parameters."""
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.population_loss import general_even_loss, numbers

    values = law_values(law)
    blocks = numbers(values["Lambda"], values["N"], (weights["W_PV"], weights["W_KQ"]))
    return max(0.0, 2 * float(evaluate(general_even_loss(), {**blocks, **values})))


def excess_of(displacement: FloatArray, law: Mapping[str, Any]) -> float:
    """tr(D^T M D Lambda) for D = A - A*: the excess risk of the odd part, by the completed square of fixed-point."""
    from ...theory.algebra.evaluation import evaluate
    from ...theory.one_layer.fixed_point import general_second_moment

    values = law_values(law)
    curvature = evaluate(general_second_moment(), values)
    return float(np.trace(displacement.T @ curvature @ displacement @ values["Lambda"]))


def better_conventions(
    A: FloatArray, predicted: FloatArray, law: Mapping[str, Any], distance: float
) -> tuple[ConventionFit, ...]:
    """The conventions that explain the weights, nearest first: at most half as far from the fixed point, and near."""
    fits = [
        ConventionFit(name, float(np.linalg.norm(A - needed) / np.linalg.norm(needed)))
        for name, needed in needed_preconditioners(predicted, law)
    ]
    better = [fit for fit in fits if fit.distance <= min(distance / 2, NEAR)]
    # Rounded, so that two that are the same for this law (no 1/N and 2 x at N = 4) come in the order above.
    return tuple(sorted(better, key=lambda fit: round(fit.distance, 9))[:3])


def needed_preconditioners(predicted: FloatArray, law: Mapping[str, Any]) -> Iterator[tuple[str, FloatArray]]:
    """Each convention with the A that a layer written in it needs to be the same fixed point."""
    from ...theory.one_layer.fixed_point import fixed_point

    N, d = int(law["context_length"]), predicted.shape[0]
    norms = {"1/N over the context": 1.0, "no 1/N": 1 / N, "1/(N+1) in place of 1/N": (N + 1) / N}
    signs = {"": 1.0, " and the opposite sign": -1.0}
    for norm, factor in norms.items():
        for sign, turn in signs.items():
            if factor * turn != 1.0:
                yield norm + sign, factor * turn * predicted
    scales = {"2 x": 2.0, "x / 2": 0.5, "sqrt(d) x": d**0.5, "x / sqrt(d)": d**-0.5}
    for name, scale in scales.items():
        if scale != 1.0:
            covariance = scale**2 * np.asarray(law["covariance"], dtype=float)
            yield f"trained on inputs {name}", fixed_point(**{**law, "covariance": covariance}).preconditioner
    yield "the inverse (Gamma itself called the preconditioner)", np.asarray(np.linalg.pinv(predicted))
