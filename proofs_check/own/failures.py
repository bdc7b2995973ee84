"""Failures of a user's measurement: errors of usage, with the place in the user's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..claims.parameters import UsageError
from ..records.tasks import TaskFailedError
from .observables import MEASURING


@contextmanager
def users_failures() -> Iterator[None]:
    """Turns a failed measurement of a claim of one's own into a UsageError with what the measurement said."""
    try:
        yield
    except TaskFailedError as error:
        kind, _, said = error.cause.partition(": ")
        if not error.measurement.startswith(MEASURING) or kind != UsageError.__name__:
            raise
        raise UsageError(said) from None
