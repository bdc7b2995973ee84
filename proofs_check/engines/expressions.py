"""Trace polynomials as plain data: read, counted and evaluated without the algebra that made them.

An expression is a list of terms, each [coefficient, {symbol: power}, [closed words], open word], with rational
coefficients as text and words as lists of letters: "Lambda", "U^T", "Psi^-1", and "x[1]" for a letter of the first
summed sample. `rows` and `cols` are "d" or "1". A closed word is a trace, or the 1 x 1 product of a word that begins
and ends on the line.

Main statements
    legs        a d x d letter has two legs, a vector one, and a scalar term with 2k legs joins them in pairs (a Brauer
                diagram [brauer1937algebras]). As functions of the letters different pairings are independent as soon
                as d >= k; so expressions that agree at all letters of one such dimension agree in every dimension
    Proof. First let all letters differ, and let tensors stand for them. Given a pairing p, put on its k pairs of legs
                the unit vectors e_1, .., e_k, one each: p takes the value 1 there, and every other pairing 0, since it
                joins two legs with different vectors. So no combination of pairings vanishes but the trivial one.
                Where a letter occurs m times, or is symmetric, polarise: the identity in all copies is the sum over
                the ways to number them, and sums over disjoint sets of pairings are independent too. []
    degree      the number of factors of the longest term: what the bound of Schwartz and Zippel needs
Nothing here normalises words: equality is decided by values alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from .matrices import Matrix
from .refusals import UnreadableError

TRANSPOSED, INVERSE = "^T", "^-1"
# Limits on what is read, a little above the largest of any derivation, so that no file makes an engine work for
# minutes: a word of k letters with symbols for entries has d^k terms and more.
MOST_TERMS, MOST_FACTORS, MOST_LETTERS, MOST_SYMBOLS, LARGEST_POWER, MOST_DIGITS = 100, 9, 400, 6, 12, 40
NAME = re.compile(r"[A-Za-z0-9_'/*^\[\]-]{1,40}", re.ASCII)


class Factor(NamedTuple):
    """One letter of a word, of sample number `sample` (0: of none)."""

    name: str
    transposed: bool
    inverse: bool
    sample: int


class Term(NamedTuple):
    """coefficient * product of powers * product of traces * open word."""

    coefficient: Fraction
    powers: tuple[tuple[str, int], ...]
    closed: tuple[tuple[Factor, ...], ...]
    open: tuple[Factor, ...]

    def factors(self) -> Iterator[Factor]:
        for word in self.closed:
            yield from word
        yield from self.open


@dataclass(frozen=True)
class Expression:
    """A trace polynomial, as read from plain data."""

    rows: str
    cols: str
    terms: tuple[Term, ...]

    def symbols(self) -> set[str]:
        """The commuting symbols in use."""
        return {symbol for term in self.terms for symbol, _ in term.powers}

    def letters(self) -> set[str]:
        """The names of the matrices and vectors in use."""
        return {factor.name for term in self.terms for factor in term.factors()}

    def pairs_of_legs(self, vectors: frozenset[str]) -> int:
        """k, where the term with the most legs has 2k of them, those of the rows and columns included."""
        outer = (self.rows != "1") + (self.cols != "1")

        def legs(term: Term) -> int:
            return outer + sum(1 if factor.name in vectors else 2 for factor in term.factors())

        return max(((legs(term) + 1) // 2 for term in self.terms), default=0)

    def degree(self) -> int:
        """The largest number of factors of a term, powers counted by size."""
        sizes = (sum(abs(p) for _, p in term.powers) + sum(1 for _ in term.factors()) for term in self.terms)
        return max(sizes, default=0)

    def largest_power(self, symbol: str) -> int:
        """The largest power of a symbol."""
        return max((power for term in self.terms for name, power in term.powers if name == symbol), default=0)


class Quotient(NamedTuple):
    """A rational function of commuting symbols."""

    numerator: Expression
    denominator: Expression


def read_expression(data: Any) -> Expression:
    """An expression from plain data. Raises UnreadableError."""
    if not isinstance(data, dict) or set(data) != {"rows", "cols", "terms"} or not isinstance(data["terms"], list):
        raise UnreadableError("an expression needs rows, cols and a list of terms")
    if data["rows"] not in ("1", "d") or data["cols"] not in ("1", "d"):
        raise UnreadableError(f"the shape of an expression needs 1 or d, got {data['rows']!r} x {data['cols']!r}")
    if not 0 < len(data["terms"]) <= MOST_TERMS:
        raise UnreadableError(f"an expression needs 1 to {MOST_TERMS} terms, got {len(data['terms'])}")
    terms = tuple(read_term(term) for term in data["terms"])
    if sum(1 for term in terms for _ in term.factors()) > MOST_LETTERS:
        raise UnreadableError(f"an expression has at most {MOST_LETTERS} letters")
    return Expression(data["rows"], data["cols"], terms)


def read_quotient(data: Any) -> Quotient:
    """A quotient from plain data. Raises UnreadableError."""
    if not isinstance(data, dict) or set(data) != {"numerator", "denominator"}:
        raise UnreadableError("a quotient needs a numerator and a denominator")
    parts = Quotient(read_expression(data["numerator"]), read_expression(data["denominator"]))
    if any((part.rows, part.cols) != ("1", "1") or part.letters() for part in parts):
        raise UnreadableError("a quotient is made of commuting symbols, no matrices")
    return parts


def check_defined(quotient: Quotient) -> None:
    """Raises UnreadableError where the denominator may vanish at positive symbols (sigma2 >= 0) with d, N >= 1.

    With d = 1 + d' and N = 1 + N' it may have no negative coefficient, and needs a term without d', N' and sigma2: that
    one is positive.
    """
    import flint

    names = sorted(quotient.denominator.symbols())
    context = flint.fmpq_mpoly_ctx.get(names or ["unused"], flint.Ordering.degrevlex)
    values = {name: x + 1 if name in ("d", "N") else x for name, x in zip(names, context.gens(), strict=False)}
    one = context.constant(1)
    shifted = evaluate(quotient.denominator, {**values, "I": Matrix(((one,),))}, one).to_dict()
    vanishing = [k for k, name in enumerate(names) if name in ("d", "N", "sigma2")]
    positive = any(all(powers[k] == 0 for k in vanishing) for powers in shifted)
    if not positive or any(value < 0 for value in shifted.values()):
        raise UnreadableError("its denominator may vanish")


def read_term(data: Any) -> Term:
    if not isinstance(data, list) or len(data) != 4:
        raise UnreadableError("a term needs a coefficient, powers, closed words and an open word")
    coefficient, powers, closed, opened = data
    if not isinstance(powers, dict) or not isinstance(closed, list):
        raise UnreadableError("a term needs powers by symbol and a list of closed words")
    if len(powers) > MOST_SYMBOLS:
        raise UnreadableError(f"a term has at most {MOST_SYMBOLS} symbols, got {len(powers)}")
    for symbol, power in powers.items():
        if not NAME.fullmatch(symbol):
            raise UnreadableError(f"{symbol!a:.40} is not the name of a symbol")
        if isinstance(power, bool) or not isinstance(power, int) or not 0 < abs(power) <= LARGEST_POWER:
            raise UnreadableError(f"the power of {symbol:.20} needs a whole number up to {LARGEST_POWER}, not 0")
    if len(closed) > MOST_FACTORS or any(not word for word in closed):
        raise UnreadableError("a closed word is not empty; tr(I) is written as the symbol d")
    words = tuple(read_word(word) for word in closed)
    term = Term(read_rational(coefficient), tuple(sorted(powers.items())), words, read_word(opened))
    if sum(1 for _ in term.factors()) > MOST_FACTORS:
        raise UnreadableError(f"a term has at most {MOST_FACTORS} letters")
    return term


def read_rational(text: Any) -> Fraction:
    """A rational number written as p or p/q in lowest terms, and in no other way."""
    # The pattern first: Fraction also reads "1e999999999", and would compute it.
    if not isinstance(text, str) or len(text) > MOST_DIGITS or not re.fullmatch(r"-?[0-9]+(/[0-9]+)?", text, re.ASCII):
        raise UnreadableError(f"a rational number is written as p or p/q, got {text!r:.60}")
    try:
        value = Fraction(text)
    except ZeroDivisionError:
        raise UnreadableError(f"{text!r:.60} is not a rational number") from None
    if str(value) != text or not value:
        raise UnreadableError(f"the rational number {text!r:.60} is 0, or not written in lowest terms")
    return value


def read_word(data: Any) -> tuple[Factor, ...]:
    if not isinstance(data, list) or len(data) > MOST_FACTORS:
        raise UnreadableError(f"a word is a list of at most {MOST_FACTORS} letters")
    if not all(isinstance(letter, str) and NAME.fullmatch(letter) for letter in data):
        raise UnreadableError("a letter is a short name")
    return tuple(read_factor(letter) for letter in data)


def read_factor(text: str) -> Factor:
    """The inverse of `write_factor`: name, [sample], ^-1, ^T in this order."""
    name, transposed = text.removesuffix(TRANSPOSED), text.endswith(TRANSPOSED)
    name, inverse = name.removesuffix(INVERSE), name.endswith(INVERSE)
    sample = 0
    if name.endswith("]") and "[" in name:
        name, _, index = name[:-1].partition("[")
        sample = int(index) if index.isdecimal() and len(index) < 3 else 0
    factor = Factor(name, transposed, inverse, sample)
    if not name or write_factor(factor) != text:
        raise UnreadableError(f"{text!r:.60} is not a letter")
    return factor


def write_factor(factor: Factor) -> str:
    """A letter as text."""
    sample = f"[{factor.sample}]" if factor.sample else ""
    return factor.name + sample + INVERSE * factor.inverse + TRANSPOSED * factor.transposed


# Values


def evaluate(expression: Expression, values: Mapping[str, Any], one: Any) -> Any:
    """The value at given letters: matrices (d, d) or (d, 1), symbols as ring elements; `one` is the ring's 1.

    The power of a negative exponent needs its reciprocal under the name "1/symbol". A scalar expression gives one
    ring element, others a matrix. Raises UnreadableError for a letter without value and for words that do not fit.
    """
    d = values["I"].shape[0]
    height, width = (d if side == "d" else 1 for side in (expression.rows, expression.cols))
    total = Matrix.build(height, width, lambda i, j: one * 0)
    for term in expression.terms:
        total = total + value_of_term(term, values, one, (expression.rows, expression.cols))
    return total[0, 0] if expression.rows == expression.cols == "1" else total


def value_of_term(term: Term, values: Mapping[str, Any], one: Any, sides: tuple[str, str]) -> Matrix:
    scale: Any = one * rational(term.coefficient)
    for symbol, power in term.powers:
        scale = scale * value_of_symbol(symbol, power, values)
    for word in term.closed:
        product = value_of_word(word, values)
        if product.shape[0] != product.shape[1]:
            raise UnreadableError(f"the word {written(word)} is not closed: it has shape {product.shape}")
        scale = scale * product.trace()
    if not term.open:
        if sides[0] != sides[1]:
            raise UnreadableError(f"a term without an open word does not fit the shape {sides}")
        identity: Matrix = values["I"] if sides[0] == "d" else Matrix(((one,),))
        return identity.scaled(scale)
    product = value_of_word(term.open, values)
    d = values["I"].shape[0]
    if product.shape != tuple(d if side == "d" else 1 for side in sides):
        raise UnreadableError(f"the word {written(term.open)} has shape {product.shape}, its expression {sides}")
    return product.scaled(scale)


def rational(value: Fraction) -> Any:
    """A fraction of python-flint."""
    import flint

    return flint.fmpq(value.numerator, value.denominator)


def value_of_symbol(symbol: str, power: int, values: Mapping[str, Any]) -> Any:
    name = symbol if power > 0 else f"1/{symbol}"
    if name not in values:
        raise UnreadableError(f"no value for {name} in this statement")
    value = values[name]
    return value ** abs(power)


def value_of_word(word: Sequence[Factor], values: Mapping[str, Any]) -> Matrix:
    """The product of a word's letters; the word is not empty."""
    product = value_of_factor(word[0], values)
    for factor in word[1:]:
        value = value_of_factor(factor, values)
        if product.shape[1] != value.shape[0]:
            raise UnreadableError(f"the letters of {written(word)} do not fit each other")
        product = product @ value
    return product


