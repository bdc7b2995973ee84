r"""Altered polynomials: every statement nearby that a slip of the pen would give.

A check shows its teeth on statements that are wrong in one place. They are made here from the expression tree of a
trace polynomial, term by term and factor by factor, without knowing what the polynomial says.

Kinds of alteration
    coefficient     a term doubled, halved, its sign turned, or 5 % larger
    dropped term    a term left out
    symbol          a commuting symbol in the place of another, N + 1 for N, in one term or in all
    exponent        the power of a symbol one higher or lower
    trace           a trace left out, opened (tr(W) I -> W), split (tr(V W) -> tr V tr W), or put around the open word
    transpose       the open word, or one letter of any word, transposed
    letter          a letter in the place of another, doubled, or left out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from .printing import to_text
from .trace_polynomials import Monomial, Scalars, TracePolynomial, multiply_scalars, normal_form
from .words import LINE, Letter, Word, transpose

COEFFICIENTS = ((Fraction(2), "doubled"), (Fraction(1, 2), "halved"), (Fraction(-1), "with its sign turned"),
                (Fraction(21, 20), "5 % larger"))  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """What may stand in the place of what: symbols for symbols, letters of one shape for letters, by name."""

    symbols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    letters: Mapping[str, tuple[Letter, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Alteration:
    """One altered polynomial: what was done to it, in words, and where."""

    kind: str
    description: str
    polynomial: TracePolynomial


def alterations(polynomial: TracePolynomial, vocabulary: Vocabulary) -> Iterator[Alteration]:
    """Every alteration in one place, and every symbol replaced in all places; each differs from the polynomial."""
    for monomial, value in sorted(polynomial.terms.items()):
        term = TracePolynomial(polynomial.rows, polynomial.cols, {monomial: value})
        for kind, words, altered in of_term(term, monomial, value, vocabulary):
            if altered != term:
                yield Alteration(kind, f"{words} in the term {to_text(term)}", polynomial - term + altered)
    yield from everywhere(polynomial, vocabulary)


Altered = tuple[str, str, TracePolynomial]  # kind, words, the altered term


def of_term(term: TracePolynomial, monomial: Monomial, value: Fraction, vocabulary: Vocabulary) -> Iterator[Altered]:
    """The altered versions of one term."""

    def made(scalars: Scalars, traces: tuple[Word, ...], word: Word) -> TracePolynomial:
        return TracePolynomial(term.rows, term.cols, {rebuilt(scalars, traces, word): value})

    for factor, words in COEFFICIENTS:
        yield "coefficient", f"a coefficient {words}", term * factor
    yield "dropped term", "everything left out", term * 0
    scalars, traces, word = monomial
    for kind, words, other in altered_scalars(scalars, vocabulary):
        yield kind, words, made(other, traces, word)
    for words, closed, open_word in altered_traces(traces, word, square=term.rows == term.cols != LINE):
        yield "trace", words, made(scalars, closed, open_word)
    for kind, words, closed, open_word in altered_words(traces, word, vocabulary):
        yield kind, words, made(scalars, closed, open_word)


def rebuilt(scalars: Scalars, traces: tuple[Word, ...], word: Word) -> Monomial:
    """The monomial in normal form; an empty trace stands for nothing."""
    return normal_form(scalars, [(closed, closed[0].rows) for closed in traces if closed], word)


def everywhere(polynomial: TracePolynomial, vocabulary: Vocabulary) -> Iterator[Alteration]:
    """Each symbol replaced in all terms at once."""
    for symbol, others in vocabulary.symbols.items():
        for other in others:
            terms = {m._replace(scalars=renamed(m.scalars, symbol, other)): v for m, v in polynomial.terms.items()}
            altered = TracePolynomial(polynomial.rows, polynomial.cols, terms)
            if altered != polynomial and len(terms) == len(polynomial.terms):
                yield Alteration("symbol", f"{other} for {symbol} in every term", altered)


def renamed(scalars: Scalars, symbol: str, other: str) -> Scalars:
    """The powers with one symbol's name exchanged."""
    result: Scalars = ()
    for name, exponent in scalars:
        result = multiply_scalars(result, ((other if name == symbol else name, exponent),))
    return result


def altered_scalars(scalars: Scalars, vocabulary: Vocabulary) -> Iterator[tuple[str, str, Scalars]]:
    """Other symbols and other exponents."""
    for symbol, exponent in scalars:
        rest = tuple(pair for pair in scalars if pair[0] != symbol)
        for other in vocabulary.symbols.get(symbol, ()):
            yield "symbol", f"{other} for {symbol}", multiply_scalars(rest, ((other, exponent),))
        for step in (1, -1):
            power = ((symbol, exponent + step),) if exponent + step else ()
            yield "exponent", f"{symbol}^{exponent + step} for {symbol}^{exponent}", multiply_scalars(rest, power)


def altered_traces(
    traces: tuple[Word, ...], word: Word, *, square: bool
) -> Iterator[tuple[str, tuple[Word, ...], Word]]:
    """Traces left out, opened, split or added; bilinear forms (closed on the line) can only be left out."""
    for place, closed in enumerate(traces):
        others = traces[:place] + traces[place + 1 :]
        yield "a trace left out", others, word
        if closed[0].rows == LINE:
            continue
        for cut in range(1, len(closed)):
            yield "a trace split", (*others, closed[:cut], closed[cut:]), word
        if square and not word:
            yield "a trace opened", others, closed
    if square and word and word[0].rows == word[-1].cols:
        yield "a trace put around the word", (*traces, word), ()


def altered_words(
    traces: tuple[Word, ...], word: Word, vocabulary: Vocabulary
) -> Iterator[tuple[str, str, tuple[Word, ...], Word]]:
    """Transposes and letters, in the open word and in the closed ones."""
    if word and word[0].rows == word[-1].cols:
        yield "transpose", "the word transposed", traces, transpose(word)
    for kind, words, other in altered_letters(word, vocabulary):
        yield kind, words, traces, other
    for place, closed in enumerate(traces):
        for kind, words, other in altered_letters(closed, vocabulary):
            yield kind, words, (*traces[:place], other, *traces[place + 1 :]), word


def altered_letters(word: Word, vocabulary: Vocabulary) -> Iterator[tuple[str, str, Word]]:
    """One letter exchanged, transposed, doubled or left out, wherever the shapes allow it."""
    for place, letter in enumerate(word):
        before, after = word[:place], word[place + 1 :]
        for other in vocabulary.letters.get(letter.name, ()):
            turned = (
                letter.transposed
                if letter.rows == letter.cols
                else (other.rows, other.cols) != (letter.rows, letter.cols)
            )
            put = other.T if turned else other
            yield "letter", f"{other.name} for {letter.name}", (*before, put, *after)
        if letter.rows != letter.cols:
            continue
        yield "transpose", f"{letter.name} transposed", (*before, letter.T, *after)
        yield "letter", f"{letter.name} doubled", (*before, letter, letter, *after)
        if len(word) > 1 or letter.rows != LINE:
            yield "letter", f"{letter.name} left out", (*before, *after)
