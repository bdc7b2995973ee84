r"""Covariates with independent components that need not be Gaussian: the moments of s, component by component.

Main statements
    Given w, s = (1/N) sum y_i x_i is a mean of N independent terms, so with t = 1/N
    M = E s s^T = t E y^2 x x^T + (1 - t) E_w (E[y x | w] E[y x | w]^T),     C = E s w^T = E_w (E[y x | w] w^T),
    y = w.x + eps, w ~ N(0, I); the query is independent of the rest and enters by its covariance Lambda alone:
    1/2 E (s^T A x_q - w.x_q)^2 = 1/2 (tr(A^T M A Lambda) - 2 tr(A^T C Lambda) + tr Lambda).
    coordinates     If every term of both sides of an identity has at most r different coordinates as indices, and the
                    identity holds for d = r with symbols as entries, it holds for every d.
    Proof. A term of the difference that does not cancel has at most r coordinates. Set the entries of all others to
    zero: both sides become what they are in dimension r, where the difference is zero. []
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .expressions import Expression
from .gaussian_means import gaussian_mean, mean_by_moments
from .identities import COMPONENTS, refuse_unless_zero
from .layer import dot
from .matrices import Matrix
from .points import Kind, Point, make_point
from .refusals import UnreadableError

LAW: dict[str, Kind] = {"Lambda": "diagonal", "kappa": "scalar", "sigma2": "scalar", "1/N": "scalar"}
VARIABLES: dict[str, Kind] = {"w": "vector", "x": "vector"}
DIAGONAL = frozenset({"Lambda"})
COORDINATES = 3  # of tr(A^T M A Lambda): two of A, and the one that y^2 sums over


def second_moment(point: Point) -> Matrix:
    """M, with fourth moments (3 + kappa) Lambda_aa^2 of the components."""
    x, w, t, one = point["x"], point["w"], point["1/N"], point.one
    square = over_task(point, dot(w, x) ** 2) + point["sigma2"]
    pull = point["Lambda"] @ w  # E[y x | w]

    def entry(a: int, b: int) -> Any:
        one_sample = over_covariates(point, square * x[a, 0] * x[b, 0])
        return t * one_sample + (one - t) * over_task(point, pull[a, 0] * pull[b, 0])

    return Matrix.build(point.dimension, point.dimension, entry)


def cross_moment(point: Point) -> Matrix:
    """C."""
    pull, w, d = point["Lambda"] @ point["w"], point["w"], point.dimension
    return Matrix.build(d, d, lambda a, b: over_task(point, pull[a, 0] * w[b, 0]))


def over_task(point: Point, polynomial: Any) -> Any:
    """E over w ~ N(0, I)."""
    return gaussian_mean(polynomial, point.numbers["w"], point["I"])


def over_covariates(point: Point, polynomial: Any) -> Any:
    """E over x with independent components."""
    Lambda, one = point["Lambda"], point.one

    def moments(a: int) -> dict[int, Any]:
        variance = Lambda[a, a]
        return {2: variance, 4: variance**2 * (one * 3 + point["kappa"])}

    return mean_by_moments(polynomial, {k: moments(a) for a, k in enumerate(point.numbers["x"])})


def reduced_loss(point: Point, A: Matrix) -> Any:
    """1/2 E (s^T A x_q - w.x_q)^2."""
    import flint

    Lambda = point["Lambda"]
    quadratic = (A.T @ second_moment(point) @ A @ Lambda).trace()
    linear = (A.T @ cross_moment(point) @ Lambda).trace()
    return (quadratic - linear * 2 + Lambda.trace()) * flint.fmpq(1, 2)


def coordinates(expression: Expression) -> int:
    """At most so many different coordinates occur in a term: one for each passage between general letters."""

    def of_word(word: Any, closed: bool) -> int:
        general = sum(1 for factor in word if factor.name not in DIAGONAL)
        return max(1, general) if closed else general + 1

    if "d" in expression.symbols():
        raise UnreadableError("an explicit d is not covered by the argument on coordinates")
    return max(
        (sum(of_word(word, True) for word in term.closed) + of_word(term.open, False) for term in expression.terms),
        default=1,
    )


@dataclass(frozen=True)
class InCoordinates:
    """A difference that is claimed to vanish for all diagonal Lambda, in every dimension.

    coordinates     r: at most so many different coordinates in a term
    """

    difference: Callable[[Point], Any]
    letters: Mapping[str, Kind]
    coordinates: int
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        if self.coordinates > COMPONENTS[-1]:
            raise UnreadableError(f"{self.coordinates} coordinates in a term, and {COMPONENTS[-1]} are tested at most")
        return {
            "symbolic_entries_in_dimensions": list(COMPONENTS),
            "coordinates_in_a_term_at_most": self.coordinates,
        }

    def check(self, seed: str) -> None:
        del seed  # nothing is random
        self.evidence()
        for d in COMPONENTS:
            refuse_unless_zero(self.difference(make_point(self.letters, d, None, VARIABLES)), f"for d = {d}")
