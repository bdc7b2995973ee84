r"""The least loss that any one layer of causal linear attention has on random orthogonal dynamics, exactly.

Setting
    As in `one_step_rate`, with tokens (0, s_t, s_(t-1)), s_0 = 0, and the prediction read from the first block. A layer
    with any number of heads predicts s_(t+1) by a map that is trilinear: with u, v in {s_t', s_(t'-1)} and
    w in {s_t, s_(t-1)}, it is sum_{t' <= t} of a fixed trilinear map of (u, v, w) for each choice of blocks.
Main statements
    features       the loss is a convex function of the trilinear maps and does not change when they are turned by O(n),
                   as the law of sequences does not; so the least loss is reached by maps that commute with O(n). These
                   are spanned by u (v.w) and w (u.v) (and v (u.w), the first with blocks exchanged): eight features
                       G(a, b, c) = sum_{t' <= t} s_(t'-a) (s_(t'-b) . s_(t-c)),    a, b, c in {0, 1}
                   and six with the trace, tr(a, b | c) = sum_{t' <= t} (s_(t'-a) . s_(t'-b)) s_(t-c), a <= b
    gradient step  G(0, 1, 0) is the step of `one_step_rate`
    parity         W -> -W keeps the law and turns s_t into (-1)^(t-1) s_t: features with a + b + c even are
                   uncorrelated with the targets and with the others, and the optimum leaves them out
    coincidence    G(1, 0, 0) = G(1, 1, 1) for every sequence, as s_t' . s_t = s_(t'-1) . s_(t-1): how a trained layer
                   divides a coefficient between them is not determined by the task
    optimum        least squares over the six features that are left, in rational numbers, for every n and T; over any
                   subset too, which says what each feature is worth
    few heads      the vector features G take two heads; a trace feature is the exchange of two factors R^n, whose
                   tensor rank is n^2: with fewer heads it can only be approached
Everything is a polynomial in the autocorrelations c_k, so the moments of `autocorrelations` are all that is needed.
References
    Tokens: [vonoswald2023uncovering, Prop. 1]. Maps that commute with O(n): [brauer1937algebras]. The rest is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Literal

from .autocorrelations import Autocorrelations, autocorrelations

Term = tuple[int, int]  # lag j and index k of s_(t-j) c_k


@dataclass(frozen=True, order=True)
class Feature:
    """G(a, b, c), or tr(a, b | c): blocks 0 for the present state of a token, 1 for the one before."""

    kind: Literal["G", "tr"]
    a: int
    b: int
    c: int

    def __str__(self) -> str:
        """In formulas.

        >>> str(Feature("G", 0, 1, 0)), str(Feature("tr", 0, 1, 1))
        ("sum s_t' (s_t'-1 . s_t)", "sum (s_t' . s_t'-1) s_t-1")
        """
        u, v, w = state("t'", self.a), state("t'", self.b), state("t", self.c)
        return f"sum {u} ({v} . {w})" if self.kind == "G" else f"sum ({u} . {v}) {w}"

    @property
    def is_correlated(self) -> bool:
        """Whether it has the parity of the target."""
        return (self.a + self.b + self.c) % 2 == 1

    def terms(self, t: int) -> Counter[Term]:
        """The feature at position t as sum of s_(t-j) c_k: how often each (j, k) occurs. States before s_1 are 0."""
        found: Counter[Term] = Counter()
        if t - self.c < 1:
            return found
        for other in range(1 + max(self.a, self.b), t + 1):
            u, v, w = other - self.a, other - self.b, t - self.c
            found[(t - u, abs(v - w)) if self.kind == "G" else (t - w, abs(u - v))] += 1
        return found


def state(time: str, lag: int) -> str:
    return f"s_{time}-1" if lag else f"s_{time}"


GRADIENT_STEP = Feature("G", 0, 1, 0)
TWINS = (Feature("G", 1, 0, 0), Feature("G", 1, 1, 1))


def all_features() -> list[Feature]:
    """The fourteen."""
    vectors = [Feature("G", a, b, c) for a, b, c in product((0, 1), repeat=3)]
    return vectors + [Feature("tr", a, b, c) for c in (0, 1) for a, b in ((0, 0), (0, 1), (1, 1))]


def features_of_optimum() -> list[Feature]:
    """Those with the target's parity, each map once: six.

    >>> [str(feature) for feature in features_of_optimum()][:2]
    ["sum s_t' (s_t' . s_t-1)", "sum s_t' (s_t'-1 . s_t)"]
    """
    return [feature for feature in all_features() if feature.is_correlated and feature != TWINS[1]]


@cache
def positions(feature: Feature, length: int) -> tuple[Counter[Term], ...]:
    """The terms at t = 1 .. T - 1."""
    return tuple(feature.terms(t) for t in range(1, length))


@cache
def product_counts(left: Feature, right: Feature, length: int) -> Counter[tuple[int, int, int]]:
    """sum_t left_t . right_t as counts of products c_j c_k c_l."""
    found: Counter[tuple[int, int, int]] = Counter()
    for one, other in zip(positions(left, length), positions(right, length), strict=True):
        for (j, k), count in one.items():
            for (i, m), times in other.items():
                first, second, third = sorted((abs(j - i), k, m))
                found[first, second, third] += count * times
    return found


def inner_product(left: Feature, right: Feature, length: int, moments: Autocorrelations) -> Fraction:
    """sum_t E left_t . right_t."""
    counts = product_counts(left, right, length)
    return sum((count * moments.moment(*indices) for indices, count in counts.items()), Fraction(0))


def pull(feature: Feature, length: int, moments: Autocorrelations) -> Fraction:
    """sum_t E feature_t . s_(t+1): s_(t-j) c_k has the product c_(j+1) c_k."""
    return sum(
        (count * moments.moment(j + 1, k) for terms in positions(feature, length) for (j, k), count in terms.items()),
        Fraction(0),
    )


@dataclass(frozen=True)
class Optimum:
    """The least loss over a set of features, and where it is reached.

    coefficients    of the features that were kept; others depend on these and have coefficient 0
    loss            1/2 E |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1
    """

    coefficients: dict[Feature, Fraction]
    loss: Fraction


def least_loss(features: Sequence[Feature], n: int, length: int, moments: Autocorrelations | None = None) -> Optimum:
    """Least squares over the features, exactly; a feature that depends on those before it is left out."""
    chosen = moments or autocorrelations(n)
    gram = [[inner_product(f, g, length, chosen) for g in features] for f in features]
    right = [pull(f, length, chosen) for f in features]
    solution = solved(gram, right)
    explained = sum((x * b for x, b in zip(solution, right, strict=True)), Fraction(0))
    coefficients = {f: x for f, x in zip(features, solution, strict=True) if x}
    return Optimum(coefficients, Fraction(n, 2) - explained / (2 * (length - 1)))


def solved(gram: Sequence[Sequence[Fraction]], right: Sequence[Fraction]) -> list[Fraction]:
    """A solution of gram x = right for a positive semidefinite matrix, 0 where a pivot vanishes.

    A pivot that vanishes belongs to a combination of norm 0: its row and its right side vanish with it.
    """
    size = len(right)
    rows = [[*row, b] for row, b in zip(gram, right, strict=True)]
    kept: list[int] = []
    for place in range(size):
        if rows[place][place] == 0:
            continue
        kept.append(place)
        pivot = [entry / rows[place][place] for entry in rows[place]]
        rows = [pivot if k == place else combined(row, pivot, row[place]) for k, row in enumerate(rows)]
    return [rows[place][size] if place in kept else Fraction(0) for place in range(size)]


def combined(row: Sequence[Fraction], pivot: Sequence[Fraction], factor: Fraction) -> list[Fraction]:
    """row - factor pivot."""
    return [a - factor * b for a, b in zip(row, pivot, strict=True)]


@cache
def derived_optimum(n: int, length: int, initial: str = "gaussian") -> Optimum:
    """The optimum over all layers, from the derived moments; the law of s_1 as in `autocorrelations`.

    >>> derived_optimum(1, 3).loss, derived_optimum(2, 4).loss < Fraction(1)
    (Fraction(7, 20), True)
    """
    return least_loss(features_of_optimum(), n, length, autocorrelations(n, initial))


def vector_features() -> list[Feature]:
    """The features that two heads can form."""
    return [feature for feature in features_of_optimum() if feature.kind == "G"]


def worth(n: int, length: int) -> dict[Feature, tuple[Fraction, Fraction]]:
    """For each feature: the least loss of the gradient step with it, and of the optimum without it."""
    chosen = features_of_optimum()
    return {
        feature: (
            least_loss([GRADIENT_STEP, feature], n, length).loss,
            least_loss([other for other in chosen if other != feature], n, length).loss,
        )
        for feature in chosen
    }
