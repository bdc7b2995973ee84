"""A measurement outside iclcheck, as a user's own package would hold it."""

from pathlib import Path

import pytest

MEASUREMENT = '''
"""A measurement that does as its parameters say."""
import os
import signal
import time


def square(*, x, device, seconds=0.0, trace=None):
    """The square of x."""
    if trace is not None:
        with open(trace, "a") as file:
            file.write(f"{x} {os.getpid()}\\n")
    time.sleep(seconds)
    return {
        "square": x * x,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "hears_ctrl_c": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        "worker": os.getpid(),
    }


def refuse_negative(*, x, device):
    if x < 0:
        raise ValueError(f"{x} is negative")
    return {"x": x}


def not_finite(*, device):
    return {"loss": float("nan")}


def die(*, device):
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source file of a module `toy_lab.bench`, importable here and in worker processes."""
    package = tmp_path / "importable" / "toy_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bench.py").write_text(MEASUREMENT)
    monkeypatch.syspath_prepend(package.parent)
    return package / "bench.py"
