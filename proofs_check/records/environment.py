r"""Where a measurement was run: what a record says about machine, versions and commit.

Main statements
    the commit is that of iclcheck's own checkout, never that of the repository it happens to be used in
    nothing here identifies the person or the machine: no user, host or path
"""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FOLDERS_THAT_DECIDE_A_MEASUREMENT = ("numerics", "src", "pyproject.toml")


def describe_environment() -> dict[str, Any]:
    """Versions, platform, and the commit if the package runs from its git checkout (else None)."""
    commit, changed = _commit_of_own_checkout()
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "platform": f"{platform.system()} {platform.machine()}",
        "commit": commit,
        "uncommitted_changes": changed,
    }


def describe_device(device: str) -> str:
    """The name of the accelerator for "cuda...", else the device itself.

    >>> describe_device("cpu")
    'cpu'
    """
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))


def _version(package: str) -> str | None:
    # From the metadata, because importing torch takes seconds.
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit_of_own_checkout() -> tuple[str | None, bool | None]:
    checkout = _folder_above_the_sources()
    top = _git(checkout, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != checkout:
        return None, None
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--", *_FOLDERS_THAT_DECIDE_A_MEASUREMENT)
    return commit, None if changes is None else changes != ""


def _folder_above_the_sources() -> Path:
    found = find_spec("iclcheck.numerics")  # without loading it: what only reads records needs nothing of it
    assert found is not None  # part of this package
    assert found.origin is not None  # it has an __init__.py
    return Path(found.origin).resolve().parent.parent


def _git(folder: Path, *arguments: str) -> str | None:
    # GIT_DIR and its like (set inside hooks) would make git speak of another repository.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            env=surroundings,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
