"""Verdicts on several sampled numbers at once: the worst of them, and the largest gap that one of them could miss.

Main statement
    If the numbers are compared at rates that add up to a check's, the verdict has the check's false-alarm rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..verdicts.bounded_ratios import Ratio
from ..verdicts.heavy_tails import MeanComparison
from ..verdicts.verdict import Verdict, decide


class SampledCheck(Protocol):
    """What a verdict on sampled means takes from its check."""

    @property
    def name(self) -> str: ...
    @property
    def resolution(self) -> float: ...
    @property
    def false_alarm(self) -> float: ...
    @property
    def miss(self) -> float: ...


class RangeCheck(SampledCheck, Protocol):
    """What a verdict on ratios takes from its check: they have to lie within `margin` of `centre`."""

    @property
    def centre(self) -> float: ...
    @property
    def margin(self) -> float: ...


def relative_distance(one: MeanComparison) -> float:
    """From the prediction, in units of what is allowed: at most 1 where the comparison holds."""
    return abs(one.measured - one.predicted) / one.allowed


def verdict_on_means(
    check: SampledCheck, compared: Sequence[MeanComparison], unit: str, ran: str, details: dict[str, Any]
) -> Verdict:
    """The verdict on means beside their predictions, all in one unit."""
    worst = max(compared, key=relative_distance)
    gap = max(one.detectable for one in compared)
    return Verdict(
        check.name, decide(all(one.holds for one in compared), gap, check.resolution), worst.measured,
        worst.predicted, worst.allowed, gap, unit, check.false_alarm, check.miss, ran, details,
    )  # fmt: skip


def verdict_on_ratios(
    check: RangeCheck, ratios: Sequence[Ratio], unit: str, ran: str, details: dict[str, Any]
) -> Verdict:
    """The verdict on ratios in a range: refused is one whose whole interval lies outside.

    But for the false-alarm rate every interval holds its ratio; then one that is off by more than the gap is refused.
    """

    def allowed(one: Ratio) -> float:
        return check.margin + one.error

    def distance(one: Ratio) -> float:
        return abs(one.ratio - check.centre)

    worst = max(ratios, key=lambda one: distance(one) / allowed(one))
    gap = check.margin + 2 * max(one.error for one in ratios)
    return Verdict(
        check.name, decide(all(distance(one) <= allowed(one) for one in ratios), gap, check.resolution), worst.ratio,
        check.centre, allowed(worst), gap, unit, check.false_alarm, check.miss, ran, details,
    )  # fmt: skip
