"""Measurements of claims of one's own: the user's function, called with a setting and a generator.

What it measures is kept raw: sums of draws, or one number for each run. These functions run in worker processes; they
find the user's file by the hash of its code, which is part of every task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..claims.parameters import UsageError
from ..claims.settings import FloatArray, generator
from .claim_files import claim_of_code
from .observables import takes_device
from .users_errors import told_with_place

if TYPE_CHECKING:
    from .observables import Observable
    from .stating import OwnClaim

MOST_EMPTY = 3  # calls in a row that may give no draw


def sampled_sums(
    *, claim: str, check: str, code: str, setting: Mapping[str, Any], draws: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Sums of at least `draws` draws and of their squares, by quantity."""
    own = claim_of_code(code, claim)
    observable = own.observable(check)
    numbers, count = generator(stream_key, 0), 0
    sums: dict[str, list[float]] = {}
    squares: dict[str, list[float]] = {}
    for batch in batches(own, observable, setting, numbers, device):
        for name, values in batch.items():
            low, high = observable.limits(setting)
            refuse_beyond(own, check, name, values, low, high)
            sums.setdefault(name, []).append(math.fsum(values))
            squares.setdefault(name, []).append(math.fsum(values**2))
        count += len(next(iter(batch.values())))
        if count >= draws:
            break
    return {
        "draws": count,
        "sum": {name: math.fsum(parts) for name, parts in sums.items()},
        "sum_of_squares": {name: math.fsum(parts) for name, parts in squares.items()},
    }


def batches(
    own: OwnClaim, observable: Observable, setting: Mapping[str, Any], numbers: np.random.Generator, device: str
) -> Iterator[dict[str, FloatArray]]:
    """What the user's function gives, call after call."""
    empty = 0
    while empty < MOST_EMPTY:
        found = measured(own, observable, setting, numbers, device)
        sizes = {len(values) for values in found.values()}
        if len(sizes) != 1:
            raise UsageError(f"{own.place}: {observable.name} gives quantities with different numbers of draws {sizes}")
        empty = empty + 1 if sizes == {0} else 0
        yield found
    raise UsageError(f"{own.place}: {observable.name} gives no draws; return an array of at least one")


def refuse_beyond(own: OwnClaim, check: str, name: str, values: FloatArray, low: float, high: float) -> None:
    """Raises UsageError for a draw outside of the bounds that the rates rest on."""
    slack = 1e-9 * max(abs(low), abs(high)) if math.isfinite(low) else 0.0
    if len(values) and not (low - slack <= values.min() and values.max() <= high + slack):
        worst = values.min() if values.min() < low else values.max()
        raise UsageError(
            f"{own.place}: {check} states bounds from {low:g} to {high:g} on {name}, and a draw is {worst:g}; "
            "widen bounds=, the error rates rest on them"
        )


def measured_numbers(
    *,
    claim: str,
    check: str,
    code: str,
    settings: Sequence[Mapping[str, Any]],
    stream_keys: Sequence[str],
    device: str,
) -> dict[str, Any]:
    """One number of each quantity at each setting, each with a stream of its own."""
    own = claim_of_code(code, claim)
    observable = own.observable(check)
    found: dict[str, list[float]] = {}
    for setting, stream_key in zip(settings, stream_keys, strict=True):
        for name, values in measured(own, observable, setting, generator(stream_key, 0), device).items():
            if len(values) != 1:
                raise UsageError(f"{own.place}: {check} gives {len(values)} numbers of {name}; it needs one")
            found.setdefault(name, []).append(float(values[0]))
    return {"measured": found}


def own_run(
    *, claim: str, check: str, code: str, setting: Mapping[str, Any], stream_key: str, device: str
) -> dict[str, Any]:
    """One run, such as a training: one number of each quantity."""
    common = {"claim": claim, "check": check, "code": code, "device": device}
    found = measured_numbers(**common, settings=[setting], stream_keys=[stream_key])["measured"]
    return {"measured": {name: numbers[0] for name, numbers in found.items()}}


def measured(
    own: OwnClaim, observable: Observable, setting: Mapping[str, Any], numbers: np.random.Generator, device: str
) -> dict[str, FloatArray]:
    """What one call of the user's function gives: finite numbers in float64 by quantity. Raises UsageError."""
    place = {"device": device} if takes_device(observable.measure) else {}
    what = f"{observable.name} of {own.identifier} fails at {', '.join(f'{k} = {v}' for k, v in setting.items())}"
    with told_with_place(own.file, what, own.place):
        found = observable.measure(dict(setting), numbers, **place)
        named = found if isinstance(found, Mapping) else {own.only_quantity(observable.name): found}
        arrays = {str(name): flat_numbers(values) for name, values in named.items()}
    for name, values in arrays.items():
        if name not in own.quantities:
            raise UsageError(
                f"{own.place}: {observable.name} measures {name!r}, which has no prediction; "
                f"predicted: {', '.join(own.quantities)}"
            )
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise UsageError(f"{own.place}: {observable.name} gives {bad} for {name} at {what.partition(' at ')[2]}")
    if not arrays:
        raise UsageError(f"{own.place}: {observable.name} measures nothing; return a number, or a dict of numbers")
    return arrays


def flat_numbers(values: Any) -> FloatArray:
    """Numbers, arrays and tensors as a flat array in float64. Raises ValueError for complex ones."""
    if hasattr(values, "detach"):  # a tensor, perhaps with a gradient, perhaps on a GPU
        values = values.detach().cpu()
        values = values.numpy() if values.is_complex() else values.double().numpy()
    if np.iscomplexobj(values):  # a cast would leave out the imaginary parts without a word
        raise ValueError("need real numbers, got complex ones; give their real part if that is meant")
    return np.asarray(values, dtype=np.float64).reshape(-1)
