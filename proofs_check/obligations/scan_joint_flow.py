r"""Obligations of scan-joint-flow: the layer's own derivatives against the derived accelerations.

Vectors of unit length are rational only now and then, so c stands for f |c|: the form is split into its parts of first
and third degree in f (it is odd), and f.f = 1 enters by multiplying the first with c.c. That is the same statement for
every vector c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .fixed_point import value
from .obligation import ClaimObligations, FormKind, Forms, Obligation, Polynomial, Rational
from .population_loss import TRUSTED

DECODER, GRADIENT, FORCE = "decoder at the start", "gradient that reaches attention", "force on the logits"
ACCELERATION, DISTINCT, COMMON = "acceleration", "distinct tokens gain", "the only common token loses"
EQUAL = "both flows at equal overlaps"
RATES: dict[str, Kind] = {"eta_Y": "scalar", "eta_Z": "scalar", "P": "scalar", "Q": "scalar", "W": "scalar"}
# A term of the largest form has seven commuting factors and at most eight legs in f, h, g and D; c.c adds two.
PAIRS, DEGREE = 5, 16


def diagonal(c: Matrix, one: Any) -> Matrix:
    """The diagonal matrix of a column."""
    n = c.shape[0]
    return Matrix.build(n, n, lambda i, j: c[i, 0] if i == j else one * 0)


def inner(a: Matrix, b: Matrix) -> Any:
    """a.b."""
    return (a.T @ b)[0, 0]


def at(form: Expression, point: Point, c: Matrix, **more: Any) -> Any:
    """A form at f = c, D its diagonal matrix, M^-1 = W."""
    return value(substituted(form), point, f=c, D=diagonal(c, point.one), **more)


def substituted(form: Expression) -> Expression:
    """M^-1 as the letter W: the ring has no inverses."""
    terms = []
    for term in form.terms:
        powers = tuple(("W", -power) if name == "M" else (name, power) for name, power in term.powers)
        terms.append(term._replace(powers=powers))
    return Expression(form.rows, form.cols, tuple(terms))


def first_and_third(made: Callable[[Matrix], Any], c: Matrix) -> tuple[Any, Any]:
    """The parts of degree 1 and 3 of an odd function of f: v(1) = a + b, v(2) = 2 a + 8 b."""
    one, two = made(c), made(c + c)
    return (one * 8 - two) * flint.fmpq(1, 6), (two - one * 2) * flint.fmpq(1, 6)


def with_unit_length(made: Callable[[Matrix], Any], c: Matrix) -> Any:
    """|c|^3 times the function at f = c/|c|."""
    first, third = first_and_third(made, c)
    return first * inner(c, c) + third


def identity_of(difference: Callable[[Point], Any], letters: dict[str, Kind]) -> Identity:
    return Identity(difference, {**RATES, **letters}, {}, PAIRS, DEGREE, 0, (1, 2, 3))


def decoder_obligation(forms: Forms) -> Identity:
    """Along V, class n adds P eta_Y times the slope of log softmax at 0: f.V e less the mean over tokens of f.V."""
    form = forms.expression(DECODER, "right")

    def difference(point: Point) -> Any:
        V, f = point["V"], point["f"]
        moved = V.T @ f  # what V adds to the logits
        slope = inner(point["e"], moved) - inner(point["o"], moved) * point["W"]
        derived = (V.T @ value(substituted(form), point)).trace()
        return derived - slope * point["eta_Y"] * point["P"]

    return identity_of(difference, {"f": "vector", "V": "matrix", "e": "vector", "o": "vector"})


def products(W: Any, M: Any, same: bool) -> Any:
    """(e_j - o/M).(e_n - o/M) from e.e = 1 or 0, e.o = 1 and o.o = M, with W = 1/M."""
    return int(same) - 2 * W + W * W * M


def gradient_obligation(forms: Forms) -> Identity:
    """Y (e_n - o/M) of the own part and of another class's, times M: o.o = M gives W^2 M = W."""
    own, other = (forms.expression(GRADIENT, name) for name in ("own", "other"))

    def difference(point: Point) -> Any:
        one, found = point.one, []
        for M in (2, 3, 7):  # both sides are polynomials of degree 1 in 1/M
            W = one * flint.fmpq(1, M)
            here = point.with_values({"W": W})
            same, apart = (products(W, M, kind) for kind in (True, False))
            found += [
                value(substituted(own), here) - point["f"].scaled(same * point["eta_Y"] * point["P"]),
                value(substituted(other), here) - point["h"].scaled(apart * point["eta_Y"] * point["Q"]),
            ]
        return found

    return identity_of(difference, {"f": "vector", "h": "vector"})


