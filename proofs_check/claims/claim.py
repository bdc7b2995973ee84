"""A claim: statement, prediction, checks and the domain on which they are made.

A claim holds no result. Its derivation gives the prediction (theory), its checks make tasks (plain
data for numerics) and judge what the tasks measured; only numbers pass between the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..records.tasks import Task
from ..verdicts.verdict import Outcome, Verdict, combine
from .audit import Audit

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation
    from ..controls import ControlScore
    from .alterable import Alterable, Mutant

Values = Mapping[str, Any]
Run = Callable[[Sequence[Task]], list[Values]]


@dataclass(frozen=True)
class Budget:
    """How much a check may spend, and where.

    gap                 the displacement of A, relative to |A|_F, that the sampled check of fixed-point has to catch;
                        its prompts follow from it
    gap_of_variants     the same for the claims that vary the law or read A* another way
    prompts             per setting of a sampled check whose second moment is not known beforehand
    margin              relative error of A that counts as a hit of a trained replica
    replicas            independent trainings of a convergence check
    training_steps      per training
    """

    profile: str = "quick"
    device: str = "cpu"
    seed: int = 0
    gap: float = 0.01
    gap_of_variants: float = 0.01
    prompts: int = 8_000_000
    margin: float = 0.05
    replicas: int = 192
    training_steps: int = 768


def budget_for(profile: str, device: str = "cpu", seed: int = 0) -> Budget:
    """The budget of a profile: quick (minutes on 2 cores) or full (a tenth of the gap; about an hour)."""
    if profile == "quick":
        return Budget(profile, device, seed)
    if profile == "full":
        return Budget(
            profile, device, seed, gap=0.001, gap_of_variants=0.003, prompts=128_000_000, margin=0.03, replicas=512,
            training_steps=4096,
        )  # fmt: skip
    raise ValueError(f"need the profile quick or full, got {profile!r}")


AlterationCost = Literal["exact", "judged again", "measured anew"]


class Check(Protocol):
    """One measurement of a claim and the rule that judges it.

    cost_of_alteration    what it takes to put an altered statement to this check: an exact measurement without
                          sampling (milliseconds), the same measurement judged again, or prompts measured anew
    """

    @property
    def name(self) -> str: ...

    @property
    def cost_of_alteration(self) -> AlterationCost: ...

    def expected_gap(self, budget: Budget) -> float | None:
        """The gap that the verdict will state, as far as it is known before the run."""
        ...

    def tasks(self, budget: Budget) -> list[Task]:
        """What can be measured before anything is known: the bulk of the work, in parallel."""
        ...

    def judge(self, run: Run, budget: Budget) -> Verdict:
        """The verdict, from the tasks' values; `run` gives them and may run small tasks that depend on them."""
        ...


@dataclass(frozen=True)
class Parameter:
    """One parameter of `predict`: its name, what it is, whether it may be left out, and whether it is a word.

    A word may be written on the command line without the quotes of JSON.
    """

    name: str
    description: str
    required: bool = True
    default: Any = None
    word: bool = False


@dataclass(frozen=True)
class Quantity:
    """One quantity that `predict` gives: its name, and what it is, with its shape and its letter in the formula."""

    name: str
    description: str


@dataclass(frozen=True)
class Claim:
    """A statement with everything that is needed to test it.

    domain      the laws, sizes and starts of training that the checks draw from, in words
    predict     validated parameters -> quantities, plain data
    alterables  the formulas that are altered to see the checks refuse; further_mutants: altered statements that no
                formula makes
    audit       what a paper prints, where the claim is that statement
    quantities  what predict gives, described; empty, or complete and in the order of predict
    """

    identifier: str
    derivation: Callable[[], Derivation]
    parameters: tuple[Parameter, ...]
    predict: Callable[[Mapping[str, Any]], dict[str, Any]]
    checks: tuple[Check, ...]
    domain: str
    alterables: tuple[Alterable, ...] = ()
    further_mutants: tuple[Mutant, ...] = ()
    audit: Audit | None = None
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True)
class ClaimVerdict:
    """All verdicts on one claim, their combination, and how many altered statements its checks refused."""

    identifier: str
    outcome: Outcome
    verdicts: tuple[Verdict, ...]
    controls: ControlScore | None = None
    audit: Audit | None = None


def judge(claim: Claim, run: Run, budget: Budget) -> ClaimVerdict:
    """Judge every check of a claim."""
    verdicts = tuple(check.judge(run, budget) for check in claim.checks)
    return ClaimVerdict(claim.identifier, combine(v.outcome for v in verdicts), verdicts, audit=claim.audit)
