r"""Obligations of scan-frequency: the force from the layer, what is conserved, and all tokens from one.

The layer here: unnormalised weights c_k = P(k|n) e^{z_k}, so that d/dz_k is c_k d/dc_k, and f = c/|c|. With N = c.c and
s = g.c the derivative of g.f along z_k is (d_k s)/N^(1/2) - s (d_k N)/(2 N^(3/2)): d_k s - s d_k N/2 at |c| = 1.
An identity between polynomials in all c holds on the sphere, too.

Entries of a force are polynomials in the token's own letters and in power sums over all tokens. Products of at most n
power sums are independent functions in n + 1 or more tokens, one of them the token itself; so forms of at most five
letters are decided in six dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.decisions import Condition, Decision, Question
from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.layer import dot
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from .fixed_point import half, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED

GRADIENT, FORCE, DISTINCT = "gradient handed back", "force of one class", "force on distinct tokens"
INVERSE, ONE, GAIN, LEADING = "inverse squares", "all tokens from one", "relative gain", "the leading token"
DIMENSION, DEGREE = 6, 16
VECTORS: dict[str, Kind] = {name: "vector" for name in ("c", "g")}
SCALARS: dict[str, Kind] = {name: "scalar" for name in ("eta", "p")}
OF_FORCE = {"eta": (1,), "p": (1,)}


def identity(difference: Callable[[Point], Any], letters: dict[str, Kind], *forms: Expression) -> Identity:
    """Symbols in up to three dimensions, random numbers in six; no form has a power of d."""
    degree = max([DEGREE, *(4 * form.degree() + 4 for form in forms)])
    return Identity(difference, letters, {}, DIMENSION, degree, 0, (1, 2, 3))


def diagonal(vector: Matrix, zero: Any) -> Matrix:
    """diag(c)."""
    n = vector.shape[0]
    return Matrix.build(n, n, lambda i, j: vector[i, 0] if i == j else zero)


# From the loss to the force


def gradient_obligation(forms: Forms) -> Identity:
    """The loss's differential on any direction: d(w_n - log sum_j e^{w_j}) = w_n' - sum_j alpha_j w_j', w' = Y^T df."""
    form = forms.expression(GRADIENT, "right")
    letters: dict[str, Kind] = {"Y": "matrix", "e": "vector", "alpha": "vector", "df": "vector"}

    def difference(point: Point) -> Any:
        moved = point["Y"].T @ point["df"]
        return dot(point["e"], moved) - dot(point["alpha"], moved) - dot(value(form, point), point["df"])

    return identity(difference, letters, form)


def along_the_logit(sum_of: Matrix, c: Matrix, k: int) -> Any:
    """d/dz_k of sum_of.c for constant sum_of."""
    return sum_of[k, 0] * c[k, 0]


def literal_force(point: Point, c: Matrix, g: Matrix) -> list[Any]:
    """d(g.f)/dz_k at |c| = 1 for every k: d_k s - s d_k N/2, d_k N = 2 c_k^2."""
    s = dot(g, c)
    return [along_the_logit(g, c, k) - half(s * (along_the_logit(c, c, k) * 2)) for k in range(point.dimension)]


def force_obligation(forms: Forms) -> Identity:
    form = forms.expression(FORCE, "right")

    def difference(point: Point) -> list[Any]:
        c, scale = point["c"], point["eta"] * point["p"]
        found = value(form, point, D=diagonal(c, point.one * 0), f=c)
        literal = literal_force(point, c, point["g"])
        return [scale * literal[k] - found[k, 0] for k in range(point.dimension)]

    return identity(difference, {**VECTORS, **SCALARS}, form)


def distinct_obligation(forms: Forms) -> Identity:
    """The first token has g = kappa f, the others any g; xi = kappa - f.g."""
    form = forms.expression(DISTINCT, "right")
    letters: dict[str, Kind] = {**VECTORS, **SCALARS, "kappa": "scalar"}

    def difference(point: Point) -> Any:
        c, g = point["c"], point["g"]
        handed = Matrix.build(point.dimension, 1, lambda k, _: g[k, 0] if k else c[0, 0] * point["kappa"])
        xi = point["kappa"] - dot(c, handed)
        found = value(form, point, D=diagonal(c, point.one * 0), f=c, xi=xi)
        return point["eta"] * point["p"] * literal_force(point, c, handed)[0] - found[0, 0]

    return identity(difference, letters, form)


# What is conserved


def inverse_obligation(forms: Forms) -> Identity:
    """-u'/u^2 with u = c^2, u' = 2 u z', z' = eta p xi u t, in the letter t for 1/S."""
    form = forms.expression(INVERSE, "right")
    letters: dict[str, Kind] = {name: "scalar" for name in ("eta", "p", "xi", "u", "t")}

    def difference(point: Point) -> Any:
        u, force = point["u"], point["eta"] * point["p"] * point["xi"] * point["u"] * point["t"]
        return value(form, point, **{"1/S": point["t"]}) * u * u + u * 2 * force

    return identity(difference, letters, form)


SQUARES: dict[str, Kind] = {name: "scalar" for name in ("v", "w", "s", "sigma", "chi")}


def solved_obligation(forms: Forms) -> Identity:
    """(1/u - 1/v - 1/s + 1/w) u v w s = 0 at u = numerator/denominator, times the denominator."""
    top, bottom = (forms.expression(ONE, name) for name in ("numerator", "denominator"))

    def difference(point: Point) -> Any:
        v, w, s = point["v"], point["w"], point["s"]
        u, below = value(top, point), value(bottom, point)
        return below * (v * w * s) - u * (w * s + v * w - v * s)

    return identity(difference, SQUARES, top, bottom)


def clock_obligation(forms: Forms) -> Identity:
    """v/u = 1 - sigma v: times v, 1/u = 1/v - sigma."""
    form = forms.expression(ONE, "left of the clock")
    return identity(lambda point: value(form, point) - (point.one - point["v"] * point["sigma"]), SQUARES, form)


def gain_obligation(forms: Forms) -> Identity:
    """u (1/u + t - 1/v) - 1 at u = chi v, in the letter t for 1/w."""
    form = forms.expression(GAIN, "right")

    def difference(point: Point) -> Any:
        chi, v, t = point["chi"], point["v"], point["t"]
        return value(form, point, **{"1/w": t}) - (point.one + chi * v * t - chi - point.one)

    return identity(difference, {**SQUARES, "t": "scalar"}, form)


def growth_obligation(forms: Forms) -> Identity:
    """(ln f_0)' = sum_k z_k' d_k ln f_0, d_k ln f_0 = (k = 0) - c_k^2; the first two tokens have z' = k c^2."""
    form = forms.expression(LEADING, "growth")
    letters: dict[str, Kind] = {"c": "vector", "k": "scalar", "z": "vector"}

    def difference(point: Point) -> Any:
        c, distinct = point["c"], range(min(2, point.dimension))
        squares = [c[k, 0] * c[k, 0] for k in range(point.dimension)]
        moved = [point["k"] * squares[k] if k in distinct else point["z"][k, 0] for k in range(point.dimension)]
        literal = moved[0]
        for square, rate in zip(squares, moved, strict=True):
            literal = literal - square * rate
        fourth, rest = point.one * 0, point.one * 0
        for k, (square, rate) in enumerate(zip(squares, moved, strict=True)):
            fourth, rest = (fourth + square * square, rest) if k in distinct else (fourth, rest + square * rate)
        return literal - value(form, point, h=squares[0], q=fourth, rest=rest)

    return identity(difference, letters, form)


