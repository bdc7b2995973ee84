"""A verdict: what was measured beside what was predicted, and what the check would have missed.

Main statement
    agrees          the difference is within what is allowed at the stated false-alarm rate, and the check
                    would have caught a gap of `resolution`
    contradicts     the difference is larger than what is allowed
    inconclusive    the difference is allowed, but the check could have missed a gap of interest
Several verdicts on one claim combine in that order of strength: one contradiction decides, then one
inconclusive check.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["agrees", "contradicts", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check of one claim.

    measured, predicted, allowed, detectable are in `unit`; `detectable` is infinite where no gap is excluded.
    ran         what was run, as words
    details     numbers for the record and the appendix, plain data
    """

    check: str
    outcome: Outcome
    measured: float
    predicted: float
    allowed: float
    detectable: float
    unit: str
    false_alarm: float
    miss: float
    ran: str
    details: dict[str, Any]

    def __str__(self) -> str:
        verb = {"agrees": "agrees with", "contradicts": "contradicts", "inconclusive": "does not decide"}
        return (
            f"{self.check}: measured {self.measured:.3g} {verb[self.outcome]} predicted {self.predicted:.3g} "
            f"{self.unit}: allowed {self.allowed:.2g} ({self.ran}, rate {self.false_alarm:.0e}); "
            f"this check would have caught {catch(self.detectable)}"
        )

    def _repr_html_(self) -> str:
        from ..notebooks import verdict_html

        return verdict_html(self.check, self.outcome, str(self))

    def _repr_markdown_(self) -> str:
        from ..notebooks import verdict_markdown

        return verdict_markdown(self.check, self.outcome, str(self))

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data: what is not finite is null, in the details too."""
        plain = {
            "check": self.check,
            "outcome": self.outcome,
            "measured": self.measured,
            "predicted": self.predicted,
            "allowed": self.allowed,
            "detectable": self.detectable,
            "unit": self.unit,
            "false_alarm": self.false_alarm,
            "miss": self.miss,
            "ran": self.ran,
            "details": self.details,
        }
        return {key: finite_or_null(value) for key, value in plain.items()}


def finite_or_null(value: Any) -> Any:
    """Plain data with null in the place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite_or_null(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def catch(detectable: float) -> str:
    """The detectable gap in words."""
    return f"a gap of {detectable:.2g}" if math.isfinite(detectable) else "no gap of any size"


def nan_first(value: float) -> float:
    """An order in which nan is the largest: `max` would pass over it."""
    return math.inf if math.isnan(value) else value


def decide(holds: bool, detectable: float, resolution: float) -> Outcome:
    """The outcome of a comparison that holds or not, given what it could have missed."""
    if not holds:
        return "contradicts"
    return "agrees" if detectable <= resolution else "inconclusive"


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """One contradiction decides, then one inconclusive check; no check at all is inconclusive."""
    found = set(outcomes)
    for strongest in ("contradicts", "inconclusive"):
        if strongest in found:
            return strongest
    return "agrees" if found else "inconclusive"
