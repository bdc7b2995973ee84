"""Counting the trained numbers of real decoders: models are made and their arrays counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .decoder import Decoder, DecoderShape, parameter_count


def counted_parameters(shapes: Sequence[Mapping[str, int]], device: str = "cpu") -> dict[str, Any]:
    """For each plain shape: the numbers of the whole decoder, and those of its table of positions alone."""
    del device  # a count
    found: dict[str, list[int]] = {"parameters": [], "positions": []}
    for shape in shapes:
        model = Decoder(DecoderShape.from_plain(shape), "counted")
        found["parameters"].append(parameter_count(model))
        found["positions"].append(model._backbone.wpe.weight.numel())
    return found
