r"""Altered statements of a claim: each is a claim of its own, with the same checks.

Main statement
    Every formula of a claim is altered in one place at a time (`theory.algebra.alterations`). An altered statement is
        equal        its values agree exactly with the original's at random rational points: no check can refuse it
        duplicate    as another altered one, found the same way
        rescaling    the original times one constant that is off by more than 10 %: too gross to count
        undefined    it has no value (a singular system)
        counted      any other; a check worth its name refuses it
    Only this sorting looks at the original. The checks of an altered claim are made from the altered formula alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula
    from .claim import Claim

Kind = Literal["equal", "duplicate", "rescaling", "undefined", "counted"]
GROSS = 0.1


@dataclass(frozen=True)
class Mutant:
    """One altered statement.

    difference    the largest relative difference of the predicted quantity from the original's over the settings of
                  the checks; None where it was not compared (statements that do not count)
    claim         the altered claim
    """

    kind: Kind
    alteration: str
    description: str
    difference: float | None
    claim: Claim


@dataclass(frozen=True)
class Alterable:
    """A formula of a claim, and what follows when it is altered.

    points      random rational points, by name: values of the letters
    settings    seed -> values of the letters where the checks are made
    claim       the claim that an altered formula makes
    most        at most so many altered formulas are used, chosen by the hash of their description
    """

    formula: Callable[[], Formula]
    points: Callable[[str], Sequence[Mapping[str, Any]]]
    settings: Callable[[int], Sequence[Mapping[str, Any]]]
    claim: Callable[[Formula], Claim]
    most: int = 100

    def mutants(self, seed: int) -> Iterator[Mutant]:
        """The altered statements, sorted into kinds."""
        from ...theory.algebra.formulas import common_factor, same_values, values_at

        original, points = self.formula(), self.points("alterations")
        exact = values_at(original, points)
        assert exact is not None  # the original is defined at every point, or its derivation would not stand
        seen: list[Sequence[Any]] = []
        for alteration, formula in self.chosen(original):
            values = values_at(formula, points)
            kind: Kind = "counted"
            if values is None:
                kind = "undefined"
            elif same_values(values, exact):
                kind = "equal"
            elif any(same_values(values, other) for other in seen):
                kind = "duplicate"
            elif is_gross(common_factor(values, exact)):
                kind = "rescaling"
            difference = self.difference(formula, seed) if kind == "counted" else None
            if kind == "counted" and difference is None:
                kind = "undefined"
            if kind == "counted" and values is not None:
                seen.append(values)
            yield Mutant(kind, alteration.kind, alteration.description, difference, self.claim(formula))

    def chosen(self, original: Formula) -> list[tuple[Any, Formula]]:
        """All altered formulas, or `most` of them, in the order of the expression tree."""
        found = list(original.altered())
        ranked = sorted(found, key=lambda pair: hashlib.sha256(pair[0].description.encode()).digest())
        kept = {id(pair[1]) for pair in ranked[: self.most]}
        return [pair for pair in found if id(pair[1]) in kept]

    def difference(self, formula: Formula, seed: int) -> float | None:
        """|altered - original| / |original|, the largest over the settings; None where it has no value."""
        original = self.formula()
        try:
            pairs = [(formula.value(values), original.value(values)) for values in self.settings(seed)]
        except ValueError:
            return None
        return max(relative_distance(altered, right) for altered, right in pairs)


def relative_distance(altered: Any, right: Any) -> float:
    """|altered - right| / |right| over all entries, in float64."""
    a, b = (np.asarray(value, dtype=float) for value in (altered, right))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def is_gross(factor: Any) -> bool:
    """Whether a common factor is off by more than a tenth."""
    return factor is not None and abs(factor - 1) > GROSS


@dataclass(frozen=True)
class MutantsOfClaim:
    """All altered statements of a claim."""

    mutants: tuple[Mutant, ...]

    @property
    def counted(self) -> list[Mutant]:
        return [one for one in self.mutants if one.kind == "counted"]

    @property
    def others(self) -> list[Mutant]:
        return [one for one in self.mutants if one.kind != "counted"]


def mutants_of(claim: Claim, seed: int) -> MutantsOfClaim:
    """The altered statements of all formulas of a claim, and those given in words."""
    from_formulas = [mutant for alterable in claim.alterables for mutant in alterable.mutants(seed)]
    return MutantsOfClaim((*from_formulas, *claim.further_mutants))


def described_in_words(alteration: str, description: str, claim: Claim, difference: float) -> Mutant:
    """A counted mutant that no formula makes."""
    return replace(Mutant("counted", alteration, description, None, claim), difference=difference)
