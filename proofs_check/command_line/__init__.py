"""The command `iclcheck`. Nothing is loaded before a verb needs it."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status (see `exit_status`)."""
    from .application import run

    return run(arguments)
