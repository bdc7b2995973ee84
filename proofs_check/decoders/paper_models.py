r"""The three decoders in the papers' setting, which the full profile trains on a GPU: one task, and how it is read.

The setting is that of Garg et al. [garg2022can], `numerics/decoders/paper_training.py`: d = 20, 2 nonzero coefficients,
12 layers of width 256. Its 500,000 steps take hours; it gets `SECONDS`, and every verdict that reads it says how many
steps that were. On a CPU a step takes many seconds: no profile asks for it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..claims.claim import Budget, Values
from ..records.tasks import Task
from .selected_models import AVERAGED, CLASS, CLASSES, MIXTURE, Selection, interval

TRAINED = "iclcheck.numerics.decoders.paper_training:trained_and_evaluated"
SETTING: dict[str, Any] = {}  # other sizes than the papers'
DIMENSION, POINTS = 20, 41
FOLDER = ".iclcheck/decoders"  # of the checkpoint, from which a killed run goes on
SECONDS, PROMPTS = 1500.0, 32_768
MIXED = "mixture"
# Oracles by the law of the prompts: that of the law itself, and on the classes that of the mixture too.
ORACLES = {**{law: {CLASS: law, MIXTURE: MIXED} for law in CLASSES}, MIXED: {MIXTURE: MIXED}}
# Where squared errors are cut. Dense: four times what least squares leaves of d coefficients of variance 1 without
# noise, d - i, and 4 in the end. Sparse: four times E |w|^2 = 2 at first, 1 where two coefficients are long known.
DENSE_CAPS = [4.0 * max(DIMENSION - i, 1) for i in range(POINTS)]
SPARSE_CAPS = [max(8.0 - i / 2, 1.0) for i in range(POINTS)]
CAPS = {"dense": DENSE_CAPS, "sparse": SPARSE_CAPS, MIXED: DENSE_CAPS}


def paper_tasks(budget: Budget) -> list[Task]:
    """The one task in the full profile on a GPU, and none elsewhere."""
    if budget.profile != "full" or budget.device == "cpu":
        return []
    parameters = {
        "setting": SETTING, "folder": FOLDER, "seconds": SECONDS, "prompts": PROMPTS,
        "stream_key": f"papers/{budget.seed}", "oracles": ORACLES, "caps": CAPS,
    }  # fmt: skip
    return [Task(TRAINED, parameters, budget.device, cost=SECONDS + 200)]


@dataclass(frozen=True)
class Reached:
    """How far the three trainings went."""

    steps: int
    wanted: int

    @classmethod
    def of(cls, found: Values) -> Reached:
        return cls(found["reached"]["steps"], found["reached"]["wanted"])

    @property
    def ended(self) -> bool:
        return self.steps >= self.wanted

    def __str__(self) -> str:
        return f"{self.steps} of {self.wanted} steps in the papers' setting"


def paper_selections(found: Values, rate: float) -> dict[str, Selection]:
    """By class, averaged over prefixes: all intervals miss together with probability at most `rate`."""
    noise, each = found["setting"]["noise_variance"], rate / (4 * len(CLASSES))

    def averaged(law: str, *path: str, shift: float = 0.0) -> Any:
        return interval(found["laws"][law], path, AVERAGED, each, shift)

    return {
        law: Selection(
            risk=averaged(law, "variance", CLASS, shift=noise),
            price=averaged(law, "distance", MIXTURE, CLASS),
            excess=averaged(law, "distance", MIXED, CLASS),
            of_class=averaged(law, "distance", law, CLASS),
        )
        for law in CLASSES
    }