def leading_decision(forms: Forms) -> Decision:
    """x >= y, z >= 0 are the squares of distinct tokens, m >= 0 the rest: x^2 + y^2 + z^2 <= x (1 - m)."""
    del forms

    def ask() -> Question:
        context = flint.fmpq_mpoly_ctx.get(["x", "y", "z"], flint.Ordering.degrevlex)
        x, y, z = context.gens()
        hypotheses = [[Condition(one, "<= 0")] for one in (y - x, z - x, -y, -z, x + y + z - 1)]
        squares = x * x + y * y + z * z
        return Question(
            hypotheses,
            [[Condition(x * (x + y + z) - squares, "< 0")]],
            [[Condition(y * (x + y + z) - squares, "< 0")]],
        )

    letters = {"x": "square of the leading token", "y": "of another", "z": "of a third"}
    return Decision(ask, letters, "another token in the place of the leading one")


OF_SQUARES = {name: (1,) for name in ("v", "w", "s")}
WORDS = (
    "The step 'the leading token': from its identity and inequality to the bounds, by integrals of inequalities.",
    "The step 'all tokens from one': that u increases with v, so that the order stays.",
)


def scalar_form(**powers: tuple[int, ...]) -> Polynomial:
    """A polynomial in commuting symbols with these powers."""
    return Polynomial("1", "1", frozenset(), powers)


def force_kinds() -> dict[str, dict[str, Any]]:
    """The kinds of the forms of the first three steps."""
    return {
        GRADIENT: {"right": Polynomial("d", "1", frozenset({"Y", "e", "alpha"}), {})},
        FORCE: {"right": Polynomial("d", "1", frozenset({"D", "f", "g"}), OF_FORCE)},
        DISTINCT: {"right": Polynomial("d", "1", frozenset({"D", "f"}), {**OF_FORCE, "xi": (1,)})},
    }


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "scan-frequency",
        (
            "f = c/|c|, c_k = P(k|n) e^{z_k}; loss -log softmax(Y^T f)_n",
            "d log sum_j e^{w_j} = sum_j alpha_j dw_j; g constant along df",
            "g_l = kappa f_l on the tokens distinct to class n",
        ),
        {
            **force_kinds(),
            INVERSE: {"right": scalar_form(eta=(1,), p=(1,), xi=(1,), S=(-1,))},
            ONE: {
                "numerator": scalar_form(**OF_SQUARES),
                "denominator": scalar_form(**OF_SQUARES),
                "left of the clock": scalar_form(sigma=(1,), v=(1,)),
            },
            GAIN: {"right": scalar_form(chi=(1,), v=(1,), w=(-1,))},
            LEADING: {"growth": scalar_form(k=(1,), h=(1,), q=(1,), rest=(1,))},
        },
        (
            Obligation(GRADIENT, "(e - alpha).Y^T df = right.df, for every df", gradient_obligation),
            Obligation(FORCE, "eta p d(g.f)/dz_k = right_k for every token k, at |c| = 1", force_obligation),
            Obligation(DISTINCT, "the same at a token with g = kappa f, xi = kappa - f.g", distinct_obligation),
            Obligation(INVERSE, "right u^2 = -u' at u' = 2 u z', z' = eta p xi u/S", inverse_obligation),
            Obligation(ONE, "1/u - 1/v = 1/s - 1/w at u = numerator/denominator", solved_obligation),
            Obligation(ONE, "left of the clock = 1 - sigma v", clock_obligation),
            Obligation(GAIN, "u/u' - 1 = right at u = chi v, 1/u' = 1/u + 1/w - 1/v", gain_obligation),
            Obligation(LEADING, "growth = (ln f_l)' with z' = k f^2 on two distinct tokens", growth_obligation),
            Obligation(LEADING, "q <= h (1 - m) for a leading token of three distinct ones", leading_decision),
        ),
        (TRUSTED[0], TRUSTED[3], *WORDS),
    )
