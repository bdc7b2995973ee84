r"""Searching a domain in batches: many draws train together, and a failing one shrinks within a time limit.

Main statements
    batches      Hypothesis draws lists of configurations; those of one list are measured together
    no repeats   an outcome is kept by the key of its configuration, so that taking draws out of a failing list costs
                 nothing: the list shrinks to one draw first, then that draw to small numbers
    repeats      where an outcome is random, a draw that misses is measured again with other prompts and starts, and
                 fails only if it misses `REPLICAS` times: if it hit with probability 0.9 or more, that would happen
                 with probability 1e-6 at most. A law at which most runs miss is found; rare misses are counted over
                 all draws (`misses_allowed`), and told
    time         once a draw has failed, new configurations are measured for `shrinking_seconds`, then no longer: what
                 was not measured counts as not failing, which ends the search; the failing draw that is reported was
                 measured, and is reported again at every run
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ..records.plain_data import content_hash


class Judged(Protocol):
    """What a measurement of one draw comes to."""

    @property
    def holds(self) -> bool: ...


REPLICAS = 6  # 0.1^6 = 1e-6
REQUIRED, FALSE_ALARM = 0.9, 1e-6

Outcome = TypeVar("Outcome", bound=Judged)
Draw = Mapping[str, Any]


@dataclass(frozen=True)
class Repeated(Generic[Outcome]):
    """The outcomes of one draw in the order of its replicas; more than one where the first missed."""

    outcomes: tuple[Outcome, ...]

    @property
    def holds(self) -> bool:
        """Whether one of them did not miss."""
        return any(outcome.holds for outcome in self.outcomes)

    @property
    def first_missed(self) -> bool:
        return not self.outcomes[0].holds

    def __str__(self) -> str:
        return " | ".join(str(outcome) for outcome in self.outcomes)


def repeated(
    measure: Callable[[Sequence[Draw], int], Sequence[Outcome]],
) -> Callable[[Sequence[Draw]], list[Repeated[Outcome]]]:
    """A measurement (draws, replica) -> outcomes that is repeated for the draws that have missed so far."""

    def all_replicas(draws: Sequence[Draw]) -> list[Repeated[Outcome]]:
        found: list[list[Outcome]] = [[] for _ in draws]
        for replica in range(REPLICAS):
            waiting = [place for place, outcomes in enumerate(found) if not any(one.holds for one in outcomes)]
            if waiting:
                for place, outcome in zip(waiting, measure([draws[k] for k in waiting], replica), strict=True):
                    found[place].append(outcome)
        return [Repeated(tuple(outcomes)) for outcomes in found]

    return all_replicas


def misses_allowed(draws: int) -> int:
    """How many of independent draws may miss, if each hits with probability `REQUIRED` or more.

    The number of misses is then at most binomial(draws, 1 - REQUIRED) in distribution, whatever the draws are and
    however they were chosen beforehand; more than this come with probability below `FALSE_ALARM`.

    >>> misses_allowed(64)
    20
    """
    from scipy.special import bdtrc

    allowed = 0
    while bdtrc(allowed, draws, 1 - REQUIRED) >= FALSE_ALARM:
        allowed += 1
    return allowed


@dataclass
class BatchSearch(Generic[Outcome]):
    """Outcomes of draws, measured in batches and kept.

    measure    configurations -> one outcome each
    """

    measure: Callable[[Sequence[Draw]], Sequence[Outcome]]
    shrinking_seconds: float = 40.0
    clock: Callable[[], float] = time.monotonic
    found: dict[str, tuple[Draw, Outcome]] = field(default_factory=dict)
    first_failure: float | None = None

    def outcomes(self, draws: Sequence[Draw]) -> list[tuple[Draw, Outcome]]:
        """Each draw with its outcome; draws that are not measured for want of time are left out."""
        waiting = {content_hash(draw): draw for draw in draws if content_hash(draw) not in self.found}
        if waiting and not self.out_of_time():
            measured = self.measure(list(waiting.values()))
            self.found.update(zip(waiting, zip(waiting.values(), measured, strict=True), strict=True))
            if self.first_failure is None and not all(outcome.holds for outcome in measured):
                self.first_failure = self.clock()
        kept = (self.found.get(content_hash(draw)) for draw in draws)
        return [pair for pair in kept if pair is not None]

    def out_of_time(self) -> bool:
        """Whether a failure was found, and the time to make it smaller is over."""
        return self.first_failure is not None and self.clock() - self.first_failure > self.shrinking_seconds

    def all_outcomes(self) -> list[Outcome]:
        """Every outcome so far."""
        return [outcome for _, outcome in self.found.values()]
