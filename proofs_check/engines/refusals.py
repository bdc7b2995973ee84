"""The ways in which an engine does not confirm a statement."""

from __future__ import annotations


class UnreadableError(ValueError):
    """The data is not a statement that an engine reads; one sentence."""


class RefutedError(ValueError):
    """The statement is false: where it fails, in one sentence."""


class UndecidedError(RuntimeError):
    """The engine came to no answer, or is not installed: the reason and the mend, in one sentence."""
