"""Obligations: what has to be confirmed before a claim's derivation counts as certified.

The list of a claim's obligations is written here, on the engines' side; a certificate only brings the forms (closed
forms and polynomials that the derivation asserts). So a certificate cannot leave out a step or replace it by a weaker
one, and re-checking needs nothing but the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..engines.expressions import Expression, Quotient, read_expression, read_quotient
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


class Forms:
    """The forms of a derivation's steps, read when they are asked for. Every method raises UnreadableError."""

    def __init__(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        self.data = data

    def expression(self, step: str, name: str, rows: str = "1", cols: str = "1") -> Expression:
        """A trace polynomial of the given shape."""
        found = read_expression(self.plain(step, name))
        if (found.rows, found.cols) != (rows, cols):
            raise UnreadableError(f"{name} of step {step!r} needs the shape {rows} x {cols}")
        return found

    def matrix(self, step: str, name: str) -> Expression:
        """A d x d expression."""
        return self.expression(step, name, "d", "d")

    def quotient(self, step: str, name: str) -> Quotient:
        """A rational function of symbols."""
        return read_quotient(self.plain(step, name))

    def quotients(self, step: str, name: str, size: int) -> list[list[Quotient]]:
        """A square matrix of rational functions."""
        rows = self.plain(step, name)
        if not isinstance(rows, list) or [len(row) if isinstance(row, list) else 0 for row in rows] != [size] * size:
            raise UnreadableError(f"{name} of step {step!r} needs {size} rows of {size} quotients")
        return [[read_quotient(entry) for entry in row] for row in rows]

    def plain(self, step: str, name: str) -> Any:
        forms = self.data.get(step, {})
        if name not in forms:
            raise UnreadableError(f"step {step!r} has no form {name!r}")
        return forms[name]


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

    steps       the steps of the derivation, in order, with the names of their forms
    trusted     what is left to trust beside python-flint (and z3 where it is named): sentences
    """

    claim: str
    assumptions: tuple[str, ...]
    steps: Mapping[str, tuple[str, ...]]
    obligations: tuple[Obligation, ...]
    trusted: tuple[str, ...]
