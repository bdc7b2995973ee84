"""Obligations of scan-decoder: slopes from literal tokens, and the law, gamma and its integral along the flow.

The forms are of degree one in M, X and u each (their kinds say so), so that literal vocabularies of 2 to 6 tokens speak
for every M, and differences of one step are derivatives. X stands for e^u: its derivative by u is X.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.points import Kind, Point
from .fixed_point import half, value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial
from .population_loss import TRUSTED

SLOPES, ALIKE, LEAD = "slopes of the cross-entropy", "the other tokens stay alike", "flow of the lead"
LAW, INVERSE, ERROR, GAMMA = "the law", "solved by Lambert's W", "error", "gamma"
ACCUMULATED, BY_TIME, TURN = "integral of gamma", "gamma by u and t", "where gamma is largest"
SHARP, STEPS = "sharp for many tokens", "finite steps"
COUNTS = (2, 3, 4, 5, 6)
DEGREE = 24  # of any product here: no form has more than 6 factors in a term, and no statement more than four forms


def in_scalars(difference: Callable[[Point], Any], names: str) -> Identity:
    """An identity between polynomials in numbers."""
    letters: dict[str, Kind] = dict.fromkeys(names.split(), "scalar")
    return Identity(difference, letters, {}, 1, DEGREE, 0, (1,))


def scalars(**powers: tuple[int, ...]) -> Polynomial:
    """The kind of a polynomial in numbers, with these powers."""
    return Polynomial("1", "1", frozenset(), powers)


def total(values: Sequence[Any]) -> Any:
    """Their sum."""
    found = values[0]
    for one in values[1:]:
        found = found + one
    return found


def slope_times_sum(tokens: Sequence[Any], own: int, k: int, one: Any) -> Any:
    """S times -dl/dw_k for l = ln S - w_own, S the sum of the tokens' exponentials: w_k moves its own one alone."""
    S = total(tokens)
    moved = total([*tokens[:k], tokens[k] + one, *tokens[k + 1 :]])
    return S * int(k == own) - tokens[k] * (moved - S)


def two_values(point: Point, X: Any, y: Any, count: int) -> list[Any]:
    """The right token and count - 1 others."""
    return [X, *[y * point.one for _ in range(count - 1)]]


def at_count(form: Expression, point: Point, count: int, **letters: Any) -> Any:
    """A form at M = count."""
    return value(form, point.with_values({"M": point.one * count, **letters}))


def slopes_obligation(forms: Forms) -> Identity:
    own, other, partition = (forms.expression(SLOPES, name) for name in ("own", "other", "partition"))

    def difference(point: Point) -> list[Any]:
        found = []
        for count in COUNTS:
            tokens = two_values(point, point["X"], point["y"], count)
            found += [
                slope_times_sum(tokens, 0, 0, point.one) - at_count(own, point, count),
                slope_times_sum(tokens, 0, 1, point.one) - at_count(other, point, count),
                total(tokens) - at_count(partition, point, count),
            ]
        return found

    return in_scalars(difference, "X y")


def alike_obligation(forms: Forms) -> Identity:
    """Exchanging two other tokens exchanges their slopes; all slopes have the sum 0."""
    del forms

    def difference(point: Point) -> list[Any]:
        tokens = [point[f"x{k}"] for k in range(4)]
        swapped = [tokens[0], tokens[2], tokens[1], tokens[3]]
        before, after = ([slope_times_sum(values, 0, k, point.one) for k in range(4)] for values in (tokens, swapped))
        expected = [before[0], before[2], before[1], before[3]]
        return [*(a - b for a, b in zip(after, expected, strict=True)), total(before)]

    return in_scalars(difference, "x0 x1 x2 x3")


def lead_obligation(forms: Forms) -> Identity:
    """Own slope minus that of another token, at exponentials X, 1, .., 1."""
    rate, below = (forms.expression(LEAD, name) for name in ("rate", "denominator"))

    def difference(point: Point) -> list[Any]:
        found = []
        for count in COUNTS:
            tokens = two_values(point, point["X"], point.one, count)
            lead = slope_times_sum(tokens, 0, 0, point.one) - slope_times_sum(tokens, 0, 1, point.one)
            found += [lead - at_count(rate, point, count), total(tokens) - at_count(below, point, count)]
        return found

    return in_scalars(difference, "X")


def by_lead(form: Expression, point: Point) -> Any:
    """d/du of a form linear in u and in X = e^u."""
    here = value(form, point)
    of_u = value(form, point.with_values({"u": point["u"] + point.one})) - here
    of_X = value(form, point.with_values({"X": point["X"] + point.one})) - here
    return of_u + point["X"] * of_X


