"""What the records of the shipped decoders say: their files and the laws that they were trained on."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

# By its place beside this package: asking for it by name would load numerics, and with it torch, for `status`.
FOLDER = Path(__file__).parents[2] / "numerics" / "decoders" / "trained_models"


@cache
def shipped_record(name: str) -> dict[str, Any]:
    """The record beside a shipped model: its training and the SHA-256 of its weights, among others."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def trained_law(name: str) -> dict[str, Any]:
    """The law of the prompts that the model was trained on, plain data."""
    law: dict[str, Any] = shipped_record(name)["training"]["law"]
    return law


def recorded_digest(name: str) -> str:
    """SHA-256 of the file of weights, as recorded."""
    return str(shipped_record(name)["sha256"])
