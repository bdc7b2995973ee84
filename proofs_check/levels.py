"""How far a derivation is confirmed: the level that every table shows, computed each time.

Main statements
    stated       a step that has a check fails at a random rational instance
    derived      every such step holds
    certified    besides, a certificate of exactly these forms, made by the present engines, lies in the store: an
                 engine outside SymPy confirmed every statement on every step
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..theory.algebra.derivations import Derivation

Word = Literal["stated", "derived", "certified"]


@dataclass(frozen=True)
class Level:
    """The level of a derivation, and the engines behind it where it is certified."""

    word: Word
    engines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.word} ({', '.join(self.engines)})" if self.engines else self.word


DERIVED = Level("derived")


def level_of(derivation: Derivation, failed_steps: Sequence[str] | None = None) -> Level:
    """The level; `failed_steps` where they are known already."""
    from .certificates.making import engines_behind

    failed = derivation.failures() if failed_steps is None else failed_steps
    if failed:
        return Level("stated")
    engines = engines_behind(derivation)
    return Level("certified", engines) if engines else DERIVED
