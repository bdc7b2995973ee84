r"""When the leak along a dominant eigenvector is a local minimum: the exact criterion in N, the ratio r and the rest m.

Lambda has the eigenvalue r once, and 1 on a space of dimension m = d - 1, up to scale; Psi = I, sigma = 0.
Main statements
    criterion       for r > 1 the leak along the eigenvector of r (u = 0, U = 0, A = v v^T/Gamma_r) is a strict local
                    minimum up to scale where a polynomial of degree 5 in N is positive, and a saddle where it is
                    negative. Along the eigenvectors of 1 it is a saddle: turning the leak towards r lowers the loss
    r = 1           with rotations as a further symmetry: the criterion of `any_start`, m = d - 1
    long contexts   the term of N^5 is -m r^2 N^5: for N large enough it is a saddle
    strong ratio    the terms of r^4 are r^4 (2 N^4 + ..): the leak is stable up to N ~ 2 r^2/m
References
    Ours.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from .reduced_landscape import Eigenspaces, ReducedLoss

if TYPE_CHECKING:
    import sympy as sp


@cache
def slope_at_the_leak() -> sp.Expr:
    """dF/d(u^2) at the leak along the eigenvector of r with |u12| = 1, a rational function of N, r and m."""
    import sympy as sp

    field, N, r, m = sp.field("N,r,m", sp.QQ)
    reduced = ReducedLoss(Eigenspaces((Fraction(1), r), (m, 1)), N, (1,), field.to_domain())
    P, Q = reduced.quotient
    across = at_corner(P * Q.diff(P.ring.gens[1]) - P.diff(P.ring.gens[1]) * Q)
    return sp.factor(across / at_corner(Q) ** 2)


def at_corner(polynomial: Any) -> sp.Expr:
    """A homogeneous polynomial in the leak's and u's squares at the leak alone."""
    (found,) = (coefficient.as_expr() for (_, power), coefficient in polynomial.terms() if not power)
    return found


@cache
def criterion() -> sp.Expr:
    """The factor of `slope_at_the_leak` that may change its sign, with its sign.

    >>> [n for n in range(1, 30) if criterion().subs({"r": 2, "m": 1, "N": n}) > 0]
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    """
    import sympy as sp

    slope = slope_at_the_leak()
    (found,) = (factor for factor, _ in sp.factor_list(sp.numer(slope))[1] if sp.degree(factor, sp.Symbol("N")) == 5)
    return found * sign_of(found, slope)  # the other factors are positive for N, r, m > 0


def sign_of(factor: sp.Expr, product: sp.Expr) -> int:
    """The sign of product/factor at one place."""
    place = {"N": 3, "r": 2, "m": 1}
    return 1 if (product / factor).subs(place) > 0 else -1


def is_stable(ratio: object, others: int, context_length: int) -> bool:
    """Whether the leak along the dominant eigenvector is a strict local minimum; the ratio r > 1 as a rational.

    >>> [max(n for n in range(1, 300) if is_stable(r, 1, n)) for r in (2, 3, 5, 10)]
    [10, 20, 52, 202]
    """
    return bool(criterion().subs({"r": ratio, "m": others, "N": context_length}) > 0)
