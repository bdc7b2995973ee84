"""How much the property tests draw and train, in each profile."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.checking import RecordedRun
from iclcheck.proofs_check.claims.claim import Run
from iclcheck.proofs_check.records.environment import describe_device, describe_environment
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.proofs_check.records.tasks import measured_unrecorded


@dataclass(frozen=True)
class Effort:
    """How many batches Hypothesis draws for each property, of how many lists one is made, steps of a training."""

    theorem_batches: int
    theorem_lists: int
    any_batches: int
    theorem_steps: int
    any_steps: int
    condition: float


@pytest.fixture(scope="session")
def effort(profile: str) -> Effort:
    """quick: some dozen draws, condition numbers up to 10; full: hundreds, up to 100."""
    return Effort(3, 6, 5, 1200, 3072, 10.0) if profile == "quick" else Effort(16, 8, 20, 4000, 6144, 100.0)


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Path | None:
    """The folder of --record, made if it is missing."""
    folder = request.config.getoption("--record")
    return None if folder is None else Path(folder)


@pytest.fixture(scope="session")
def run(record: Path | None) -> Iterator[Run]:
    """Measures tasks; with --record each batch is kept as it ends, and not measured again by the next session."""
    if record is None:
        yield measured_unrecorded
        return
    with RecordStore(record / "records.sqlite") as store:
        yield RecordedRun(store)


@pytest.fixture(scope="session")
def summarise(record: Path | None, profile: str, device: str) -> Callable[[str, dict[str, Any]], None]:
    """Prints what a search came to; with --record also as `<name>.json` in that folder."""

    def write(name: str, found: dict[str, Any]) -> None:
        print(f"\n{name}: {json.dumps(found, indent=1)}")
        if record is not None:
            environment = {**describe_environment(), "device": describe_device(device)}
            plain = {"property": name, "profile": profile, **found, "environment": environment}
            (record / f"{name}.json").write_text(json.dumps(plain, indent=1) + "\n")

    return write
