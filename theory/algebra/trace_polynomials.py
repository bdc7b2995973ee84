"""Trace polynomials: exact sums of (scalars) x (traces and bilinear forms) x (an open word).

A monomial is a rational coefficient, integer powers of commuting symbols (N, d, u, ...; negative
powers are allowed, so 1/N is N^-1), a multiset of closed words, and one open word. With rows and
columns on the line the open word is empty and the polynomial is a scalar: a trace polynomial in
the narrow sense. Everything is kept in the normal form of `words`, so two polynomials without
sample indices are equal as functions of generic matrices of every dimension when their terms are
equal. (With sample indices equality of terms is sufficient, not necessary: dummies may be named
differently.) The trace of an identity is the commuting symbol of its space: d stays symbolic.

Main objects
    TracePolynomial      the ring, with products, transposes, traces and substitution
    matrix, vector, scalar, identity, number, zero      its generators
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from .words import LINE, Letter, Word, closed_normal_form, cut_at_the_line, join, transpose

Scalars = tuple[tuple[str, int], ...]
Number = int | Fraction


class Monomial(NamedTuple):
    """Commuting powers, closed words (sorted), and one open word."""

    scalars: Scalars = ()
    traces: tuple[Word, ...] = ()
    word: Word = ()

    def letters(self) -> Iterator[Letter]:
        """Every letter, closed words first."""
        for closed in self.traces:
            yield from closed
        yield from self.word

    def last_index(self) -> int:
        """The largest sample index in use, 0 if there is none."""
        return max((letter.index for letter in self.letters()), default=0)


def multiply_scalars(left: Scalars, right: Scalars) -> Scalars:
    """Powers of commuting symbols add."""
    if not left or not right:
        return left or right
    powers = Counter(dict(left))
    for symbol, exponent in right:
        powers[symbol] += exponent
    return tuple(sorted((s, e) for s, e in powers.items() if e))


def normal_form(scalars: Scalars, closed: list[tuple[Word, str]], word: Word) -> Monomial:
    """The monomial with its open word cut at the line and its closed words in normal form.

    `closed` holds pairs (closed word, space where it begins); the space gives tr(I) its symbol.
    """
    closed, open_word = list(closed), list[Letter]()
    for piece in cut_at_the_line(word) if word else []:
        if piece[0].rows == LINE and piece[-1].cols == LINE:
            closed.append((piece, LINE))
        else:
            open_word.extend(piece)
    traces = []
    for piece, space in closed:
        normal = closed_normal_form(piece) if piece else ()
        if normal:
            traces.append(normal)
        elif space != LINE:
            scalars = multiply_scalars(scalars, ((space, 1),))
    return Monomial(scalars, tuple(sorted(traces)), tuple(open_word))


def shift_indices(word: Word, by: int) -> Word:
    """Fresh dummies for the sample indices of a word."""
    return tuple(x._replace(index=x.index + by) if x.index else x for x in word)


class TracePolynomial:
    """An exact polynomial with values in rows x cols matrices; a scalar when both are "1".

    `A * B` is the matrix product (or scaling, if one is a scalar); sample indices of the factors
    are kept apart, so `S * S` sums over two independent indices.
    """

    __slots__ = ("cols", "rows", "terms")

    def __init__(self, rows: str, cols: str, terms: Mapping[Monomial, Fraction]) -> None:
        self.rows, self.cols = rows, cols
        self.terms: Mapping[Monomial, Fraction] = {monomial: value for monomial, value in terms.items() if value}

    @property
    def is_scalar(self) -> bool:
        return self.rows == LINE and self.cols == LINE

    def __repr__(self) -> str:
        from .printing import to_text

        return to_text(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | Fraction):
            other = number(other)
        if not isinstance(other, TracePolynomial):
            return NotImplemented
        return (self.rows, self.cols, self.terms) == (other.rows, other.cols, other.terms)

    def __hash__(self) -> int:
        return hash((self.rows, self.cols, frozenset(self.terms.items())))

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __add__(self, other: TracePolynomial | Number) -> TracePolynomial:
        other = as_polynomial(other)
        if (self.rows, self.cols) != (other.rows, other.cols):
            raise ValueError(f"need equal shapes to add, got {self.rows} x {self.cols} and {other.rows} x {other.cols}")
        terms = defaultdict(Fraction, self.terms)
        for monomial, value in other.terms.items():
            terms[monomial] += value
        return TracePolynomial(self.rows, self.cols, terms)

    def __neg__(self) -> TracePolynomial:
        return TracePolynomial(self.rows, self.cols, {m: -v for m, v in self.terms.items()})

    def __sub__(self, other: TracePolynomial | Number) -> TracePolynomial:
        return self + (-as_polynomial(other))

    def __rsub__(self, other: Number) -> TracePolynomial:
        return as_polynomial(other) - self

    def __mul__(self, other: TracePolynomial | Number) -> TracePolynomial:
        return product(self, as_polynomial(other))

    def __rmul__(self, other: Number) -> TracePolynomial:
        return product(as_polynomial(other), self)

    __radd__ = __add__

    def __truediv__(self, other: Number) -> TracePolynomial:
        return self * (1 / Fraction(other))

    def __pow__(self, exponent: int) -> TracePolynomial:
        """Powers of a scalar or square matrix; negative ones only of a single term without traces."""
        if exponent < 0:
            return inverse_of_monomial(self) ** -exponent
        result = identity(self.rows)
        for _ in range(exponent):
            result = result * self
        return result

    @property
    def T(self) -> TracePolynomial:
        """The transpose."""
        terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
        for (scalars, traces, word), value in self.terms.items():
            terms[Monomial(scalars, traces, transpose(word))] += value
        return TracePolynomial(self.cols, self.rows, terms)


def product(left: TracePolynomial, right: TracePolynomial) -> TracePolynomial:
    """The matrix product, or the scaling where one factor is a scalar."""
    if left.cols != right.rows and not (left.is_scalar or right.is_scalar):
        raise ValueError(
            f"need matching shapes to multiply, got {left.rows} x {left.cols} and {right.rows} x {right.cols}"
        )
    rows, cols = (right.rows, right.cols) if left.is_scalar else (left.rows, right.cols)
    if right.is_scalar and not left.is_scalar:
        rows, cols = left.rows, left.cols
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for a, value_a in left.terms.items():
        shift = a.last_index()
        for b, value_b in right.terms.items():
            terms[multiply_monomials(a, b, shift)] += value_a * value_b
    return TracePolynomial(rows, cols, terms)


def multiply_monomials(a: Monomial, b: Monomial, shift: int) -> Monomial:
    """Product of two monomials, the sample indices of the second moved up by `shift`."""
    traces, word = b.traces, b.word
    if shift and b.last_index():
        traces = tuple(closed_normal_form(shift_indices(closed, shift)) for closed in traces)
        word = shift_indices(word, shift)
    merged = normal_form(multiply_scalars(a.scalars, b.scalars), [], join(a.word, word))
    return Monomial(merged.scalars, tuple(sorted(a.traces + traces + merged.traces)), merged.word)


def trace(polynomial: TracePolynomial) -> TracePolynomial:
    """The trace of a square polynomial: a scalar."""
    if polynomial.rows != polynomial.cols:
        raise ValueError(f"need a square matrix for a trace, got {polynomial.rows} x {polynomial.cols}")
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for (scalars, traces, word), value in polynomial.terms.items():
        terms[close(scalars, traces, word, polynomial.rows)] += value
    return TracePolynomial(LINE, LINE, terms)


def close(scalars: Scalars, traces: tuple[Word, ...], word: Word, space: str) -> Monomial:
    """The monomial with its open word closed into a trace (turned to the line if it passes there)."""
    if space != LINE:
        cuts = [k for k, letter in enumerate(word) if letter.rows == LINE]
        if cuts:
            turned = join(word[cuts[0] :], word[: cuts[0]])
            merged = normal_form(scalars, [], turned)
        else:
            merged = normal_form(scalars, [(word, space)], ())
    else:
        merged = normal_form(scalars, [], word)
    return Monomial(merged.scalars, tuple(sorted(traces + merged.traces)), ())


def number(value: Number) -> TracePolynomial:
    """A rational constant."""
    return TracePolynomial(LINE, LINE, {Monomial(): Fraction(value)})


def scalar(symbol: str) -> TracePolynomial:
    """A commuting symbol such as N, d or u."""
    return TracePolynomial(LINE, LINE, {Monomial(((symbol, 1),)): Fraction(1)})


def letter(symbol: Letter) -> TracePolynomial:
    """A letter as a polynomial."""
    return TracePolynomial(symbol.rows, symbol.cols, {normal_form((), [], (symbol,)): Fraction(1)})


def identity(space: str = "d") -> TracePolynomial:
    """The identity of a space."""
    return TracePolynomial(space, space, {Monomial(): Fraction(1)})


def zero(rows: str = LINE, cols: str = LINE) -> TracePolynomial:
    """The zero matrix."""
    return TracePolynomial(rows, cols, {})


def as_polynomial(value: TracePolynomial | Number) -> TracePolynomial:
    """Rational numbers are constants."""
    return value if isinstance(value, TracePolynomial) else number(value)


def inverse_of_monomial(polynomial: TracePolynomial) -> TracePolynomial:
    """The inverse of a single term without traces: of c u^2 A B it is u^-2 B^-1 A^-1 / c."""
    if len(polynomial.terms) != 1 or (polynomial.rows != polynomial.cols):
        raise ValueError(f"need one square term to invert, got {polynomial!r}; name the sum by a letter first")
    ((scalars, traces, word), value), *_ = polynomial.terms.items()
    if traces:
        raise ValueError(f"need a term without traces to invert, got {polynomial!r}")
    inverted = Monomial(tuple((s, -e) for s, e in scalars), (), tuple(x.inv for x in reversed(word)))
    return TracePolynomial(polynomial.rows, polynomial.cols, {inverted: 1 / value})


def substitute(
    polynomial: TracePolynomial,
    matrices: Mapping[str, TracePolynomial] | None = None,
    scalars: Mapping[str, TracePolynomial] | None = None,
) -> TracePolynomial:
    """Replace letters (by name) and commuting symbols by polynomials.

    A transposed letter takes the transpose, an inverse letter the inverse (its replacement must be
    one term). The polynomial must be free of sample indices: take its expectation first.
    """
    if any(monomial.last_index() for monomial in polynomial.terms):
        raise ValueError("need a polynomial without sample indices to substitute in; take its expectation first")
    matrices, scalars = matrices or {}, scalars or {}
    result = zero(polynomial.rows, polynomial.cols)
    for monomial, value in polynomial.terms.items():
        term = number(value)
        for symbol, exponent in monomial.scalars:
            term = term * scalars.get(symbol, scalar(symbol)) ** exponent
        for closed in monomial.traces:
            term = term * trace(substitute_word(closed, matrices, closed[0].rows))
        result = result + term * substitute_word(monomial.word, matrices, polynomial.rows)
    return result


def substitute_word(word: Word, matrices: Mapping[str, TracePolynomial], space: str) -> TracePolynomial:
    """A word with its letters replaced."""
    result = identity(space)
    for symbol in word:
        replacement = matrices.get(symbol.name)
        if replacement is None:
            result = result * letter(symbol)
            continue
        if symbol.symmetric and replacement != replacement.T:
            raise ValueError(
                f"need a symmetric replacement for the symmetric letter {symbol.name}, got {replacement!r}"
            )
        if symbol.inverse:
            replacement = inverse_of_monomial(replacement)
        result = result * (replacement.T if symbol.transposed else replacement)
    return result


def map_scalars(polynomial: TracePolynomial, rule: Callable[[Scalars], TracePolynomial]) -> TracePolynomial:
    """Replace the commuting part of every monomial by a scalar polynomial, linearly."""
    result = zero(polynomial.rows, polynomial.cols)
    for (scalars, traces, word), value in polynomial.terms.items():
        bare = TracePolynomial(polynomial.rows, polynomial.cols, {Monomial((), traces, word): value})
        result = result + rule(scalars) * bare
    return result


def degree(monomial: Monomial, *names: str) -> int:
    """How many letters of the given names (and powers of symbols of those names) a monomial has."""
    powers = sum(exponent for symbol, exponent in monomial.scalars if symbol in names)
    return powers + sum(x.name in names for x in monomial.letters())


def select(polynomial: TracePolynomial, keep: Callable[[Monomial], bool]) -> TracePolynomial:
    """The sum of the terms whose monomials satisfy a condition."""
    kept = {monomial: value for monomial, value in polynomial.terms.items() if keep(monomial)}
    return TracePolynomial(polynomial.rows, polynomial.cols, kept)


def matrix(name: str, *, symmetric: bool = False, rows: str = "d", cols: str = "d") -> TracePolynomial:
    """A matrix letter."""
    return letter(Letter(name, rows=rows, cols=cols, symmetric=symmetric))


def vector(name: str, *, space: str = "d") -> TracePolynomial:
    """A column vector letter; on the line (space "1") a scalar one."""
    return letter(Letter(name, rows=space, cols=LINE))


def sum_over_samples(polynomial: TracePolynomial, names: tuple[str, ...]) -> TracePolynomial:
    """sum_{i=1}^N of a polynomial in the letters of one sample (those named), with one fresh index.

    Written first with plain letters, so that one sample's letters share the index that this gives them.
    A term without such a letter is the same for every sample: its sum is N times the term.
    """

    def bind(word: Word) -> Word:
        return tuple(x._replace(index=1) if x.name in names else x for x in word)

    if any(monomial.last_index() for monomial in polynomial.terms):
        raise ValueError("need a polynomial in one sample without indices; sums over samples do not nest")
    terms: defaultdict[Monomial, Fraction] = defaultdict(Fraction)
    for (scalars, traces, word), value in polynomial.terms.items():
        closed = tuple(sorted(closed_normal_form(bind(w)) for w in traces))
        bound = Monomial(scalars, closed, bind(word))
        if not bound.last_index():
            bound = bound._replace(scalars=multiply_scalars(scalars, (("N", 1),)))
        terms[bound] += value
    return TracePolynomial(polynomial.rows, polynomial.cols, terms)
