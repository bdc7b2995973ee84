"""What went wrong in a file of claims: one sentence with the place in that file."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..claims.parameters import UsageError

LONGEST = 300


def place_of(error: BaseException, file: Path | None) -> str:
    """The last place in the user's code that an error passed, "my_claims.py, line 12"; empty where it passed none.

    A place in the file itself counts before one in a module that it imports.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}, line {error.lineno}"
    own = Path(__file__).resolve().parents[1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if own not in Path(frame.filename).resolve().parents and not frame.filename.startswith("<frozen")
    ]
    inside = [frame for frame in frames if file is not None and Path(frame.filename).resolve() == file]
    chosen = inside or frames
    return f"{Path(chosen[-1].filename).name}, line {chosen[-1].lineno}" if chosen else ""


def sentence_of(error: BaseException, file: Path | None, what: str, fallback: str) -> str:
    """What failed, where, and how, on one line."""
    where = place_of(error, file) or fallback
    said = " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())
    short = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
    return f"{where + ': ' if where else ''}{what} ({short.rstrip('.')})"


@contextmanager
def told_with_place(file: Path | None, what: str, fallback: str = "") -> Iterator[None]:
    """Turns what the user's code raises into a UsageError; exit() in it counts as an error.

    fallback    the place to name where no line of the user's was running
    """
    try:
        yield
    except UsageError as error:
        where = place_of(error, file)
        raise UsageError(str(error) if not where or ", line " in str(error) else f"{where}: {error}") from None
    except (Exception, SystemExit) as error:
        raise UsageError(f"{sentence_of(error, file, what, fallback)}; mend it and run again") from error
