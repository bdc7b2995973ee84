"""The two sides never see each other: read from every import statement, and seen in fresh interpreters."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
SIDES = ("theory", "numerics", "proofs_check")
FOREIGN_LIBRARIES = {"theory": {"torch"}, "numerics": {"sympy"}}


def module_name(file: Path) -> str:
    """The name under which a file of one of the three folders is imported."""
    parts = file.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(("iclcheck", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def files_of(folder: str) -> list[Path]:
    return sorted((CHECKOUT / folder).rglob("*.py"))


def imports(source: str, package: str) -> Iterator[str]:
    """Full names of what a source text imports, at any depth; `package` resolves relative imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant))


def package_of(file: Path) -> str:
    name = module_name(file)
    return name if file.name == "__init__.py" else name.rpartition(".")[0]


def trespasses(side: str, imported: str) -> bool:
    """Whether a module of `side` must not import this: a foreign library, or iclcheck beyond its own side."""
    top, *below = imported.split(".")
    return top in FOREIGN_LIBRARIES[side] or (top == "iclcheck" and below[:1] != [side])


@pytest.mark.parametrize("side", sorted(FOREIGN_LIBRARIES))
def test_no_import_statement_crosses_to_the_other_side(side: str) -> None:
    files = files_of(side)
    assert files
    found = {
        (module_name(file), imported)
        for file in files
        for imported in imports(file.read_text(encoding="utf-8"), package_of(file))
        if trespasses(side, imported)
    }
    assert not found


@pytest.mark.parametrize(
    "statement",
    [
        "import torch",
        "import numpy, torch.nn as nn",
        "from torch import nn",
        "def late():\n    import torch",
        "if False:\n    from torch.nn import Linear",
        "from iclcheck.numerics.one_layer import layer",
        "from iclcheck import proofs_check",
        "import iclcheck",
        "from ... import numerics",
        "from ...numerics import one_layer",
        "from ...numerics.one_layer.layer import LinearAttention",
        "import importlib\nimportlib.import_module('torch')",
        "__import__('iclcheck.numerics')",
    ],
)
def test_every_form_of_a_crossing_import_is_seen(statement: str) -> None:
    assert any(trespasses("theory", name) for name in imports(statement, "iclcheck.theory.one_layer"))


@pytest.mark.parametrize(
    "statement",
    [
        "from . import layer",
        "from ..algebra import words",
        "from iclcheck.theory import symbols",
        "import sympy",
    ],
)
def test_imports_within_a_side_are_allowed(statement: str) -> None:
    assert not any(trespasses("theory", name) for name in imports(statement, "iclcheck.theory.one_layer"))


def modules_after_importing(names: list[str]) -> set[str]:
    """`sys.modules` of a fresh interpreter in which these modules were imported."""
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


@pytest.mark.parametrize("side", sorted(FOREIGN_LIBRARIES))
def test_a_fresh_interpreter_loads_one_side_alone(side: str) -> None:
    names = [module_name(file) for file in files_of(side)]
    loaded = modules_after_importing(names)
    assert set(names) <= loaded
    foreign = {f"iclcheck.{other}" for other in SIDES if other != side}
    if side == "theory":  # the numerics side cannot be asked the same of sympy: torch itself loads it
        foreign.add("torch")
    assert not {name for name in loaded if any(f"{name}.".startswith(f"{root}.") for root in foreign)}


@pytest.mark.parametrize("folder", [*SIDES, "src", "tests", "benchmarks", "docs"])
def test_nobody_imports_the_folders_as_top_level_names(folder: str) -> None:
    found = {
        (str(file.relative_to(CHECKOUT)), imported)
        for file in files_of(folder)
        for imported in imports(file.read_text(encoding="utf-8"), "iclcheck.any.package.deep.enough")
        if imported.split(".")[0] in SIDES
    }
    assert not found
