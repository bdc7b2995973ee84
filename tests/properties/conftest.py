"""How much the property tests draw and train, in each profile."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Effort:
    """How many batches Hypothesis draws for each property, how many draws a batch has at most, steps of a training."""

    theorem_batches: int
    any_batches: int
    batch: int
    theorem_steps: int
    any_steps: int
    condition: float


@pytest.fixture(scope="session")
def effort(profile: str) -> Effort:
    """quick: some dozen draws, condition numbers up to 10; full: hundreds, up to 100."""
    return Effort(10, 5, 16, 2000, 3072, 10.0) if profile == "quick" else Effort(60, 20, 32, 4000, 6144, 100.0)
