"""Obligations: what has to be confirmed before a claim's derivation counts as certified.

The list of a claim's obligations is written here, on the engines' side; a certificate only brings the forms (closed
forms and polynomials that the derivation asserts). So a certificate cannot leave out a step or replace it by a weaker
one, and re-checking needs nothing but the file. For each form its kind is fixed here too: which letters it may be made
of, with which powers of which symbols. That is no formality: an expression with a letter that stands for the identity,
or with powers of d or N that nobody expects, can vanish wherever it is tested and be false elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..engines.expressions import (
    MOST_FACTORS,
    Expression,
    Quotient,
    Term,
    check_defined,
    read_expression,
    read_quotient,
    write_factor,
    written,
)
from ..engines.refusals import UnreadableError


class Examination(Protocol):
    """One question to one engine."""

    @property
    def engine(self) -> str: ...

    @property
    def letters(self) -> Mapping[str, str]: ...

    def evidence(self) -> dict[str, Any]:
        """What is tested and how surely, as plain data: the same at every run."""
        ...

    def check(self, seed: str) -> None:
        """Ask; raises RefutedError or UndecidedError."""
        ...


MOST_POWERS_OF_D, MOST_IN_MATRICES = 4, 5  # of what is read: today's largest are 3 and 3


@dataclass(frozen=True)
class Polynomial:
    """The kind of a form that is a trace polynomial.

    letters     names that may stand in its words, with ^-1 where an inverse may; any of them transposed
    powers      symbol -> the powers that it may have
    samples     letters that carry the index of the summed sample, always
    most_letters    of a term, where components in few dimensions have to fix the form
    """

    rows: str
    cols: str
    letters: frozenset[str]
    powers: Mapping[str, tuple[int, ...]]
    samples: frozenset[str] = frozenset()
    most_letters: int = MOST_FACTORS

    def check(self, form: Expression) -> None:
        """Raises UnreadableError for a form of another kind."""
        if (form.rows, form.cols) != (self.rows, self.cols):
            raise UnreadableError(f"it needs the shape {self.rows} x {self.cols}, got {form.rows} x {form.cols}")
        for term in form.terms:
            self.check_term(term)
            if "d" in (self.rows, self.cols) and sum(1 for _ in term.factors()) > MOST_IN_MATRICES:
                raise UnreadableError(f"a term of a matrix has at most {MOST_IN_MATRICES} letters")

    def check_term(self, term: Term) -> None:
        if sum(1 for _ in term.factors()) > self.most_letters:
            raise UnreadableError(f"a term has at most {self.most_letters} letters")
        if self.rows == self.cols == "1" and term.open:
            raise UnreadableError(f"a number has no open word, got {written(term.open)}")
        for symbol, power in term.powers:
            if power not in self.powers.get(symbol, ()):
                raise UnreadableError(f"it is not made of {symbol}^{power}")
        for factor in term.factors():
            name = write_factor(factor._replace(transposed=False, sample=0))
            if name not in self.letters or factor.sample != int(name in self.samples):
                raise UnreadableError(f"it is not made of {write_factor(factor)}")


@dataclass(frozen=True)
class Rational:
    """The kind of a form that is a rational function, defined for all positive values of its symbols; d, N >= 1.

    most_powers_of_d    more are read only where the form is no part of a test in each dimension
    powers              symbol -> the powers that it may have, where a test at some of its values has to fix the form
    """

    symbols: frozenset[str]
    most_powers_of_d: int = MOST_POWERS_OF_D
    powers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def check(self, form: Quotient) -> None:
        """Raises UnreadableError for other symbols, and where the denominator may vanish."""
        for part in form:
            if part.symbols() - self.symbols:
                raise UnreadableError(f"it is not made of {', '.join(sorted(part.symbols() - self.symbols))}")
            if part.largest_power("d") > self.most_powers_of_d:  # each may take a test in one dimension more
                raise UnreadableError(f"a power of d above {self.most_powers_of_d} is not read")
            for symbol, power in (one for term in part.terms for one in term.powers):
                if power not in self.powers.get(symbol, (power,)):
                    raise UnreadableError(f"it is not made of {symbol}^{power}")
        check_defined(form)


@dataclass(frozen=True)
class RationalMatrix:
    """The kind of a form that is a square matrix of rational functions."""

    size: int
    symbols: frozenset[str]


FormKind = Polynomial | Rational | RationalMatrix


class Forms:
    """The forms of a derivation's steps, read when they are asked for. Every method raises UnreadableError.

    data     step -> name -> plain data;  kinds: step -> name -> what it has to be
    """

    def __init__(self, data: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Mapping[str, FormKind]]) -> None:
        self.data, self.kinds = data, kinds

    def expression(self, step: str, name: str) -> Expression:
        """A trace polynomial."""
        found, kind = read_expression(self.plain(step, name)), self.kinds[step][name]
        assert isinstance(kind, Polynomial)
        with_place(step, name, lambda: kind.check(found))
        return found

    def quotient(self, step: str, name: str) -> Quotient:
        """A rational function of symbols."""
        found, kind = read_quotient(self.plain(step, name)), self.kinds[step][name]
        assert isinstance(kind, Rational)
        with_place(step, name, lambda: kind.check(found))
        return found

    def quotients(self, step: str, name: str) -> list[list[Quotient]]:
        """A square matrix of rational functions."""
        rows, kind = self.plain(step, name), self.kinds[step][name]
        assert isinstance(kind, RationalMatrix)
        n = kind.size
        if not isinstance(rows, list) or [len(row) if isinstance(row, list) else 0 for row in rows] != [n] * n:
            raise UnreadableError(f"{name} of step {step!r} needs {n} rows of {n} quotients")
        found = [[read_quotient(entry) for entry in row] for row in rows]
        for row in found:
            for entry in row:
                with_place(step, name, lambda entry=entry: Rational(kind.symbols).check(entry))  # type: ignore[misc]
        return found

    def plain(self, step: str, name: str) -> Any:
        forms = self.data.get(step, {})
        if name not in forms:
            raise UnreadableError(f"step {step!r} has no form {name!r}")
        return forms[name]


def with_place(step: str, name: str, check: Callable[[], None]) -> None:
    """What a check says, with the form that it is about."""
    try:
        check()
    except UnreadableError as error:
        raise UnreadableError(f"{name} of step {step!r}: {error}") from None


@dataclass(frozen=True)
class Obligation:
    """One statement on one step.

    statement    the claim, as a formula in plain text; the forms of the steps are called by their names
    prepare      forms -> the examination that decides it
    """

    step: str
    statement: str
    prepare: Callable[[Forms], Examination]


@dataclass(frozen=True)
class ClaimObligations:
    """What a claim's certificate consists of.

    steps       the steps of the derivation, in order, with the kinds of their forms
    trusted     what is left to trust beside python-flint (and z3 where it is named): sentences
    """

    claim: str
    assumptions: tuple[str, ...]
    steps: Mapping[str, Mapping[str, FormKind]]
    obligations: tuple[Obligation, ...]
    trusted: tuple[str, ...]


# The kinds of forms in the letters of a law

INVERSE_LENGTH: dict[str, tuple[int, ...]] = {"N": (-1,), "sigma2": (1,)}


def of_law(*further: str, square: bool = True, powers: Mapping[str, tuple[int, ...]] = INVERSE_LENGTH) -> Polynomial:
    """A polynomial in Lambda, Psi, 1/N, sigma^2 and the letters named: d x d, or a number."""
    side = "d" if square else "1"
    return Polynomial(side, side, frozenset({"Lambda", "Psi", *further}), powers)
