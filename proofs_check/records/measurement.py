r"""Performs one measurement, in this process or in a worker process.

A measurement is a function "package.module:function" that takes its parameters (plain data) and
`device` as keyword arguments, and returns a dict of plain data.

Main statements
    perform          never raises for a fault of the measurement: the fault comes back as data,
                     because an exception of the user's need not survive the way between processes
    prepare_worker   a worker computes on one thread, leaves Ctrl-C to its parent, and ends with it
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing.connection import wait
from typing import Any

from .environment import describe_device
from .plain_data import plain_copy

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """A measurement that ended: its values, where it ran, its wall-clock seconds, and when it ended."""

    values: Mapping[str, Any]
    device: str
    seconds: float
    created: str


@dataclass(frozen=True)
class Failure:
    """A measurement that failed: the cause in one line, and the traceback as text."""

    cause: str
    trace: str = ""


def perform(measurement: str, parameters: Mapping[str, Any], device: str) -> Outcome | Failure:
    """Call the measurement and return what it measured, or why it failed."""
    started = time.perf_counter()
    try:
        values = _function(measurement)(**parameters, device=device)
        plain = plain_copy(_mapping(values, measurement), measurement)
        seconds = time.perf_counter() - started
        return Outcome(plain, describe_device(device), seconds, datetime.now(UTC).isoformat(timespec="seconds"))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _function(measurement: str) -> Callable[..., Any]:
    module, _, name = measurement.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _mapping(values: Any, measurement: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(
            f"{measurement} must return a dict of plain data, got {type(values).__name__}; "
            "return each quantity under a name"
        )
    return values


def prepare_worker() -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C, and gone when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_the_parent()
    # Read when NumPy and torch are loaded, which the first measurement does.
    os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
    if "torch" in sys.modules:  # the user's main script has loaded it already
        sys.modules["torch"].set_num_threads(1)


def _end_with_the_parent() -> None:
    # A killed parent closes no queue: each worker holds both ends, and would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
