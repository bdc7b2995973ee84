r"""The loss on all parameters, reduced to its leak: a function on a simplex, with the same critical points.

Write p = (u12, u) for the last row of W_PV and K = (U; u21^T) for the first columns of W_KQ.
Main statements
    convexity       for p != 0 the loss is strictly convex in K: E yhat^2 = 0 only for K = 0 (yhat is a polynomial in
                    the prompt; its terms without w force U = 0 where u12 != 0, and those linear and quadratic in w
                    force u U + u12 u21^T = 0 and u u21 = 0). So the critical points with p != 0 are those of
                    F(p) = min_K L, a rational function that does not change under p -> c p; the kinds are the same
    symmetry        reflections and rotations that keep Lambda change neither F nor the set of critical points; so u12
                    may be taken with one component v_i >= 0 in each eigenspace, and F is a function of
                    t = (v_1^2, .., v_r^2, u^2) for r different eigenvalues: homogeneous of degree 0 on a simplex.
                    The one minimiser K keeps the symmetries of p: U is diagonal outside the chosen eigenvectors
    faces           where v_i = 0, dF/dv_i = 2 v_i dF/dt_i vanishes by itself; so the critical points are, for each
                    set of coordinates that differ from zero, the zeros of their dF/dt_i, and the second derivative
                    along v_i is 2 dF/dt_i there
    p = 0           critical where u21 = 0 and tr(Lambda^2 U) = 0: saddles with L = tr(Lambda)/2
Assumptions
    Those of `PromptLaw` with Psi = I, sigma = 0.
References
    Ours. On the reduction of a critical-point problem by symmetry: [palais1979symmetric].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra.commutants import Invariant, diagonal, value_on_invariants
from ..algebra.evaluation import exact_inverse
from ..algebra.simplex_zeros import Exponents, Polynomial
from ..symbols import NEXT_LENGTH
from .population_loss import noiseless_loss

Monomial = tuple[int, ...]


@dataclass(frozen=True)
class Eigenspaces:
    """The eigenvalues of Lambda, each once and ascending, with the dimensions of their spaces."""

    values: tuple[Fraction, ...]
    dimensions: tuple[int, ...]

    @property
    def trace(self) -> Fraction:
        return sum((v * m for v, m in zip(self.values, self.dimensions, strict=True)), start=Fraction(0))


@dataclass(frozen=True)
class ReducedLoss:
    """F on the face where only the eigenspaces `leaking` have a component of u12.

    leaking    indices of eigenvalues; the coordinates are t = (v_i^2 for i in leaking, u^2)
    field      of the eigenvalues, dimensions and context length; None for the rationals
    """

    eigenspaces: Eigenspaces
    context_length: Any
    leaking: tuple[int, ...]
    field: Any = None

    @cached_property
    def numbers(self) -> Any:
        """The field, as a domain of SymPy."""
        from sympy import QQ

        return self.field or QQ

    def number(self, value: Any) -> Any:
        """An element of the field."""
        from sympy import QQ

        if isinstance(value, int | Fraction):
            exact = Fraction(value)
            return self.numbers.convert(QQ(exact.numerator, exact.denominator))
        return value

    @cached_property
    def unknowns(self) -> tuple[tuple[str, ...], ...]:
        """Names of the entries of K: U_ij and u21_i on the chosen eigenvectors, and U's multiples outside."""
        k = len(self.leaking)
        inner = [("U", str(i), str(j)) for i in range(k) for j in range(k)]
        return (*inner, *(("z", str(i)) for i in range(k)), *(("c", str(j)) for j in range(len(self.outside))))

    @cached_property
    def outside(self) -> tuple[tuple[Fraction, int], ...]:
        """(eigenvalue, dimension) of what is left of each eigenspace."""
        left = [
            (value, dimension - int(i in self.leaking))
            for i, (value, dimension) in enumerate(
                zip(self.eigenspaces.values, self.eigenspaces.dimensions, strict=True)
            )
        ]
        return tuple((value, dimension) for value, dimension in left if dimension)

    @cached_property
    def loss(self) -> Any:
        """L in the ring of v, u and the unknowns, over the rationals."""
        from sympy.polys.rings import ring

        k = len(self.leaking)
        names = [*(f"v{i}" for i in range(k)), "u", *("".join(name) for name in self.unknowns)]
        R, *letters = ring(names, self.numbers)
        v, u, K = letters[:k], letters[k], letters[k + 1 :]

        def number(value: Any) -> Any:
            return R(self.number(value))

        zeros = (number(0),) * len(self.outside)
        eigenvalues = [number(self.eigenspaces.values[i]) for i in self.leaking]
        column = [np.array([[entry] for entry in part], dtype=object) for part in (v, K[k * k : k * k + k])]
        values = {
            "Lambda": Invariant(diagonal(eigenvalues, number(0)), tuple(number(value) for value, _ in self.outside)),
            "u12": Invariant(column[0], zeros),
            "u21": Invariant(column[1], zeros),
            "U": Invariant(np.array(K[: k * k], dtype=object).reshape(k, k), tuple(K[k * k + k :])),
        }
        N = self.number(self.context_length)
        dimensions = tuple(number(m) for _, m in self.outside)
        return value_on_invariants(
            noiseless_loss().loss, values, {"N": N, NEXT_LENGTH: N + 1, "u": u}, dimensions, number
        )

    def parity(self, name: tuple[str, ...]) -> Monomial:
        """The monomial in (v, u) with which an unknown changes its sign; divided by it, it is a function of t."""
        k, powers = len(self.leaking), [0] * (len(self.leaking) + 1)
        if name[0] == "z":
            powers[int(name[1])] = 1
        else:
            powers[k] = 1
            if name[0] == "U" and name[1] != name[2]:
                powers[int(name[1])] = powers[int(name[2])] = 1
        return tuple(powers)

    @cached_property
    def system(self) -> tuple[Any, list[list[Any]], list[Any]]:
        """(ring of t, H, b) with H k = b for K = D k, D the parities: D^-1 L_KK D and -D^-1 L_K at K = 0."""
        from sympy.polys.rings import ring

        k = len(self.leaking)
        T, *_ = ring([f"t{i}" for i in range(k + 1)], self.numbers)
        parities = [self.parity(name) for name in self.unknowns]
        letters = self.loss.ring.gens[k + 1 :]
        slopes = [self.loss.diff(letter) for letter in letters]
        H = [
            [
                halved_powers(slope.diff(letter), k + 1, column, row, T)
                for letter, column in zip(letters, parities, strict=True)
            ]
            for slope, row in zip(slopes, parities, strict=True)
        ]
        b = [
            halved_powers(-free_of(slope, k + 1), k + 1, (0,) * (k + 1), row, T)
            for slope, row in zip(slopes, parities, strict=True)
        ]
        return T, H, b

    @cached_property
    def quotient(self) -> tuple[Any, Any]:
        """(P, Q) with F = tr(Lambda)/2 - P/Q and Q > 0 on the simplex."""
        from sympy.polys.matrices import DomainMatrix

        T, H, b = self.system
        n = len(b)
        top, bottom = DomainMatrix(H, (n, n), T.to_domain()).solve_den(
            DomainMatrix([[x] for x in b], (n, 1), T.to_domain())
        )
        squares = [T({self.parity(name): T.domain(1)}) for name in self.unknowns]
        P = T(0)
        for b_i, square, (entry,) in zip(b, squares, top.to_list(), strict=True):
            P = P + b_i * square * entry
        sign = self.number(self.sign_of_determinant(bottom))
        return P * sign / 2, bottom * sign

    def sign_of_determinant(self, bottom: Any) -> int:
        """The sign of Q, which has no zero on the simplex for d >= 1 and N >= 1: of its value at one place."""
        value = sum((coefficient for _, coefficient in bottom.terms()), start=self.numbers(0))
        if self.field is not None:
            expression = value.as_expr()
            symbols = sorted(expression.free_symbols, key=str)
            value = expression.subs({symbol: 5 + 2 * k for k, symbol in enumerate(symbols)})
        return 1 if value > 0 else -1

    @cached_property
    def slopes(self) -> tuple[Polynomial, ...]:
        """Q^2 dF/dt_i, homogeneous: for each coordinate its polynomial."""
        P, Q = self.quotient
        return tuple(plain(P * Q.diff(t) - P.diff(t) * Q) for t in P.ring.gens)

    def value(self, t: Sequence[Fraction]) -> Fraction:
        """F at t."""
        P, Q = self.quotient
        convert = P.ring.domain
        at = [convert(x.numerator, x.denominator) for x in t]
        ratio = P(*at) / Q(*at)
        return self.eigenspaces.trace / 2 - as_fraction(ratio)

    def weights(self, t: Sequence[Fraction]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(p (d+1), K (d+1, d)) at t in a basis of eigenvectors, the eigenspaces in their order; v_i >= 0, u >= 0."""
        _, H, b = self.system
        at = [self.numbers(x.numerator, x.denominator) for x in t]
        left = np.array([[as_fraction(entry(*at)) for entry in row] for row in H], dtype=object)
        solved = exact_inverse(left) @ np.array([as_fraction(entry(*at)) for entry in b], dtype=object)
        roots = np.sqrt(np.array(t, dtype=float))
        entries = {
            name: float(value) * float(np.prod(roots ** np.array(self.parity(name))))
            for name, value in zip(self.unknowns, solved, strict=True)
        }
        return self.spread(roots, entries)

    def spread(
        self, roots: NDArray[np.float64], entries: Mapping[tuple[str, ...], float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The chosen eigenvectors are the first of their spaces."""
        firsts = np.cumsum([0, *self.eigenspaces.dimensions])
        d, places = int(firsts[-1]), [int(firsts[i]) for i in self.leaking]
        p, K = np.zeros(d + 1), np.zeros((d + 1, d))
        p[places], p[-1] = roots[:-1], roots[-1]
        rest = [place for place in range(d) if place not in places]
        for place, j in zip(rest, self.spaces_outside(), strict=True):
            K[place, place] = entries[("c", str(j))]
        for a, place in enumerate(places):
            K[-1, place] = entries[("z", str(a))]
            for b, other in enumerate(places):
                K[place, other] = entries[("U", str(a), str(b))]
        return p, K

    def spaces_outside(self) -> list[int]:
        """For each direction that is not chosen, in order, the index of its space among `outside`."""
        return [j for j, (_, dimension) in enumerate(self.outside) for _ in range(dimension)]


def as_fraction(value: Any) -> Fraction:
    """An element of the rationals as a Fraction."""
    return Fraction(int(value.numerator), int(value.denominator))


def free_of(polynomial: Any, first: int) -> Any:
    """The terms without the generators from `first` on."""
    return polynomial.ring.from_dict({m: c for m, c in polynomial.terms() if not any(m[first:])})


def halved_powers(polynomial: Any, count: int, times: Monomial, over: Monomial, T: Any) -> Any:
    """polynomial * times / over in the squares of the first `count` generators. It contains no others."""
    found = {}
    for monomial, coefficient in polynomial.terms():
        powers = tuple(a + b - c for a, b, c in zip(monomial[:count], times, over, strict=True))
        if any(monomial[count:]) or any(power % 2 or power < 0 for power in powers):
            raise ArithmeticError("need a loss that is even under reflections of the covariates")
        found[tuple(power // 2 for power in powers)] = coefficient
    return T.from_dict(found)


def plain(polynomial: Any) -> dict[Exponents, Fraction]:
    """The terms with Fractions for coefficients."""
    return {tuple(m): as_fraction(c) for m, c in polynomial.terms()}
