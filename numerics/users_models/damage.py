"""One sentence for all that Python's zip and array readers raise on damaged bytes."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from .weights_errors import WeightsFileError

_WHAT_DAMAGED_BYTES_RAISE = (
    *(ValueError, ArithmeticError, LookupError, OSError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


@contextmanager
def damage_reported(source: str) -> Iterator[None]:
    """Turn what damaged bytes raise inside the block into a WeightsFileError about `source`."""
    try:
        yield
    except WeightsFileError:
        raise
    except _WHAT_DAMAGED_BYTES_RAISE as error:
        reason = str(error) or type(error).__name__
        raise WeightsFileError(f"{source} is damaged ({reason}); copy or save it again") from error
