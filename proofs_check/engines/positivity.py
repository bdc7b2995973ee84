r"""Positive semi-definiteness by explicit squares, which are then multiplied out and compared exactly.

Main statement
    With Lambda = K K^T, Psi = J J^T and sigma2 = tau^2, a polynomial P (d x d) whose terms are
    c (powers of 1/N, m1, sigma2) tr(P1 P2)... V P0 V^T, c > 0, P0, P1, P2 among I, Lambda, Psi, is
    sum_j weight_j Q_j Q_j^T with Q = V R0, and weights c (powers) |R1^T R2|_F^2 that are not negative. So P is positive
    semi-definite, and
    tr(G^T P G Lambda) = sum_j weight_j |Q_j^T G K|_F^2 >= 0     for every G.
The squares are read off the words; that they make up P is checked as an identity in K, J and tau.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .expressions import Expression, Factor, Term, evaluate, rational, value_of_symbol, value_of_word, written
from .identities import COMPONENTS, Identity
from .matrices import Matrix, total
from .points import Kind, Point
from .refusals import RefutedError

ROOTS: dict[str, str] = {"Lambda": "K", "Psi": "J"}
LETTERS: dict[str, Kind] = {"K": "matrix", "J": "matrix", "tau": "scalar", "1/N": "scalar", "m1": "scalar"}
NOT_NEGATIVE = ("1/N", "m1", "sigma2")


@dataclass(frozen=True)
class Square:
    """weight * Q Q^T: the weight's coefficient, symbols and norms |R1^T R2|_F^2, and the word of Q."""

    coefficient: Fraction
    symbols: tuple[tuple[str, int], ...]
    norms: tuple[tuple[Factor, ...], ...]
    word: tuple[Factor, ...]

    def __str__(self) -> str:
        symbols = [f"{name}^{power}" if power > 1 else name for name, power in self.symbols]
        norms = [f"|{written(word)}|^2" for word in self.norms]
        return " ".join([str(self.coefficient), *symbols, *norms, f"Q Q^T with Q = {written(self.word) or 'I'}"])


def square_of(term: Term) -> Square:
    """The square that a term is; raises RefutedError for a term of another shape."""
    symbols = tuple((f"1/{name}" if power < 0 else name, abs(power)) for name, power in term.powers)
    if term.coefficient <= 0 or any(name not in NOT_NEGATIVE for name, _ in symbols):
        raise RefutedError(f"the term {term.coefficient} {dict(symbols)} {written(term.open)} is not visibly positive")
    return Square(term.coefficient, symbols, tuple(norm_of(word) for word in term.closed), root_of(term.open))


def norm_of(word: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """R1^T R2 with tr(P1 P2) = |R1^T R2|_F^2; R1 alone for tr(P1)."""
    if len(word) not in (1, 2) or any(factor.name not in ROOTS for factor in word):
        raise RefutedError(f"the trace of {written(word)} is not visibly positive")
    roots = [root_letter(factor) for factor in word]
    return (roots[0]._replace(transposed=True), *roots[1:])


def root_of(word: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """Q with Q Q^T = word: the first half of a palindrome of symmetric letters, and a root of its middle."""
    if any(factor.name not in ROOTS or factor.inverse for factor in word) or word != word[::-1]:
        raise RefutedError(f"the word {written(word)} is not visibly positive")
    half = word[: len(word) // 2]
    return (*half, root_letter(word[len(word) // 2])) if len(word) % 2 else half


def root_letter(factor: Factor) -> Factor:
    return Factor(ROOTS[factor.name], False, False, 0)


@dataclass(frozen=True)
class SumOfSquares:
    """P = sum of squares for Lambda = K K^T, Psi = J J^T, sigma2 = tau^2; refused where a term is no square.

    definite    also needs a square with Q = K and a weight that is positive for Psi != 0: then P >= c Lambda, c > 0
    """

    form: Expression
    definite: bool = False
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    @property
    def letters(self) -> Mapping[str, Kind]:
        return LETTERS

    def squares(self) -> list[Square]:
        return [square_of(term) for term in self.form.terms]

    def identity(self) -> Identity:
        """P at the roots against the squares multiplied out."""
        squares = self.squares()

        def difference(point: Point) -> Matrix:
            at_roots = with_roots(point)
            products = [multiplied_out(square, at_roots) for square in squares]
            return evaluate(self.form, at_roots.values, point.one) - total(iter(products))  # type: ignore[no-any-return]

        pairs, degree = 2 * self.form.pairs_of_legs(frozenset()), 2 * self.form.degree()
        return Identity(difference, LETTERS, {}, pairs, degree, self.form.largest_power("d"), COMPONENTS[:3])

    def evidence(self) -> dict[str, Any]:
        squares = [str(square) for square in self.squares()]
        bound = [str(square) for square in self.squares() if bounds_from_below(square)]
        if self.definite and not bound:
            raise RefutedError("no square bounds the form from below by a multiple of Lambda")
        return {"squares": squares, "definite_by": bound[:1], **self.identity().evidence()}

    def check(self, seed: str) -> None:
        self.evidence()
        self.identity().check(seed)


def bounds_from_below(square: Square) -> bool:
    """Whether it is c Lambda with c > 0 for every N, sigma2 >= 0, Lambda definite and Psi != 0."""
    lambda_alone = [factor.name for factor in square.word] == ["K"]
    return lambda_alone and all(name != "sigma2" for name, _ in square.symbols)


def with_roots(point: Point) -> Point:
    """The point with Lambda = K K^T, Psi = J J^T, sigma2 = tau^2."""
    values = {name: point[root] @ point[root].T for name, root in ROOTS.items()}
    return point.with_values({**values, "sigma2": point["tau"] ** 2})


def multiplied_out(square: Square, point: Point) -> Matrix:
    """weight * Q Q^T."""
    weight = point.one * rational(square.coefficient)
    for name, power in square.symbols:
        weight = weight * value_of_symbol(name, power, point.values)
    for word in square.norms:
        factor = value_of_word(word, point.values)
        weight = weight * (factor @ factor.T).trace()
    Q = value_of_word(square.word, point.values) if square.word else point["I"]
    return (Q @ Q.T) * weight  # type: ignore[no-any-return]
