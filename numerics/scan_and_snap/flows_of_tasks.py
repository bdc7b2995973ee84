"""The joint flow as a task of its own, beside which trainings are put: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .flows import joint_flow, plain_flow


def joint_flows(
    tasks: Sequence[Mapping[str, Any]],
    decoder_rates: Sequence[float],
    attention_rates: Sequence[float],
    times: Sequence[float],
    device: str,
) -> dict[str, Any]:
    """`flows.joint_flow` of tasks of one shape; always on the CPU, whatever the device."""
    del device
    return plain_flow(joint_flow, tasks, decoder_rates, attention_rates, times)
