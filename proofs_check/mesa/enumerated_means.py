"""Checks on the real layer averaged over O(n) and s_1 without sampling: what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..claims.claim import AlterationCost, Budget, Run, Values
from ..claims.loss_checks import enumerated_verdict
from ..records.tasks import Task
from ..verdicts.verdict import Verdict

EXACT = "iclcheck.numerics.orthogonal_dynamics.exact_means"
Size = tuple[int, int]  # n, T


def values_of(size: Size) -> dict[str, Any]:
    """The letters of a formula at that size."""
    return {"n": size[0], "T": size[1]}


def described(size: Size) -> str:
    return f"n = {size[0]}, T = {size[1]}"


@dataclass(frozen=True)
class EnumeratedMeans:
    """Layers at some sizes, each measured on every sequence of nodes; subclasses say which, and what follows."""

    name: str
    sizes: tuple[Size, ...]
    unit: str
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    def cases(self, size: Size) -> list[dict[str, Any]]:
        """size, length, W_KQ and W_PV of each layer."""
        raise NotImplementedError

    def rows(self, size: Size, values: Values) -> list[tuple[float, float]]:
        """(difference, allowed) from the losses and gradients of the cases."""
        raise NotImplementedError

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(size, budget) for size in self.sizes]

    def task(self, size: Size, budget: Budget) -> Task:
        cases = self.cases(size)
        seconds = len(cases) * (1.5 if size[0] == 3 else 0.05)
        return Task(f"{EXACT}:enumerated_losses", {"cases": cases}, budget.device, cost=seconds)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        rows = [row for size, values in zip(self.sizes, found, strict=True) for row in self.rows(size, values)]
        ran = f"{sum(sum(values['nodes']) for values in found):.1e} sequences of nodes, {len(self.sizes)} sizes"
        return enumerated_verdict(
            self.name, self.resolution, rows, self.unit, ran, [described(size) for size in self.sizes]
        )


def slope_row(values: Mapping[str, Any], rounded: float) -> tuple[float, float]:
    """The gradient of the first case beside that of the second, against 0.

    The weights carry up to `rounded` of themselves, and each term of the slope has at most three other weights.
    """
    unit = values["gradient"][1]
    allowed = values["gradient_rounding"][0] + 4 * rounded * values["gradient_majorant"][0]
    return values["gradient"][0] / unit, allowed / unit