def force_obligation(forms: Forms) -> Identity:
    """v.z' = eta_Z P d(g.c/|c|) along dc = c o v: ((g.dc) c.c - (g.c)(c.dc))/|c|^3, c.dc half of d(c.c)."""
    form = forms.expression(FORCE, "right")

    def difference(point: Point) -> Any:
        c, g, v = point["c"], point["g"], point["v"]
        moved = diagonal(c, point.one) @ v
        squared = (inner(c + moved, c + moved) - inner(c - moved, c - moved)) * flint.fmpq(1, 2)  # d(c.c), exact
        slope = inner(g, moved) * inner(c, c) - inner(g, c) * squared * flint.fmpq(1, 2)
        derived = with_unit_length(lambda f: inner(v, at(form, point, f, g=g)), c)
        return derived - slope * point["eta_Z"] * point["P"]

    return identity_of(difference, {"c": "vector", "g": "vector", "v": "vector"})


def acceleration_obligation(forms: Forms) -> Identity:
    """The force under the other's part of the gradient."""
    form, pull, other = (
        forms.expression(step, name)
        for step, name in ((ACCELERATION, "right"), (FORCE, "right"), (GRADIENT, "other"))
    )  # fmt: skip

    def difference(point: Point) -> Any:
        g = value(substituted(other), point)
        return at(form, point, point["f"]) - at(pull, point, point["f"], g=g)

    return identity_of(difference, {"f": "vector", "h": "vector"})


def own_part_obligation(forms: Forms) -> Identity:
    """The own part of the gradient, along f, exerts no force."""
    pull = forms.expression(FORCE, "right")
    return identity_of(
        lambda point: with_unit_length_vector(lambda f: at(pull, point, f, g=point["c"]), point["c"]), {"c": "vector"}
    )


def with_unit_length_vector(made: Callable[[Matrix], Matrix], c: Matrix) -> Matrix:
    """|c|^3 times a vector function at f = c/|c|."""
    one, two = made(c), made(c + c)
    first = (one.scaled(one_eighth(8)) - two).scaled(flint.fmpq(1, 6))
    third = (two - one.scaled(one_eighth(2))).scaled(flint.fmpq(1, 6))
    return first.scaled(inner(c, c)) + third


def one_eighth(number: int) -> Any:
    """A whole number as a rational one."""
    return flint.fmpq(number)


def only_in(vector: Matrix, keep: Callable[[int], bool], one: Any) -> Matrix:
    """A column with zeros in the other places."""
    return Matrix.build(vector.shape[0], 1, lambda i, _: vector[i, 0] if keep(i) else one * 0)


def first_token(point: Point) -> Matrix:
    """The unit vector of the first token."""
    n = point["f"].shape[0]
    return Matrix.build(n, 1, lambda i, _: point.one * int(i == 0))


def distinct_obligation(forms: Forms) -> Identity:
    """The first token, which the other class has not."""
    form, derived = forms.expression(ACCELERATION, "right"), forms.expression(DISTINCT, "right")

    def difference(point: Point) -> Any:
        a, f = first_token(point), point["f"]
        h = only_in(point["h"], lambda i: i > 0, point.one)
        return inner(a, at(form, point, f, h=h)) - at(derived, point, f, h=h, a=a)

    return identity_of(difference, {"f": "vector", "h": "vector"})


def common_obligation(forms: Forms) -> Identity:
    """The first token is the only one of both: f lives on the first and the even places, h on it and the odd ones."""
    form, derived = forms.expression(ACCELERATION, "right"), forms.expression(COMMON, "right")

    def difference(point: Point) -> Any:
        a = first_token(point)
        f = only_in(point["f"], lambda i: i % 2 == 0, point.one)
        h = only_in(point["h"], lambda i: i == 0 or i % 2 == 1, point.one)
        return inner(a, at(form, point, f, h=h)) - at(derived, point, f, h=h, a=a)

    return identity_of(difference, {"f": "vector", "h": "vector"})


def equal_overlaps_obligation(forms: Forms) -> Identity:
    """G v = e_n - o/M for v = (a, b, .., b), G = 1 on and rho off its diagonal: then xi = -(K - 1) rho b.

    With rho = x/(1 + x), times (1 + x) M: a (1 + x) + (K - 1) x b = (1 + x)(1 - 1/M) and x a + (1 + x + (K - 2) x) b =
    -(1 + x)/M. Eliminated: b (1 + x + (K - 2) x - (K - 1) x^2/(1 + x)) = -(1 + x)/M - x (1 - 1/M).
    """
    form = forms.quotient(EQUAL, "reparametrised")

    def difference(point: Point) -> Any:
        K, M, x = (point[name] for name in ("K", "M", "x"))
        above, below = (value(part, point) for part in form)
        # M xi = above/below = -M (K - 1) rho b, so b = -above (1 + x)/(below M (K - 1) x)
        left = (x + 1 + (K - 2) * x) * (x + 1) - (K - 1) * x * x  # times b/(1 + x)
        return above * (x + 1) * left - ((x + 1) + x * (M - 1)) * below * (K - 1) * x * (x + 1)

    return Identity(difference, {"K": "scalar", "M": "scalar", "x": "scalar"}, {}, 0, 24, 0, (1,))


