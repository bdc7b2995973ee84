"""Relations between exact numbers: what a counterexample consists of.

Main statement
    A statement for all prompts is refuted by one prompt at which its two sides are rational numbers that do not stand
    in the printed relation. Both are computed from the layer in exact arithmetic, and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .refusals import RefutedError


class Relation(NamedTuple):
    """A number of that name in relation to another one."""

    name: str
    left: Any
    relation: Literal["=", "!=", "<"]
    right: Any

    def holds(self) -> bool:
        if self.relation == "<":
            return bool(self.left < self.right)
        return bool((self.left == self.right) == (self.relation == "="))

    def __str__(self) -> str:
        return f"{self.name}: {self.left} {self.relation} {self.right}"


@dataclass(frozen=True)
class Relations:
    """Relations between rational numbers that all hold.

    asked    computes both sides, from the layer and from the forms
    """

    asked: Callable[[], Sequence[Relation]]
    letters: Mapping[str, str] = field(default_factory=dict)
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        return {"relations": [str(one) for one in self.asked()]}

    def check(self, seed: str) -> None:
        """Raises RefutedError for the first that does not hold."""
        del seed
        for one in self.asked():
            if not one.holds():
                raise RefutedError(f"the relation {one} does not hold")
