r"""Property (ii): from any start of all parameters, a run ends where the population gradient vanishes.

What is asserted of each draw: the end is stationary as far as its own prompts can tell (`claims.any_start.EndJudge`).
Which point it is gets reported and is not asserted: that it is the prediction is the claim fixed-point-any-start, which
is contradicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..claims.any_start import ANY_START, NOISE_PROMPTS, TRAINED_ENDS, End, EndJudge
from ..claims.claim import Run
from ..records.tasks import Task
from .search import Draw


@dataclass(frozen=True)
class StationaryEnd:
    """The end of one run, and whether the gradient vanishes there."""

    end: End

    @property
    def holds(self) -> bool:
        return self.end.excess <= 1

    def __str__(self) -> str:
        one = self.end
        return (
            f"{one.kind}: |grad L| is {one.gradient:.2f} standard errors, {one.size:.3f} of L(0)/|theta|; "
            f"A {one.error:.2g} |A*| away"
        )


def stationary_ends(
    draws: Sequence[Draw], steps: int, run: Run, device: str, replica: int = 0, judge_end: EndJudge | None = None
) -> list[StationaryEnd]:
    """Train all draws from starts of all parameters, and judge where each run ended."""
    judged = judge_end or EndJudge()
    configurations = [{**ANY_START, **draw, "steps": steps, "replica": replica} for draw in draws]
    (found,) = run([Task(TRAINED_ENDS, {"configurations": configurations, "noise_prompts": NOISE_PROMPTS}, device)])
    columns = (found[name] for name in ("W_PV", "W_KQ", "averaged_prompts", "squared_gradient"))
    rows = zip(*columns, strict=True)
    return [StationaryEnd(judged(draw["distribution"], *row)) for draw, row in zip(draws, rows, strict=True)]
