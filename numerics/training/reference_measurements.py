"""Trainings beside what their prompts could tell at best: plain data in, plain data out.

trained_beside_least_squares    weights of each configuration, and least squares on either half of its prompts
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .batched_training import train
from .configurations import TrainingConfiguration
from .least_squares import least_squares_halves
from .measurements import Plain
from .shared_draws import draws_key


def trained_beside_least_squares(configurations: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per configuration (all with shared draws): W_PV, W_KQ, and the two solutions A on halves of its prompts."""
    wanted = [TrainingConfiguration.from_plain(plain) for plain in configurations]
    ends, halves = train(wanted, device), halves_of(wanted, device)
    return {
        "W_PV": [end.W_PV.tolist() for end in ends],
        "W_KQ": [end.W_KQ.tolist() for end in ends],
        "halves": [[half.tolist() for half in both] for both in halves],
        "prompts": [end.prompts for end in ends],
    }


def halves_of(configurations: Sequence[TrainingConfiguration], device: str) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The solutions in the order of the configurations, which may share several streams of draws."""
    found: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
    for key in {draws_key(one) for one in configurations}:
        places = [place for place, one in enumerate(configurations) if draws_key(one) == key]
        found.update(zip(places, least_squares_halves([configurations[k] for k in places], device), strict=True))
    return [found[place] for place in range(len(configurations))]