def loss_obligation(forms: Forms) -> Identity:
    """(K - 1) rho, rho = x/(1 + x)."""
    form = forms.quotient(EQUAL, "loss")

    def difference(point: Point) -> Any:
        above, below = (value(part, point) for part in form)
        return above * (point["x"] + 1) - (point["K"] - 1) * point["x"] * below

    return Identity(difference, {"K": "scalar", "M": "scalar", "x": "scalar"}, {}, 0, 16, 0, (1,))


def ratio_obligation(forms: Forms) -> Identity:
    """ratio times the loss's own = reparametrised."""
    parts = [forms.quotient(EQUAL, name) for name in ("ratio", "loss", "reparametrised")]

    def difference(point: Point) -> Any:
        (a, b), (c, d), (e, f) = ([value(part, point) for part in quotient] for quotient in parts)
        return a * c * f - e * b * d

    return Identity(difference, {"K": "scalar", "M": "scalar", "x": "scalar"}, {}, 0, 40, 0, (1,))


FIRST: dict[str, tuple[int, ...]] = {"M": (-1,), "eta_Y": (1,), "P": (1,)}
ALL: dict[str, tuple[int, ...]] = {"M": (-1,), "eta_Y": (1,), "eta_Z": (1,), "P": (1,), "Q": (1,)}
SIZES = Rational(frozenset({"K", "M", "x"}))
KINDS: dict[str, dict[str, FormKind]] = {
    DECODER: {"right": Polynomial("d", "d", frozenset({"f", "e", "o"}), FIRST)},
    GRADIENT: {
        "own": Polynomial("d", "1", frozenset({"f"}), FIRST),
        "other": Polynomial("d", "1", frozenset({"h"}), {"M": (-1,), "eta_Y": (1,), "Q": (1,)}),
    },
    FORCE: {"right": Polynomial("d", "1", frozenset({"D", "f", "g"}), {"eta_Z": (1,), "P": (1,)})},
    ACCELERATION: {"right": Polynomial("d", "1", frozenset({"D", "f", "h"}), ALL)},
    DISTINCT: {"right": Polynomial("1", "1", frozenset({"D", "f", "h", "a"}), ALL)},
    COMMON: {"right": Polynomial("1", "1", frozenset({"f", "h", "a"}), ALL)},
    EQUAL: {"reparametrised": SIZES, "loss": SIZES, "ratio": SIZES},
}
WITHOUT_LAW = (TRUSTED[0], *TRUSTED[2:])
LIMIT = (
    "As T -> infinity the normalised attention output of class n is f_n = c_n/|c_n|, c_nl = P(l | n) e^{z_l} "
    "[tian2023scan, Lemma 2]; log softmax has the slope 1(n) - softmax, and softmax is uniform at equal logits."
)
ORDER = "Y = t Y'(0) + O(t^2) and f_n = f_n(0) + O(t^2): so g_n is known to first order in t, and z to second."


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "scan-joint-flow",
        ("class vectors of unit length, Y(0) = 0; overlaps rho = x/(1 + x), x > 0, in the last step",),
        KINDS,
        (
            Obligation(DECODER, "tr(V^T right) = eta_Y P x slope of log softmax(Y^T f)_n along V", decoder_obligation),
            Obligation(GRADIENT, "own and other = Y' (e_n - o/M), part by part", gradient_obligation),
            Obligation(FORCE, "v.right = eta_Z P d(g.c/|c|) along dc = c o v, f = c/|c|", force_obligation),
            Obligation(ACCELERATION, "right = force under the other's part of g", acceleration_obligation),
            Obligation(ACCELERATION, "force under g = f is 0 for f.f = 1", own_part_obligation),
            Obligation(DISTINCT, "right = a^T acceleration where the other class has not a", distinct_obligation),
            Obligation(COMMON, "right = a^T acceleration where a is the only token of both", common_obligation),
            Obligation(EQUAL, "reparametrised: G v = e_n - o/M at equal overlaps", equal_overlaps_obligation),
            Obligation(EQUAL, "loss = (K - 1) rho", loss_obligation),
            Obligation(EQUAL, "ratio x loss = reparametrised", ratio_obligation),
        ),
        (*WITHOUT_LAW, LIMIT, ORDER),
    )
