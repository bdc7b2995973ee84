"""Questions to z3's decision procedure for polynomial inequalities over the reals (nlsat).

A statement is proved where its negation is unsatisfiable. As a control the hypotheses alone, and the negation of an
altered statement, have to be satisfiable: an "unsat" that comes from contradictory hypotheses proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .refusals import RefutedError, UndecidedError

if TYPE_CHECKING:
    import z3

SECONDS = 30


class Condition(NamedTuple):
    """A polynomial of python-flint against zero."""

    polynomial: Any
    relation: Literal["< 0", "<= 0", "= 0", "!= 0"]


Clause = Sequence[Condition]  # at least one of them holds


class Question(NamedTuple):
    """Clauses that all hold: hypotheses, the negation of the statement, and that of an altered statement."""

    hypotheses: Sequence[Clause]
    negation: Sequence[Clause]
    altered: Sequence[Clause]


@dataclass(frozen=True)
class Decision:
    """hypotheses and negation have no real solution.

    asked       makes the question, in the ring's generators as unknowns
    letters     the unknowns;  alteration: what was altered for the control
    assuming    whether there are hypotheses
    """

    asked: Callable[[], Question]
    letters: Mapping[str, str]
    alteration: str
    assuming: bool = True
    engine: str = field(default="z3 (nlsat)", init=False)

    def evidence(self) -> dict[str, Any]:
        return {
            "negation": "unsatisfiable over the reals",
            "hypotheses": "satisfiable" if self.assuming else "none",
            "altered_statement": f"{self.alteration}: satisfiable",
        }

    def check(self, seed: str) -> None:
        del seed  # a decision, not a test
        question = self.asked()
        if answer([*question.hypotheses, *question.negation]):
            raise RefutedError("z3 finds real numbers at which the statement fails")
        if question.hypotheses and not answer(question.hypotheses):
            raise RefutedError("the hypotheses contradict each other, so the statement says nothing")
        if not answer([*question.hypotheses, *question.altered]):
            raise RefutedError("the control fails: the altered statement holds too, so the question has no teeth")


def answer(clauses: Sequence[Clause]) -> bool:
    """Whether the clauses have a common real solution. Raises UndecidedError."""
    try:
        import z3
    except ImportError:
        raise UndecidedError("z3 is not installed; install it with `pip install z3-solver`") from None
    solver = z3.Tactic("qfnra-nlsat").solver()
    solver.set("timeout", SECONDS * 1000)
    for clause in clauses:
        solver.add(z3.Or([stated(condition) for condition in clause]))
    found = solver.check()
    if found == z3.unknown:
        raise UndecidedError(f"z3 did not decide within {SECONDS} s ({solver.reason_unknown()})")
    return bool(found == z3.sat)


def stated(condition: Condition) -> z3.BoolRef:
    """A condition in z3's language."""
    left = written_out(condition.polynomial)
    relations = {"< 0": left < 0, "<= 0": left <= 0, "= 0": left == 0, "!= 0": left != 0}
    return relations[condition.relation]


def written_out(polynomial: Any) -> Any:
    """A polynomial of python-flint in z3's language."""
    import z3

    unknowns = [z3.Real(name) for name in polynomial.context().names()]
    terms = []
    for powers, coefficient in polynomial.to_dict().items():
        factors = [z3.Q(int(coefficient.p), int(coefficient.q))]
        factors += [unknown for unknown, power in zip(unknowns, powers, strict=True) for _ in range(int(power))]
        terms.append(z3.Product(factors))
    return z3.Sum([z3.RealVal(0), *terms])
