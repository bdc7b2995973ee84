"""Obligations of pl-inequality: the identities behind each inequality, which itself is left to words."""

from __future__ import annotations

from typing import Any

from ..engines.identities import Identity
from ..engines.layer import PROMPT
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .fixed_point import completed, half, of_forms, value
from .gradient_flow import ALONG, WITHOUT_LEAK, along, key_query_slope, loss_at, plain
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, of_law
from .population_loss import ASSUMPTIONS, TRUSTED

GRADIENT, GAP = "squared gradient by U", "squared gradient in the distance from A*"
EXCESS, BOUND = "excess in the distance from A*", "the gradient bounds the excess"
GAIN, SIZE, VALUE = "gain over zero weights", "the gain bounds A from below", "u from A and c"
INEQUALITY, START, PRINTED = "the inequality", "the theorem's start", "the constant as it is printed"


def squared(matrix: Matrix) -> Any:
    """|matrix|_F^2."""
    return (matrix.T @ matrix).trace()


def product(point: Point) -> Matrix:
    """A = u U."""
    return point.matrix("U").scaled(point["u"])


def gradient_obligation(forms: Forms) -> Identity:
    flow = forms.expression(GRADIENT, "flow")

    def difference(point: Point) -> Any:
        return key_query_slope(point, point["V"]) + along(point["V"], value(flow, point))

    return of_forms(difference, (flow,), ALONG, 1)


def gap_obligation(forms: Forms) -> Identity:
    flow = forms.expression(GRADIENT, "flow")
    M, C = forms.expression(GAP, "M"), forms.expression(GAP, "C")

    def difference(point: Point) -> Matrix:
        residual = (value(M, point) @ product(point) - value(C, point)) @ point["Lambda"]
        return value(flow, point) + residual.scaled(point["u"])  # type: ignore[no-any-return]

    return of_forms(difference, (flow, M, C), WITHOUT_LEAK, 4)


def excess_obligation(forms: Forms) -> Identity:
    M, C, minimum = forms.expression(GAP, "M"), forms.expression(GAP, "C"), forms.expression(EXCESS, "minimum")

    def difference(point: Point) -> Any:
        here = loss_at(point, point["u"], point["U"])
        return here - completed(point, M, C, minimum, product(point), point["B"])

    return of_forms(difference, (M, C, minimum), {**WITHOUT_LEAK, "B": "matrix"}, 3, factors=5)


def bound_obligation(forms: Forms) -> Identity:
    """M = K K^T, Lambda = R R^T, D = K^T G R: |M G Lambda|_F^2 = |K D R^T|_F^2 and tr(G^T M G Lambda) = |D|_F^2."""
    del forms

    def difference(point: Point) -> list[Any]:
        K, R, G = point["K"], point["R"], point["G"]
        M, Lambda, D = K @ K.T, R @ R.T, K.T @ G @ R
        return [
            squared(M @ G @ Lambda) - squared(K @ D @ R.T),
            (G.T @ M @ G @ Lambda).trace() - squared(D),
        ]

    return Identity(difference, {"K": "matrix", "R": "matrix", "G": "matrix"}, {}, 10, 10, 0, (1, 2))


def gain(point: Point) -> Any:
    """L(0) - L(0, u, U, 0)."""
    zero = point.one * 0
    return loss_at(point, zero, point["U"] * zero) - loss_at(point, point["u"], point["U"])


def gain_obligation(forms: Forms) -> Identity:
    form = forms.expression(GAIN, "right")
    return of_forms(lambda point: gain(point) - value(form, point), (form,), WITHOUT_LEAK, 0)


def parts_obligation(forms: Forms) -> Identity:
    M, C, form = forms.expression(GAP, "M"), forms.expression(GAP, "C"), forms.expression(GAIN, "right")

    def difference(point: Point) -> Any:
        A, Lambda = product(point), point["Lambda"]
        square = half((A.T @ value(M, point) @ A @ Lambda).trace())
        return value(form, point) - (A.T @ value(C, point) @ Lambda).trace() + square

    return of_forms(difference, (M, C, form), WITHOUT_LEAK, 3, factors=5)


def cauchy_obligation(forms: Forms) -> Identity:
    """2 (|A|^2 |B|^2 - tr(A^T B)^2) = sum over pairs of entries of (A_ij B_kl - A_kl B_ij)^2."""
    del forms

    def difference(point: Point) -> Any:
        a, b = list(point["A"].entries()), list(point["B"].entries())
        squares = point.one * 0
        for p, q in zip(a, b, strict=True):
            for r, s in zip(a, b, strict=True):
                squares = squares + (p * s - r * q) ** 2
        room = squared(point["A"]) * squared(point["B"]) - along(point["A"], point["B"]) ** 2
        return room * 2 - squares

    return Identity(difference, {"A": "matrix", "B": "matrix"}, {}, 4, 4, 0, (1, 2))


def value_obligation(forms: Forms) -> Identity:
    del forms

    def difference(point: Point) -> Any:
        square = point["u"] ** 2
        return square**2 - (square - squared(point["U"])) * square - squared(product(point))

    return Identity(difference, {"u": "scalar", "U": "matrix"}, {}, 2, 4)


def scalars(*names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, "scalar")


