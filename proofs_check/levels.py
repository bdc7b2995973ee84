"""How far a derivation is confirmed: the level that every table shows, computed each time.

Main statements
    stated       a step that has a check fails at a random rational instance, or no step has one
    derived      every such step holds
    certified    a certificate of exactly these forms, made by the present engines, lies in the store: an
                 engine outside SymPy confirmed every statement on every step; Coq is named among the engines where it
                 accepted statements on them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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
    """The level; `failed_steps` where they are known already. A certificate makes the random instances needless."""
    if failed_steps or not any(step.check is not None for step in derivation.steps):
        return Level("stated")
    engines = engines_of(derivation)
    if engines:
        return Level("certified", engines)
    # One instance here, where a table waits for it; `derive` and `status` take two.
    return Level("stated") if failed_steps is None and derivation.failures(seeds=(0,)) else DERIVED


def level_by(failed_steps: Sequence[str], certificate: Mapping[str, Any] | None, coq: bool) -> Level:
    """The level of a derivation whose steps were checked, by its certificate and by whether Coq accepted statements."""
    if failed_steps:
        return Level("stated")
    if certificate is None:
        return DERIVED
    from .certificates.making import engines_in

    return Level("certified", (*engines_in(certificate), *(["Coq"] if coq else [])))


def engines_of(derivation: Derivation) -> tuple[str, ...]:
    """The engines of the stored certificate, with Coq where it accepted statements; none without a certificate."""
    from .certificates.making import engines_behind
    from .certificates.proving import proved

    engines = engines_behind(derivation)
    return (*engines, "Coq") if engines and proved(derivation) else engines
