r"""Controls: altered statements are put to the checks that passed the original, and have to be refused.

Main statement
    A control is refused if a check that agrees with the original contradicts it, with the same measurement, budget and
    rule. A check that does not agree with the original proves nothing about an altered one, and is left out. The
    score counts the refused among the counted (`claims.alterable` says which count).
Two runs
    score      checks that are exact or can judge the same measurement again, until one refuses
    every      all checks, those that sample prompts anew for each altered statement included
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .claims.alterable import Kind, Mutant, MutantsOfClaim, mutants_of
from .claims.claim import Budget, Check, Claim, ClaimVerdict, Run
from .records.tasks import Task
from .verdicts.verdict import Outcome

COSTS = ("exact", "judged again", "measured anew")  # the order in which checks are asked

REASONS: dict[Kind, str] = {
    "equal": "equal to the original at random rational points",
    "duplicate": "equal to another altered one",
    "rescaling": "the original times a constant that is off by more than 10 %",
    "undefined": "without a value",
}


@dataclass(frozen=True)
class ControlResult:
    """What the checks said to one altered statement: outcomes by the name of the check, as far as asked."""

    mutant: Mutant
    outcomes: dict[str, Outcome]

    @property
    def refused_by(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome == "contradicts"]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "kind": self.mutant.kind,
            "alteration": self.mutant.alteration,
            "statement": self.mutant.description,
            "difference": self.mutant.difference,
            "outcomes": self.outcomes,
            "refused_by": self.refused_by,
        }


@dataclass(frozen=True)
class ControlScore:
    """The altered statements of one claim.

    results    those that count, in the order of the expression tree
    others     those that do not: equal to the original, duplicates, gross rescalings, undefined
    gaps       the detectable gap that each check states, by its name, in the unit of the check
    formulas   what was altered, as text
    """

    claim: str
    results: tuple[ControlResult, ...]
    others: tuple[Mutant, ...]
    gaps: dict[str, float]
    formulas: tuple[str, ...]

    @property
    def survivors(self) -> list[ControlResult]:
        return [result for result in self.results if not result.refused_by]

    @property
    def refused(self) -> int:
        return len(self.results) - len(self.survivors)

    def __str__(self) -> str:
        return f"{self.refused} of {len(self.results)} altered statements refused"

    def in_words(self) -> list[tuple[str, int]]:
        """Why altered statements do not count, and how many."""
        return [(REASONS[kind], number) for kind, number in self.not_counted().items()]

    def not_counted(self) -> dict[Kind, int]:
        """How many altered statements do not count, by the reason."""
        found = Counter(mutant.kind for mutant in self.others)
        return {kind: found[kind] for kind in REASONS}

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data: counts, and every survivor."""
        return {
            "counted": len(self.results),
            "refused": self.refused,
            "survived": [result.as_plain() for result in self.survivors],
            **{str(kind): number for kind, number in self.not_counted().items()},
        }


def agreeing(verdict: ClaimVerdict) -> set[str]:
    """The names of the checks that agree with the original statement."""
    return {one.check for one in verdict.verdicts if one.outcome == "agrees"}


def asked(claim: Claim, names: set[str], *, every: bool) -> list[Check]:
    """The checks that an altered claim is put to, the sharp and cheap ones first."""
    costs = COSTS if every else COSTS[:2]
    found = [check for check in claim.checks if check.name in names and check.cost_of_alteration in costs]
    return sorted(found, key=lambda check: COSTS.index(check.cost_of_alteration))


def exact_tasks(mutants: MutantsOfClaim, names: set[str], budget: Budget) -> list[Task]:
    """What the exact checks of all counted mutants measure, to be run in one go."""
    return [
        task
        for mutant in mutants.counted
        for check in asked(mutant.claim, names, every=False)
        if check.cost_of_alteration == "exact"
        for task in tasks_with_a_value(check, budget)
    ]


def tasks_with_a_value(check: Check, budget: Budget) -> list[Task]:
    """What a check measures; nothing for an altered statement that has no value in one of its settings."""
    from ..theory.algebra.formulas import SingularSystemError

    try:
        return check.tasks(budget)
    except SingularSystemError:
        return []


def control(mutant: Mutant, names: set[str], run: Run, budget: Budget, *, every: bool) -> ControlResult:
    """Put one altered statement to the checks; without `every`, until one of them refuses it."""
    outcomes: dict[str, Outcome] = {}
    for check in asked(mutant.claim, names, every=every):
        outcomes[check.name] = outcome_of(check, run, budget)
        if outcomes[check.name] == "contradicts" and not every:
            break
    return ControlResult(mutant, outcomes)


def outcome_of(check: Check, run: Run, budget: Budget) -> Outcome:
    """What a check says to an altered statement; one without a value in a setting of the check is not refused by it.

    Altered polynomials may leave the range of floats, or lead gradient descent there: that refuses them, without a
    warning on the terminal.
    """
    from ..theory.algebra.formulas import SingularSystemError

    try:
        with np.errstate(all="ignore"):
            return check.judge(run, budget).outcome
    except SingularSystemError:
        return "inconclusive"


def controls(
    claim: Claim,
    verdict: ClaimVerdict,
    run: Run,
    budget: Budget,
    *,
    every: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ControlScore:
    """Put every counted altered statement of a claim to the checks that agree with the original.

    progress    called with (statements done, statements in all)
    """
    mutants, names = mutants_of(claim, budget.seed), agreeing(verdict)
    run(exact_tasks(mutants, names, budget))
    results = []
    for done, mutant in enumerate(mutants.counted, start=1):
        results.append(control(mutant, names, run, budget, every=every))
        if progress is not None:
            progress(done, len(mutants.counted))
    gaps = {one.check: one.detectable for one in verdict.verdicts if one.check in names}
    return ControlScore(claim.identifier, tuple(results), tuple(mutants.others), gaps, formulas_of(claim))


def formulas_of(claim: Claim) -> tuple[str, ...]:
    """The polynomials of the claim's formulas, one line each."""
    from ..theory.algebra.printing import to_text

    parts = [part for alterable in claim.alterables for part in alterable.formula().parts.items()]
    return tuple(f"{name} = {to_text(polynomial)}" for name, polynomial in parts)


def refusals_by_check(results: Iterable[ControlResult]) -> dict[str, tuple[int, int]]:
    """For each check: how many altered statements it refused, out of how many it was asked about."""
    found: dict[str, tuple[int, int]] = {}
    for result in results:
        for name, outcome in result.outcomes.items():
            refused, of = found.get(name, (0, 0))
            found[name] = (refused + (outcome == "contradicts"), of + 1)
    return found
