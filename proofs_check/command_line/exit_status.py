"""Exit status and messages: what a shell script may rely on.

    0 agrees   1 contradicted   2 wrong usage or unusable input   3 inconclusive   70 internal error   130 Ctrl-C
Errors are one sentence on stderr; a traceback is shown only with ICLCHECK_TRACEBACK=1 in the environment.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

OK, WRONG_USAGE, INTERNAL_ERROR, INTERRUPTED = 0, 2, 70, 130


def guarded(work: Callable[[], int]) -> int:
    """Run `work` and turn what it raises into a sentence and an exit status."""
    try:
        return work()
    except KeyboardInterrupt:
        return fail("interrupted; finished measurements are kept, run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (as in `iclcheck show ... | head`), which is no error of ours.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the interpreter flushes it at exit
        return OK
    except Exception as error:
        return explained(error)


def explained(error: Exception) -> int:
    """The exit status of an error, after saying it."""
    if hasattr(error, "format_message"):  # the command-line library's own usage errors
        return fail(one_sentence(error.format_message()) + "; see iclcheck --help", WRONG_USAGE)
    if isinstance(error, ValueError) and is_ours(error):
        return fail(str(error), WRONG_USAGE)
    if os.environ.get("ICLCHECK_TRACEBACK"):
        traceback.print_exc()
    what = one_sentence(f"{type(error).__name__}: {error}")
    return fail(f"internal error ({what}); set ICLCHECK_TRACEBACK=1 and report what it shows", INTERNAL_ERROR)


def is_ours(error: ValueError) -> bool:
    """Whether a ValueError is one of the refusals that this package words for its users."""
    return type(error).__module__.startswith("iclcheck.")


def one_sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def fail(sentence: str, status: int) -> int:
    print(f"iclcheck: {sentence}", file=sys.stderr)
    return status
