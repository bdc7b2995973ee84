r"""Files of claims: run as Python, their claims taken in, and their code hashed.

Main statements
    A file is run as the user's own code, with all rights of the user: a file from a stranger is read before it is run.
    The hash of a file's code covers the file and the modules that it imports from its own folder, comments and
    docstrings dropped, but not what states a claim (STATED): a measurement whose code changes is made anew, and a claim
    whose formula or wording changes is judged again from the records.
Worker processes find the files by the environment variable FILES, which they inherit.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..claims import registry
from ..claims.parameters import UsageError
from ..records.measuring_path import code_of_tree
from .users_errors import told_with_place

if TYPE_CHECKING:
    from ..claims.claim import Claim
    from .stating import OwnClaim

FILES = "ICLCHECK_CLAIM_FILES"
STATED = frozenset(
    ("title", "statement", "latex", "assumptions", "conventions", "source", "uses", "prediction", "steps", "domain",
     "settings")
)  # fmt: skip
LARGEST = 1_000_000  # bytes: more is no file of claims


@dataclass(frozen=True)
class ClaimFile:
    """A file that is being run, or was.

    code     the hash of its code
    claims   those that it has stated so far
    """

    path: Path
    code: str
    claims: dict[str, OwnClaim]


RUNNING: ContextVar[ClaimFile | None] = ContextVar("RUNNING", default=None)
_known: dict[tuple[Path, str], ClaimFile] = {}


def source_of(path: Path) -> bytes:
    """The bytes of a file of claims. Raises UsageError."""
    try:
        if not path.is_file():
            raise UsageError(f"there is no file of claims {path}; iclcheck new-claim NAME writes one to begin with")
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST // 1_000_000} MB, which no file of claims is")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the file of claims {path} cannot be read ({error.strerror})") from None


def hash_of_code(path: Path) -> str:
    """The sha256 of the code of a file and of the modules beside it that it imports. Raises UsageError."""
    digest, waiting, seen = hashlib.sha256(), [path], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        with told_with_place(path, f"{file.name} cannot be read as Python"):
            tree = ast.parse(source_of(file) if file == path else file.read_bytes(), filename=str(file))
        waiting += sorted(neighbours(tree, path.parent), reverse=True)
        name = "" if file == path else file.relative_to(path.parent).as_posix()
        digest.update(f"{name}\n{code_of_tree(without_statements(tree))}\n".encode())
    return digest.hexdigest()


def neighbours(tree: ast.Module, folder: Path) -> set[Path]:
    """The source files in a folder that import statements of a tree name; of a package all its modules."""
    found: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for top in {name.partition(".")[0] for name in names}:
            if (folder / f"{top}.py").is_file():
                found.add(folder / f"{top}.py")
            elif (folder / top / "__init__.py").is_file():
                found.update((folder / top).rglob("*.py"))
    return found


def without_statements(tree: ast.Module) -> ast.Module:
    """The tree without the arguments of `claim(...)` that only state it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "claim":
            node.keywords = [one for one in node.keywords if one.arg not in STATED]
    return tree


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    function = node.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def run_file(path: Path) -> ClaimFile:
    """Run a file and take in the claims that it states. Raises UsageError."""
    path = path.resolve()
    found = ClaimFile(path, hash_of_code(path), {})
    name = f"_iclcheck_claims_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # made from a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    token = RUNNING.set(found)
    try:
        with told_with_place(path, f"{path.name} cannot be run"):
            # Compiled here, not by the loader: its cache of bytecode goes by time and size of the file.
            exec(compile(source_of(path), str(path), "exec"), module.__dict__)
    finally:
        RUNNING.reset(token)
    if not found.claims:
        raise UsageError(f"{path.name} states no claim; call claim(...) in it (iclcheck new-claim NAME shows how)")
    _known[path, found.code] = found
    return found


def claim_of_code(code: str, identifier: str) -> OwnClaim:
    """A claim by the hash of its file's code: of the files in use, wherever this process stands. Raises UsageError."""
    paths = [Path(one) for one in os.environ.get(FILES, "").split(os.pathsep) if one]
    for path in paths:
        if (known := _known.get((path, code))) is not None:
            return known.claims[identifier]
    for path in paths:
        if hash_of_code(path) == code:
            if (folder := str(path.parent)) not in sys.path:  # a worker: its parent has done so for itself
                sys.path.insert(0, folder)
            return run_file(path).claims[identifier]
    raise UsageError(
        f"the file that states {identifier} is not in use, or has changed since; give it with --claims FILE"
    )


@contextmanager
def claims_from(*files: str | Path) -> Iterator[tuple[str, ...]]:
    """Within this context the claims of these files are known to every verb, beside the built-in ones.

    The files are run as your own code. Gives the identifiers. Raises UsageError: one sentence, with file and line.
    """
    paths = list(dict.fromkeys(Path(file).resolve() for file in files))
    before = dict(registry.OWN), registry.FILES.copy(), sys.path.copy(), os.environ.get(FILES)
    os.environ[FILES] = os.pathsep.join(map(str, (*paths, *filter(None, [before[3]]))))
    try:
        stated: dict[str, Claim] = {}
        for path in paths:
            sys.path.insert(0, str(path.parent))  # as for a script; what it imports later is found, too
            for identifier, own in run_file(path).claims.items():
                if identifier in registry.OWN or identifier in stated:
                    raise UsageError(f"{own.place}: the claim {identifier} is stated in two files; rename one of them")
                stated[identifier] = own.claim
        registry.OWN.update(stated)
        registry.FILES.extend(map(str, files))
        yield tuple(stated)
    finally:
        registry.OWN.clear()
        registry.OWN.update(before[0])
        registry.FILES[:], sys.path[:] = before[1], before[2]
        if before[3] is None:
            del os.environ[FILES]
        else:
            os.environ[FILES] = before[3]