def inequality_obligation(forms: Forms) -> Identity:
    """v = (c + w)/2 with w^2 = c^2 + 4 r^2, so r^2 = (w^2 - c^2)/4; and p^2 - s w p = p (p - s w)."""
    del forms

    def difference(point: Point) -> list[Any]:
        c, w, p, s = (point[name] for name in ("c", "w", "p", "s"))
        v = half(c + w)
        return [v * v - c * v - half(half(w * w - c * c)), p * p - s * w * p - p * (p - s * w)]

    return Identity(difference, scalars("c", "w", "p", "s"), {}, 1, 4)


def start_obligation(forms: Forms) -> Identity:
    return theorem_start_identity(forms, START)


def theorem_start_identity(forms: Forms, step: str) -> Identity:
    """The gain at Psi = I, sigma2 = 0 and A = s P."""
    form = forms.expression(step, "gain")

    def difference(point: Point) -> Any:
        here = plain(point).with_values({"u": point["s"], "U": point["P"]})
        return gain(here) - value(form, here)

    letters: dict[str, Kind] = {"Lambda": "symmetric", "1/N": "scalar", "s": "scalar", "P": "matrix"}
    identity = of_forms(difference, (form,), letters, 0)
    return Identity(difference, letters, PROMPT, identity.pairs, identity.degree, identity.powers_of_d + 1)


def printed_obligation(forms: Forms) -> Identity:
    """2 m l v at m = 1/t1, l = 1/t2, v = s q (2 - x)/(2 y), multiplied out: s q (2 - x) = (printed) y t1 t2."""
    del forms

    def difference(point: Point) -> Any:
        s, q, x, y, t1, t2 = (point[name].leading_coefficient() for name in ("s", "q", "x", "y", "t1", "t2"))
        ours = 2 / t1 / t2 * (s * q * (2 - x) / 2 / y)
        return point.one * (ours - s * q * (2 - x) / (y * t1 * t2))

    return Identity(difference, scalars("s", "q", "x", "y", "t1", "t2"), {}, 1, 12, 0, ())


IN_WORDS = (
    f"The inequalities themselves are proved in words and are no identities: eigenvalues in {BOUND!r}, Cauchy and "
    f"Schwarz from its sum of squares and the smaller root in {SIZE!r}, that the flow lowers L and keeps c in "
    f"{INEQUALITY!r}, operator norms in {START!r}, and the order of the factors in {PRINTED!r}."
)
MINIMUM = "Where M B = C, the remainder terms with M B - C vanish: that is the step from an identity to A* = B."
START_KIND = Polynomial("1", "1", frozenset({"Lambda", "P"}), {"N": (-1,), "s": (1, 2)})
GAIN_KIND = of_law("U", square=False, powers={"N": (-1,), "sigma2": (1,), "u": (1, 2)})


def obligations() -> ClaimObligations:
    """The ten steps."""
    return ClaimObligations(
        "pl-inequality",
        (*ASSUMPTIONS, "u12 = u21 = 0, A = u U; the last two steps: Psi = I, sigma2 = 0"),
        {
            GRADIENT: {"flow": of_law("U", powers={"N": (-1,), "sigma2": (1,), "u": (1, 2)})},
            GAP: {"M": of_law(), "C": of_law()},
            EXCESS: {"minimum": of_law("A_*", square=False)},
            BOUND: {},
            GAIN: {"right": GAIN_KIND},
            SIZE: {}, VALUE: {}, INEQUALITY: {},
            START: {"gain": START_KIND},
            PRINTED: {},
        },
        (
            Obligation(GRADIENT, "dL/dU along V = -tr(V^T flow)", gradient_obligation),
            Obligation(GAP, "flow = -u (M A - C) Lambda", gap_obligation),
            Obligation(
                EXCESS,
                "L = minimum + 1/2 tr((A - B)^T M (A - B) Lambda) + terms with the factor M B - C",
                excess_obligation,
            ),
            Obligation(
                BOUND,
                "|M G Lambda|^2 = |K D R^T|^2 and tr(G^T M G Lambda) = |D|^2 for M = K K^T, Lambda = R R^T, D = K^T G "
                "R",
                bound_obligation,
            ),
            Obligation(GAIN, "L(0) - L = right", gain_obligation),
            Obligation(SIZE, "right of the step before = tr(A^T C Lambda) - 1/2 tr(A^T M A Lambda)", parts_obligation),
            Obligation(SIZE, "|A|^2 |B|^2 - tr(A^T B)^2 is a sum of squares", cauchy_obligation),
            Obligation(VALUE, "u^4 = (u^2 - |U|^2) u^2 + |u U|^2", value_obligation),
            Obligation(
                INEQUALITY,
                "v = (c + w)/2 with w^2 = c^2 + 4 r^2 solves v^2 = c v + r^2; p^2 - s w p = p (p - s w)",
                inequality_obligation,
            ),
            Obligation(START, "L(0) - L = gain at Psi = I, sigma2 = 0, A = s P", start_obligation),
            Obligation(
                PRINTED,
                "2 m l v at m = 1/t1, l = 1/t2, v = s q (2 - x)/(2 y) is s q (2 - x)/(y t1 t2)",
                printed_obligation,
            ),
        ),
        (*TRUSTED, MINIMUM, IN_WORDS),
    )  # fmt: skip
