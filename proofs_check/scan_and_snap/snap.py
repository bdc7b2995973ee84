"""The claim snap: attention with one common token, exactly, under the reparametrised flow of the real layer.

One check
    the flow of the real layer with all its logits, the decoder reparametrised at each instant, at several tasks, rates
    and times, against the closed form; the flow of the loss itself is followed beside it, reported and not judged
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...theory.scan_and_snap import snap
from ...theory.scan_and_snap.symmetric_task import SymmetricTask, attention_at, decoder_logit, drive
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Values
from ..claims.exact_checks import ExactCheck, Row
from ..records.tasks import Task
from . import quantities
from .symmetric_runs import RATES, TASK, TIME, Case, Pair, Path, rows_of_run, runs_of, runs_task

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

CASES = (
    Case(2, 12, 0.4, (1, 2), (Pair(1.0, 1.0), Pair(2.0, 0.1)), (0.3, 1.0, 6.0)),
    Case(3, 20, 0.35, (1, 2, 3), (Pair(1.0, 0.3), Pair(1.0, 3.0)), (0.3, 1.0, 6.0)),
    Case(4, 30, 0.35, (2, 3), (Pair(1.0, 1.0),), (0.3, 1.0, 6.0)),
    Case(2, 30, 0.5, (1, 1, 2), (Pair(0.5, 5.0),), (0.6, 2.0, 12.0)),
)


JOINT = CASES[:2]  # enough to see how far the flow of the loss itself is


def derived_path(task: SymmetricTask, eta_Y: float, eta_Z: float, times: Sequence[float]) -> list[list[float]]:
    """That of `predict`."""
    decoders = [decoder_logit(eta_Y * time / task.classes, task.vocabulary) for time in times]
    logits = [attention_at(task, drive(task, eta_Y, eta_Z, time)).logits for time in times]
    return [[u, *row] for u, row in zip(decoders, logits, strict=True)]


def path_by(formula: Formula) -> Path:
    """The path of a formula, which may be an altered one."""
    return lambda task, eta_Y, eta_Z, times: snap.path_by(formula.parts, task, eta_Y, eta_Z, times)


def task(budget: Budget) -> Task:
    del budget  # nothing is sampled
    return runs_task([*runs_of(CASES, "reparametrised"), *runs_of(JOINT, "joint")])


def rows_by(path: Path) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        pairs = zip(CASES, found["runs"], strict=False)  # the joint runs come after
        return [row for case, run in pairs for row in rows_of_run(case, run, path)]

    return rows


def runs_in_words(found: Values) -> str:
    """What was followed, and how far the flow of the loss itself is behind."""
    reparametrised, joint = found["runs"][: len(CASES)], found["runs"][len(CASES) :]
    shares = [
        behind["common"][i][j] / ahead["common"][i][j]
        for case, behind, ahead in zip(JOINT, joint, reparametrised, strict=False)
        for i, j, _, _ in case.points()
    ]
    points = sum(1 for case in CASES for _ in case.points())
    evaluations = sum(run["evaluations"] for run in found["runs"])
    return (
        f"{points} points of {len(CASES)} tasks, {evaluations} velocities; not judged: the flow of the loss itself has "
        f"moved the common token by {min(shares):.2f} to {max(shares):.2f} of this"
    )


def letters_of_cases(seed: int) -> list[Mapping[str, Any]]:
    """Letters of the formula at every case, at the second time."""
    del seed
    found: list[Mapping[str, Any]] = []
    for case in CASES:
        pair, time = case.rates[0], case.times[1]
        found.append(snap.letters_at(case.task, *pair, time))
    return found


def snap_claim(path: Path = derived_path) -> Claim:
    """`path` can be that of an altered formula, to see the same check refuse it."""
    return Claim(
        "snap",
        snap.derivation,
        (*TASK, *RATES, TIME),
        lambda parameters: snap.prediction(**parameters),
        (
            ExactCheck(
                "path of the reparametrised flow", task, rows_by(path), runs_in_words,
                "as a difference in units of the largest logit, and of attention",
            ),
        ),
        "four tasks (K = 2 .. 4 classes, M = 12 .. 30 tokens, 2 or 3 distinct tokens a class), eta_Z/eta_Y from 0.05 "
        "to 10, times from 0.3 to 6 K ln M/eta_Y; flows, no training by samples. Late times and the small-overlap law "
        "are derived and certified, not measured",
        (
            Alterable(
                snap.formula, snap.points, letters_of_cases, lambda formula: snap_claim(path_by(formula)), most=36
            ),
        ),
        quantities=quantities.SNAP,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (snap_claim(),)
