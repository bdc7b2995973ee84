"""Statements and derivations: ordered steps, each an equality that can be checked alone.

A step holds the equality that is printed and a check that computes both sides at a random rational
instance of the assumptions, the left one by the route that the step starts from (for an
expectation: the components of the model), the right one from the step's result. Equality is exact,
so a step that holds at an instance holds there without tolerance; a wrong identity between
polynomials of total degree D passes one instance with entries from a set of size s with
probability at most D/s [schwartz1980fast].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .printing import to_latex, to_text
from .trace_polynomials import TracePolynomial


@dataclass(frozen=True)
class Source:
    """Where the literature states it: key of the bibliography and place."""

    key: str
    place: str

    def __str__(self) -> str:
        return f"{self.key}, {self.place}" if self.place else self.key


@dataclass(frozen=True)
class Statement:
    """What is claimed, in words and LaTeX, and under which assumptions."""

    identifier: str
    title: str
    latex: str
    text: str
    assumptions: tuple[str, ...]
    conventions: str
    sources: tuple[Source, ...]
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One equality left = right, with the rule that gives it.

    check(instance) -> (left, right): exact values of both sides; None only for a definition or a
    proof in words, which then stands in `proof`.
    forms: what the step asserts, as objects by name (trace polynomials, SymPy expressions in scalars, or matrices of
    these); the printed sides are made from them, and a certificate is made about them.
    """

    name: str
    left: str
    right: str
    latex: str
    rule: str
    check: Callable[[Any], tuple[Any, Any]] | None = None
    proof: str = ""
    forms: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def holds_at(self, instance: Any) -> bool:
        """Whether both sides are equal, exactly, at one instance."""
        if self.check is None:
            raise ValueError(f"step {self.name!r} is a proof in words; it has no instance to check")
        left, right = (np.asarray(side, dtype=object) for side in self.check(instance))
        return left.shape == right.shape and bool(np.all(left == right))


def equality(
    name: str,
    left: tuple[str, str],
    right: TracePolynomial,
    rule: str,
    check: Callable[[Any], tuple[Any, Any]] | None = None,
) -> Step:
    """A step whose right side is a trace polynomial; `left` is (text, LaTeX)."""
    return Step(name, left[0], to_text(right), f"{left[1]} = {to_latex(right)}", rule, check, forms={"right": right})


@dataclass(frozen=True)
class Derivation:
    """A statement with the steps that lead to it and the results that others may use.

    results     quantity name -> trace polynomial (or SymPy expression for scalar limits)
    instances   makes the k-th random rational instance of the assumptions
    """

    statement: Statement
    steps: tuple[Step, ...]
    results: dict[str, Any] = field(repr=False)
    instances: Callable[[int], Any] = field(repr=False)

    def failures(self, seeds: Sequence[int] = (0, 1)) -> list[str]:
        """The names of the steps that fail at one of the instances; empty when every step holds."""
        chosen = [self.instances(seed) for seed in seeds]
        return [
            step.name
            for step in self.steps
            if step.check is not None and not all(step.holds_at(instance) for instance in chosen)
        ]

    def to_text(self) -> str:
        """The derivation as plain text, one step a paragraph."""
        lines = [self.statement.title, "", self.statement.text, ""]
        for number, step in enumerate(self.steps, start=1):
            lines += [f"{number}. {step.name}", f"   {step.left}", f"   = {step.right}", f"   why: {step.rule}"]
            lines += [f"   {step.proof}"] if step.proof else []
        return "\n".join(lines)

    def to_latex(self) -> str:
        """The formulas of the steps as a LaTeX list; needs amsmath and amssymb."""
        lines = [r"\begin{enumerate}"]
        for step in self.steps:
            lines += [rf"  \item \textbf{{{step.name.replace('_', ' ')}.}}", rf"    \[ {step.latex} \]"]
        return "\n".join([*lines, r"\end{enumerate}"])

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the statement, and each step as a formula with its reason."""
        lines = [f"**{plain_markdown(self.statement.title)}**", "", f"$${self.statement.latex}$$", ""]
        for number, step in enumerate(self.steps, start=1):
            lines += [
                f"{number}. {plain_markdown(step.name)}: {plain_markdown(step.rule)}",
                "",
                f"   $${step.latex}$$",
                "",
            ]
            lines += [f"   {plain_markdown(step.proof)}", ""] if step.proof else []
        return "\n".join(lines)


def plain_markdown(text: str) -> str:
    """Text whose signs mean nothing in Markdown, HTML or mathematics.

    >>> plain_markdown("a_b <i>")
    'a\\\\_b &lt;i&gt;'
    """
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{letter: "\\" + letter for letter in "\\`*_[]#|$~"}}
    return "".join(signs.get(letter, letter) for letter in text)
