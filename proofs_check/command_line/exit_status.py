"""Exit status and messages: what a shell script may rely on.

    0 agrees   1 contradicted   2 wrong usage or unusable input   3 inconclusive
    70 internal error   130 Ctrl-C
Errors are one sentence on stderr; a traceback is shown only with ICLCHECK_TRACEBACK=1 in the environment.
A reader of our output that goes away early (`iclcheck check | head -1`) changes no status.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

OK, WRONG_USAGE, INTERNAL_ERROR, INTERRUPTED = 0, 2, 70, 130


def guarded(work: Callable[[], int]) -> int:
    """Run `work` and turn what it raises into a sentence and an exit status."""
    status = OK
    try:
        with reader_may_leave():  # a verb that judges guards its own output too, or its verdict were lost
            status = work()
    except KeyboardInterrupt:
        kept = "finished measurements are kept, run the same command again to go on"
        status = fail(f"interrupted; {kept} (with --resume after --record)", INTERRUPTED)
    except Exception as error:
        status = explained(error)
    return status


@contextmanager
def reader_may_leave(stream: TextIO | None = None) -> Iterator[None]:
    """Write to nowhere from here on once a pipe's reader (stdout's, if none is given) is gone; no error of ours."""
    stream = stream or sys.stdout
    try:
        yield
        if stream is not None:  # None where a shell closed it with >&-
            stream.flush()
    except BrokenPipeError:
        # Not a new stream: the interpreter flushes the old one at exit, and would exit with 120 there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """A line on stderr; with nobody there to read it (`2>&1 | head`, `2>&-`) the work goes on."""
    if sys.stderr is not None:
        with reader_may_leave(sys.stderr):
            print(text, file=sys.stderr)


def explained(error: Exception) -> int:
    """The exit status of an error, after saying it."""
    if hasattr(error, "format_message"):  # the command-line library's own usage errors
        return fail(usage_text(error), WRONG_USAGE)
    if isinstance(error, ValueError) and is_ours(error):
        return fail(str(error), WRONG_USAGE)
    if os.environ.get("ICLCHECK_TRACEBACK"):
        traceback.print_exc()
    what = one_sentence(f"{type(error).__name__}: {error}")
    return fail(f"internal error ({what}); set ICLCHECK_TRACEBACK=1 and report what it shows", INTERNAL_ERROR)


def is_ours(error: ValueError) -> bool:
    """Whether a ValueError is one of the refusals that this package words for its users."""
    return type(error).__module__.startswith("iclcheck.")


def usage_text(error: Exception) -> str:
    """What the command-line library says, as one sentence that names the help of the verb in question.

    >>> class NoSuchCommand(Exception):
    ...     def format_message(self):
    ...         return "No such command 'lst'. Did you mean 'list'?"
    >>> usage_text(NoSuchCommand())
    "no such command 'lst' (did you mean 'list'?); see iclcheck --help"
    """
    text = one_sentence(error.format_message())  # type: ignore[attr-defined]
    text = re.sub(r"\. Did you mean (.*)\?$", r" (did you mean \1?)", text)
    command = getattr(getattr(error, "ctx", None), "command_path", "iclcheck")
    return f"{text[:1].lower()}{text[1:]}; see {command} --help"


def one_sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def fail(sentence: str, status: int) -> int:
    say(f"iclcheck: {sentence}")
    return status