def value_of_factor(factor: Factor, values: Mapping[str, Any]) -> Matrix:
    name = write_factor(factor._replace(transposed=False))
    if name not in values:
        raise UnreadableError(f"no value for the letter {name} in this statement")
    value = values[name]
    matrix = value if isinstance(value, Matrix) else Matrix(((value,),))  # the noise of a label is 1 x 1
    return matrix.T if factor.transposed else matrix


def written(word: Sequence[Factor]) -> str:
    """A word as text."""
    return " ".join(write_factor(factor) for factor in word)


# Changes of letters, on the data


def without_cancelling_pairs(expression: Expression) -> Expression:
    """The expression with every P P^-1 and P^-1 P next to each other removed."""
    terms = []
    for term in expression.terms:
        closed, powers = [], dict(term.powers)
        for word in term.closed:
            kept = cancelled_around(cancelled(word))
            if kept:
                closed.append(kept)
            else:
                powers["d"] = powers.get("d", 0) + 1  # the trace of I
        ordered = tuple(sorted((s, p) for s, p in powers.items() if p))
        terms.append(Term(term.coefficient, ordered, tuple(closed), cancelled(term.open)))
    return Expression(expression.rows, expression.cols, tuple(terms))


def cancelled(word: Sequence[Factor]) -> tuple[Factor, ...]:
    """A word with neighbours removed that are inverse to each other."""
    kept: list[Factor] = []
    for factor in word:
        if kept and kept[-1] == factor._replace(inverse=not factor.inverse):
            kept.pop()
        else:
            kept.append(factor)
    return tuple(kept)


def cancelled_around(word: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """A closed word without inverse letters that meet around its end."""
    while len(word) > 1 and word[-1] == word[0]._replace(inverse=not word[0].inverse):
        word = word[1:-1]
    return word


def times(left: Expression, right: Expression) -> Expression:
    """The product of two expressions, with cancelling pairs removed."""
    if left.cols != right.rows:
        raise UnreadableError(f"shapes {left.rows} x {left.cols} and {right.rows} x {right.cols} do not fit")
    terms = tuple(
        Term(a.coefficient * b.coefficient, sum_of_powers(a, b), a.closed + b.closed, a.open + b.open)
        for a in left.terms
        for b in right.terms
    )
    return without_cancelling_pairs(Expression(left.rows, right.cols, terms))


def sum_of_powers(a: Term, b: Term) -> tuple[tuple[str, int], ...]:
    powers = dict(a.powers)
    for symbol, power in b.powers:
        powers[symbol] = powers.get(symbol, 0) + power
    return tuple(sorted((s, p) for s, p in powers.items() if p))
