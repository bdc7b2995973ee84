r"""The reduced loss of the isotropic law, symbolic in d and N: for which of them a wrong minimum exists.

Lambda = lam I, Psi = I, sigma = 0; lam only gives the unit. With t = |u12|^2/u^2, F of `reduced_landscape`:
Main statements
    quartic         dF/dt has the sign of a polynomial of degree four in t (d >= 2), whose positive roots are the points
                    where u12, u, U and u21 all differ from zero: saddles and minima in turn, for F rises from the
                    fixed point at t = 0
    long contexts   sqrt(N) F -> (d - 1) k/2 + d/k for t = k sqrt(N): for d >= 2 and N large there is a strict local
                    minimum (up to scale and rotation) with t ~ sqrt(2 d N/(d - 1)) and L ~ sqrt(2 d (d - 1)/N), while
                    min L ~ d (d + 1)/(2 N)
    threshold       with N = c d^2, t = theta d, the quartic's leading part in d is
                    theta^4 - 2 (c - 1) theta^2 + 2 c + 1, with positive roots from c = 4 on: for large d that minimum
                    appears at N ~ 4 d^2
References
    Ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from ..algebra.alterations import Vocabulary
from ..algebra.evaluation import evaluate
from ..algebra.formulas import Formula
from ..algebra.trace_polynomials import TracePolynomial, number, scalar, zero
from ..symbols import NEXT_LENGTH
from .reduced_landscape import Eigenspaces, ReducedLoss

if TYPE_CHECKING:
    import sympy as sp


@cache
def isotropic_reduced_loss() -> ReducedLoss:
    """F for Lambda = I over the rational functions of N and d."""
    import sympy as sp

    field, _, d = sp.field("N,d", sp.QQ)
    N = field.gens[0]
    return ReducedLoss(Eigenspaces((Fraction(1),), (d,)), N, (0,), field.to_domain())


@cache
def edge_system() -> tuple[sp.Matrix, sp.Matrix]:
    """(H, b) of the loss d/2 - b.k + k.H k/2 at u = 1, u12 = v e_1, U = diag(a, c, .., c), u21 = v z e_1, t = v^2.

    k = (a, z, c); H is symmetric. For d = 1 there is no c, and its row is 0.
    """
    import sympy as sp

    reduced = isotropic_reduced_loss()
    _, H, b = reduced.system
    t = sp.Symbol("t")
    at = {"t0": t, "t1": 1}
    squares = [t if name[0] == "z" else 1 for name in reduced.unknowns]
    rows = [[square * entry.as_expr().subs(at) for entry in row] for square, row in zip(squares, H, strict=True)]
    right = [square * entry.as_expr().subs(at) for square, entry in zip(squares, b, strict=True)]
    return sp.Matrix(rows).applyfunc(sp.factor), sp.Matrix(right).applyfunc(sp.factor)


@cache
def isotropic_quotient() -> tuple[sp.Expr, sp.Expr]:
    """(P, Q) in t = |u12|^2/u^2, d and N with F = d/2 - P/Q and Q > 0."""
    import sympy as sp

    P, Q = (part.as_expr().subs({"t1": 1}).subs("t0", sp.Symbol("t")) for part in isotropic_reduced_loss().quotient)
    return sp.factor(P), sp.factor(Q)


@cache
def quartic() -> tuple[sp.Expr, ...]:
    """The coefficients c_0..c_4 in d and N of the polynomial in t that has the sign of dF/dt, for d >= 2.

    >>> [int(c.subs({"d": 2, "N": 1})) > 0 for c in quartic()]
    [True, True, True, False, False]
    """
    import sympy as sp

    t, d, N = sp.symbols("t d N")
    P, Q = isotropic_quotient()
    slope = sp.factor(P * sp.diff(Q, t) - sp.diff(P, t) * Q)
    cleared = sp.cancel(slope * 2 * N**9 / (d - 1) ** 2)
    return tuple(sp.factor(c) for c in reversed(sp.Poly(cleared, t).all_coeffs()))


def quartic_at(dimension: int, context_length: int) -> sp.Poly:
    """The quartic in t with its integers."""
    import sympy as sp

    t = sp.Symbol("t")
    values = {"d": dimension, "N": context_length}
    return sp.Poly([c.subs(values) for c in reversed(quartic())], t)


def number_of_points_that_leak_in_part(dimension: int, context_length: int) -> int:
    """How many roots t > 0 the quartic has, by Sturm's theorem.

    >>> [number_of_points_that_leak_in_part(3, n) for n in (3, 4, 17, 18)]
    [1, 0, 0, 2]
    """
    polynomial = quartic_at(dimension, context_length)
    return int(polynomial.count_roots(0, None)) - int(polynomial.eval(0) == 0)


def has_a_wrong_minimum(dimension: int, context_length: int) -> bool:
    """Whether the isotropic law (d >= 2) has a strict local minimum, up to scale and rotation, that is not global.

    F falls towards the leak alone (t = oo) where the leading coefficient is negative; else each pair of roots has a
    minimum at the second.

    >>> [n for n in range(1, 30) if has_a_wrong_minimum(3, n)]
    [1, 2, 3, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
    """
    leak_is_stable = quartic_at(dimension, context_length).LC() < 0
    return leak_is_stable or number_of_points_that_leak_in_part(dimension, context_length) >= 2


@dataclass(frozen=True)
class Threshold:
    """From this context length on, and not at the one before, some point that leaks in part is a local minimum.

    between    t where the quartic is negative for every N >= context_length
    """

    dimension: int
    context_length: int
    between: Fraction

    def is_proved(self) -> bool:
        """With N = context_length + m all coefficients in m of -quartic(between), and of quartic(0) and the leading
        coefficient, are positive: so for every m >= 0 the quartic is positive at 0, negative at `between` and positive
        at oo, and F has a minimum beyond `between`. And at context_length - 1 there is none."""
        signs = [
            (quartic_value(self.dimension, self.between), -1),
            (quartic()[0].subs("d", self.dimension), 1),
            (quartic()[4].subs("d", self.dimension), 1),
        ]
        beyond = all(all(sign * c > 0 for c in shifted(value, self.context_length)) for value, sign in signs)
        return beyond and number_of_points_that_leak_in_part(self.dimension, self.context_length - 1) < 2


def quartic_value(dimension: int, t: Fraction) -> sp.Expr:
    """The quartic at a number t, a polynomial in N."""
    import sympy as sp

    at = sp.Rational(t.numerator, t.denominator)
    return sp.expand(sum(c.subs("d", dimension) * at**k for k, c in enumerate(quartic())))


def shifted(polynomial: sp.Expr, start: int) -> list[Any]:
    """The coefficients in m of a polynomial in N = start + m."""
    import sympy as sp

    N, m = sp.symbols("N m")
    return list(sp.Poly(sp.expand(polynomial.subs(N, start + m)), m).all_coeffs())


def threshold(dimension: int) -> Threshold:
    """The threshold of the isotropic law, d >= 2; `is_proved` confirms it for all longer contexts.

    >>> threshold(3).context_length, threshold(3).is_proved()
    (18, True)
    """
    below, reached = 1, 2
    while number_of_points_that_leak_in_part(dimension, reached) < 2:
        below, reached = reached, 2 * reached
    while reached - below > 1:
        middle = (below + reached) // 2
        if number_of_points_that_leak_in_part(dimension, middle) >= 2:
            reached = middle
        else:
            below = middle
    (first, second) = (root for root, _ in quartic_at(dimension, reached).intervals(eps=Fraction(1, 1000), inf=0))
    low, high = Fraction(str(first[1])), Fraction(str(second[0]))
    # The second root falls at first and grows later where the two are far apart (d = 2): so some places are tried.
    tried = [Threshold(dimension, reached, low + (high - low) / part) for part in (2, 4, 8)]
    return next((one for one in tried if one.is_proved()), tried[0])


@cache
def long_contexts() -> sp.Expr:
    """The limit of sqrt(N) F at t = k sqrt(N) as N grows, d >= 2.

    >>> long_contexts()
    d/k + k*(d - 1)/2
    """
    import sympy as sp

    t, d, N, k, n = sp.symbols("t d N k n")
    P, Q = isotropic_quotient()
    top, bottom = sp.fraction(sp.together((d / 2 - P / Q).subs({t: k * n, N: n**2})))
    leading = [sp.Poly(sp.expand(part), n) for part in (top, bottom)]
    if leading[0].degree() + 1 != leading[1].degree():
        raise ArithmeticError("need a loss that falls like 1/sqrt(N)")
    limit = sp.expand(sp.cancel(leading[0].LC() / leading[1].LC()))
    return sp.collect(limit, [k, 1 / k], sp.factor)


@cache
def leading_part() -> sp.Expr:
    """The quartic's part of the highest degree in d at N = c d^2, t = theta d, up to a positive factor.

    >>> leading_part()
    -2*c*theta**2 + 2*c + theta**4 + 2*theta**2 + 1
    """
    import sympy as sp

    d, N, c, theta = sp.symbols("d N c theta")
    whole = sum(part * (theta * d) ** k for k, part in enumerate(quartic()))
    highest = sp.Poly(sp.expand(whole.subs(N, c * d**2)), d).LC()
    return sp.expand(sp.cancel(highest / c**8))


# The quartic as a formula that can be altered


@cache
def quartic_formula() -> Formula:
    """c_0 + c_1 t + .. + c_4 t^4 as a polynomial in the scalars t, d and N."""
    import sympy as sp

    whole = sp.Poly(sum(c * sp.Symbol("t") ** k for k, c in enumerate(quartic())), *sp.symbols("t d N"))
    letters, total = [scalar(name) for name in ("t", "d", "N")], zero()
    for powers, coefficient in whole.terms():
        term = number(Fraction(int(coefficient.p), int(coefficient.q)))
        for letter, power in zip(letters, powers, strict=True):
            term = term * letter**power
        total = total + term
    vocabulary = Vocabulary({"N": (NEXT_LENGTH,)}, {})
    return Formula({"quartic": total}, value_of_quartic, vocabulary)


def value_of_quartic(parts: Mapping[str, TracePolynomial], values: Mapping[str, Any]) -> Any:
    """Its value at numbers."""
    return evaluate(parts["quartic"], {**values, NEXT_LENGTH: values["N"] + 1})


def quartic_points(name: str) -> list[dict[str, Fraction]]:
    """Random rational t, d and N; see `formulas` for what they tell apart."""
    draw = random.Random(f"quartic {name}")
    return [{letter: Fraction(draw.randint(1, 500), 7) for letter in ("t", "d", "N")} for _ in range(5)]