def law_obligation(forms: Forms) -> Identity:
    """d law/dtau = M, and law = 0 at the start."""
    rate, below, law = (
        forms.expression(LEAD, "rate"), forms.expression(LEAD, "denominator"), forms.expression(LAW, "law")
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        start = point.with_values({"X": point.one, "u": point.one * 0})
        along = by_lead(law, point) * value(rate, point) - point["M"] * value(below, point)
        return [along, value(law, start)]

    return in_scalars(difference, "X u M")


def inverse_obligation(forms: Forms) -> Identity:
    """(M - 1) law = (M - 1)(s - 1) at X = (M - 1) W and (M - 1) u = solution; u drops out of law but for (M - 1) u."""
    law, solution = forms.expression(LAW, "law"), forms.expression(INVERSE, "solution")

    def difference(point: Point) -> list[Any]:
        others = point["M"] - point.one
        there = point.with_values({"X": others * point["W"]})
        without, with_one = (value(law, there.with_values({"u": point.one * k})) for k in (0, 1))
        of_lead = with_one - without  # law = without + of_lead u
        return [of_lead - others, without + value(solution, point) - (point["s"] - point.one)]

    return in_scalars(difference, "W s M")


def error_obligation(forms: Forms) -> Identity:
    """S (1 - alpha_nn) from literal tokens."""
    wrong = forms.expression(ERROR, "wrong")

    def difference(point: Point) -> list[Any]:
        return [
            total(two_values(point, point["X"], point.one, count)) - point["X"] - at_count(wrong, point, count)
            for count in COUNTS
        ]

    return in_scalars(difference, "X")


def gamma_obligation(forms: Forms) -> Identity:
    """M S gamma = (M - 1) S w.(e - alpha) from literal tokens, w = h (M e_n - 1)."""
    form = forms.expression(GAMMA, "gamma")

    def difference(point: Point) -> list[Any]:
        found = []
        for count in COUNTS:
            tokens = two_values(point, point["X"], point.one, count)
            logits = [point["h"] * (count * int(k == 0) - 1) for k in range(count)]
            force = total([w * slope_times_sum(tokens, 0, k, point.one) for k, w in enumerate(logits)])
            found.append(at_count(form, point, count) * count - force * (count - 1))
        return found

    return in_scalars(difference, "X h")


def accumulated_obligation(forms: Forms) -> Identity:
    """d accumulated/dh (eta/K) rate = M gamma, as h' = (eta/K) rate/(M denominator); quadratic in h: exact slopes."""
    rate, gamma, form = (
        forms.expression(LEAD, "rate"), forms.expression(GAMMA, "gamma"),
        forms.expression(ACCUMULATED, "accumulated"),
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        ahead, behind = (value(form, point.with_values({"h": point["h"] + point.one * k})) for k in (1, -1))
        slope = half(ahead - behind) * value(rate, point)
        start = value(form, point.with_values({"h": point.one * 0}))
        return [slope - point["M"] * point["K"] * point["1/eta"] * value(gamma, point), start]

    return in_scalars(difference, "X h M K 1/eta")


def by_time_obligation(forms: Forms) -> Identity:
    """X + M - 1 = below where law = M tau, and gamma M = (M - 1)^2 u at h = u/M, over it."""
    below, law, gamma, form = (
        forms.expression(LEAD, "denominator"), forms.expression(LAW, "law"), forms.expression(GAMMA, "gamma"),
        forms.expression(BY_TIME, "below"),
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        M, one = point["M"], point.one
        rest = value(below, point) + M * point["tau"] - value(law, point) - value(form, point)
        scaled = value(gamma, point.with_values({"h": point["u"]})) - (M - one) * (M - one) * point["u"]
        stated = M * (one + point["tau"]) - (M - one) * point["u"] - value(form, point)
        return [rest, scaled, stated]

    return in_scalars(difference, "X u M tau")


def turn_obligation(forms: Forms) -> Identity:
    """denominator - u d denominator/du = turning = X + M - 1 - X u; gamma there."""
    below, gamma, form = (
        forms.expression(LEAD, "denominator"), forms.expression(GAMMA, "gamma"), forms.expression(TURN, "turning")
    )  # fmt: skip

    def difference(point: Point) -> list[Any]:
        M, one, u = point["M"], point.one, point["u"]
        slope = value(below, point) - u * by_lead(below, point) - value(form, point)
        # X (u - 1) = M - 1: with M = 1 + X (u - 1) the denominator is X u, and gamma M (X u) = (M - 1)^2 u.
        there = point.with_values({"M": one + point["X"] * (u - one), "h": u})
        others = there["M"] - one
        return [
            slope,
            value(form, there),
            value(below, there) - point["X"] * u,
            value(gamma, there) - others * (u - one) * value(below, there),
            M - one - point["X"] * (u - one) - value(form, point),
        ]

    return in_scalars(difference, "X u M")


def sharp_obligation(forms: Forms) -> Identity:
    """excess = law - M u = X - 1 - u."""
    law, form = forms.expression(LAW, "law"), forms.expression(SHARP, "excess")

    def difference(point: Point) -> list[Any]:
        found = value(form, point)
        return [
            value(law, point) - point["M"] * point["u"] - found,
            point["X"] - point.one - point["u"] - found,
        ]

    return in_scalars(difference, "X u M")


def steps_obligation(forms: Forms) -> Identity:
    """denominator^2 - 4 (M - 1) X = square^2."""
    below, square = forms.expression(LEAD, "denominator"), forms.expression(STEPS, "square")

    def difference(point: Point) -> Any:
        S, root = value(below, point), value(square, point)
        return S * S - (point["M"] - point.one) * point["X"] * 4 - root * root

    return in_scalars(difference, "X M")


CALCULUS = (
    "Calculus that no polynomial states: e^u is its own derivative; the flow exists and is unique, so that the "
    "symmetry of the slopes is that of the logits; Lambert's W solves W e^W = z."
)
LIMITS = (
    f"The limits and bounds in words: early, late (step {BY_TIME!r}), many tokens ({SHARP!r}), that gamma turns once "
    f"({TURN!r}), and that errors of steps add up ({STEPS!r})."
)
LITERAL = "That literal vocabularies of 2 to 6 tokens speak for all: the forms have degree at most two in M."


def obligations() -> ClaimObligations:
    """The twelve steps."""
    one = (1,)
    kinds: Mapping[str, Mapping[str, FormKind]] = {
        SLOPES: {
            "own": scalars(M=one, y=one), "other": scalars(y=one), "partition": scalars(M=one, X=one, y=one),
        },
        ALIKE: {},
        LEAD: {"rate": scalars(M=one), "denominator": scalars(M=one, X=one)},
        LAW: {"law": scalars(M=one, X=one, u=one)},
        INVERSE: {"solution": scalars(M=one, W=one, s=one)},
        ERROR: {"wrong": scalars(M=one)},
        GAMMA: {"gamma": scalars(M=(1, 2), h=one)},
        ACCUMULATED: {"accumulated": scalars(M=(1, 2), K=one, h=(2,), eta=(-1,))},
        BY_TIME: {"below": scalars(M=one, tau=one, u=one)},
        TURN: {"turning": scalars(M=one, X=one, u=one)},
        SHARP: {"excess": scalars(X=one, u=one)},
        STEPS: {"square": scalars(M=one, X=one)},
    }  # fmt: skip
    return ClaimObligations(
        "scan-decoder",
        ("w' = (eta_Y/K)(e_n - softmax(w)) from w = 0; M >= 2 tokens", "X = e^u, u = M h, tau = eta_Y t/K"),
        kinds,
        (
            Obligation(SLOPES, "S times -dl/dw = own, other, and S = partition, token by token", slopes_obligation),
            Obligation(ALIKE, "slopes of exchanged tokens are exchanged; their sum is 0", alike_obligation),
            Obligation(LEAD, "S (w_n' - w_k') = rate and S = denominator at exponentials X, 1, .., 1", lead_obligation),
            Obligation(LAW, "d law/du rate = M denominator; law = 0 at u = 0", law_obligation),
            Obligation(INVERSE, "law = s - 1 at X = (M - 1) W, (M - 1) u = solution", inverse_obligation),
            Obligation(ERROR, "S (1 - alpha_nn) = wrong, token by token", error_obligation),
            Obligation(GAMMA, "M gamma = (M - 1) S w.(e_n - alpha_n), token by token", gamma_obligation),
            Obligation(ACCUMULATED, "(d accumulated/dh) h' = gamma/denominator; 0 at h = 0", accumulated_obligation),
            Obligation(BY_TIME, "denominator = below = M (1 + tau) - (M - 1) u under the law", by_time_obligation),
            Obligation(TURN, "turning = M - 1 - X (u - 1); gamma = (M - 1)(u - 1)/M where it is 0", turn_obligation),
            Obligation(SHARP, "law - M u = excess = X - 1 - u", sharp_obligation),
            Obligation(STEPS, "denominator^2 = 4 (M - 1) X + square^2", steps_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], CALCULUS, LIMITS, LITERAL),
    )  # fmt: skip
