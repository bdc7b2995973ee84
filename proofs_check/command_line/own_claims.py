"""Claims of a user's files on the command line: the option --claims, and the verb new-claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..claims.parameters import UsageError, quoted
from ..own.claim_files import claims_from
from ..own.failures import users_failures
from ..own.template import template
from .exit_status import reader_may_leave
from .printing import print_json


@contextmanager
def in_use(files: Sequence[Path]) -> Iterator[None]:
    """The claims of these files; an error in the user's code while it measures is one of usage. Raises UsageError."""
    with claims_from(*files), users_failures():
        yield


def write_new_claim(name: str, output: Path | None, as_json: bool) -> int:
    """Write the template, and see that it states the claim. Raises UsageError."""
    from ..own.stating import check_identifier

    check_identifier(name)
    path = output or Path(f"{name.replace('-', '_')}.py")
    if path.suffix != ".py":
        raise UsageError(
            f"--output needs a file of Python, got {quoted(str(path))}; name it {path.stem or 'my_claims'}.py"
        )
    try:
        with path.open("x", encoding="utf-8") as file:  # never over what is there
            file.write(template(name, path))
    except FileExistsError:
        raise UsageError(f"{path} exists already, and is left as it is; name another file with --output FILE") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another with --output FILE") from None
    with reader_may_leave():
        if as_json:
            print_json({"claim": name, "file": str(path)})
        else:
            print(f"wrote {path}; now: iclcheck check --claims {path}")
    return 0
