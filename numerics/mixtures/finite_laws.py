"""Risks under laws with finitely many outcomes, by adding up every one of them.

Of an atom of what is seen, every class has outcomes (mass, t). The best answer to a set of outcomes is found from their
squared losses alone: it is the vertex of the parabola through the losses of -1, 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Plain = Mapping[str, Any]
Outcomes = Sequence[Sequence[float]]


def added(outcomes: Outcomes, value: Callable[[float], float]) -> float:
    """sum of mass value(t), rounded once."""
    return math.fsum(mass * value(t) for mass, t in outcomes)


def squared_loss(outcomes: Outcomes, answer: float) -> float:
    """sum of mass (answer - t)^2."""
    return added(outcomes, lambda t: (answer - t) ** 2)


def best_answer(outcomes: Outcomes) -> float:
    """The answer of least squared loss."""
    low, middle, high = (squared_loss(outcomes, f) for f in (-1.0, 0.0, 1.0))
    return (low - high) / (2 * (low - 2 * middle + high))


def losses_of_answers(atoms: Sequence[Plain]) -> list[float]:
    """Of answers f to atoms {"classes": outcomes of each, "answer": f}: loss, distance to the best, its loss, the
    square of the cross term; and the cross term itself."""
    found = []
    for atom in atoms:
        outcomes = [one for some in atom["classes"] for one in some]
        f, best = atom["answer"], best_answer(outcomes)
        found.append(sums_at(outcomes, f, best))
    return [math.fsum(column) for column in zip(*found, strict=True)]


def sums_at(outcomes: Outcomes, f: float, best: float) -> list[float]:
    """The same sums at one atom."""
    return [
        squared_loss(outcomes, f),
        added(outcomes, lambda t: (f - best) ** 2),
        squared_loss(outcomes, best),
        added(outcomes, lambda t: (f - best) ** 2 * (t - best) ** 2),
        added(outcomes, lambda t: (f - best) * (t - best)),
    ]


def prices_of_classes(atoms: Sequence[Plain]) -> list[float]:
    """The best answers to all classes, atom by atom; then, class by class, what they lose to the best answers to it."""
    answers = [best_answer([one for some in atom["classes"] for one in some]) for atom in atoms]
    lost = []
    for label in range(len(atoms[0]["classes"])):
        outcomes = [atom["classes"][label] for atom in atoms]
        together = [squared_loss(some, f) for some, f in zip(outcomes, answers, strict=True)]
        alone = [squared_loss(some, best_answer(some)) for some in outcomes]
        lost.append(math.fsum([*together, *(-x for x in alone)]))
    return [*answers, *lost]


def enumerated(laws: Sequence[Sequence[Plain]], device: str) -> dict[str, Any]:
    """Both for every law, a list of atoms. Rounding is below a thousand units of the sum of mass (1 + f^2 + t^2)."""
    del device
    return {
        "losses": [losses_of_answers(atoms) for atoms in laws],
        "prices": [prices_of_classes(atoms) for atoms in laws],
    }
