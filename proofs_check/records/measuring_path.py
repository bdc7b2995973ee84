r"""Hash of the code that a measurement runs through.

The measuring path of "package.module:function" is that module with every module that it imports,
directly or through others, inside `iclcheck.numerics` (and inside its own top-level package, for a
measurement that lives outside iclcheck).

Main statements
    two versions of the code that differ in comments, docstrings and layout have one hash
    any other change in any module of the path changes the hash
    the hash does not depend on the version of Python, nor on where the package is installed
Limits
    Imports are read from the syntax tree; a module named only in a string at run time is not seen.
    A name imported from a package (not from a module) counts as all modules of that package.
    The `__init__` of a package on the way counts only in that case: ours define nothing but lazy names.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

_MEASURING_SIDE = "iclcheck.numerics"


class MeasurementNotFoundError(LookupError):
    """No source file for the module that a measurement names."""


def measuring_path(measurement: str) -> str:
    """The sha256 of the code of "package.module:function", comments and docstrings dropped.

    Raises MeasurementNotFoundError if the module has no source file.
    """
    digest = hashlib.sha256()
    for name, file in sorted(modules_of(measurement).items()):
        digest.update(f"{name}\n{code_of(file)}\n".encode())
    return digest.hexdigest()


def modules_of(measurement: str) -> dict[str, Path]:
    """The modules of the measuring path, each with its source file."""
    start = measurement.partition(":")[0]
    roots = _roots(start)
    found: dict[str, Path] = {}
    waiting = [(start, _source(start))]
    while waiting:
        name, file = waiting.pop()
        if file is None:
            raise MeasurementNotFoundError(
                f"the measurement {measurement} needs the source of the module {name}, none was found; "
                "name it package.module:function, with the package importable"
            )
        if name not in found:
            found[name] = file
            waiting.extend(_imported(name, file, roots))
    return found


def _roots(start: str) -> tuple[str, ...]:
    top = start.partition(".")[0]
    return (_MEASURING_SIDE,) if top == "iclcheck" else (_MEASURING_SIDE, top)


def _imported(name: str, file: Path, roots: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for base, member in _import_statements(file.read_bytes(), package):
        for module in _modules_behind(base, member):
            source = _source(module) if _inside(module, roots) else None
            if source is not None:
                yield module, source


@lru_cache(maxsize=2000)  # by the bytes, not by the file: an edit is seen at once
def _import_statements(source: bytes, package: str) -> tuple[tuple[str, str | None], ...]:
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found += ((base, alias.name) for alias in node.names)
    return tuple(found)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


def _modules_behind(base: str, member: str | None) -> Iterator[str]:
    if member is not None and _source(f"{base}.{member}") is not None:
        yield f"{base}.{member}"
        return
    yield base
    source = _source(base)
    if source is not None and source.name == "__init__.py":
        yield from (f"{base}.{file.stem}" for file in sorted(source.parent.glob("*.py")) if file != source)


def _inside(module: str, roots: tuple[str, ...]) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def _source(module: str) -> Path | None:
    """The source file of a module, found without importing its packages.

    A record from a stranger names its measurement: looking it up must not run that code.
    """
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _spec(module: str) -> ModuleSpec | None:
    parent, _, _ = module.rpartition(".")
    if not parent:
        return _first_spec(module, None)
    above = _spec(parent)
    if above is None or above.submodule_search_locations is None:
        return None
    return _first_spec(module, list(above.submodule_search_locations))


def _first_spec(module: str, locations: list[str] | None) -> ModuleSpec | None:
    specs = (finder.find_spec(module, locations) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def code_of(file: Path) -> str:
    """The code of one file as text, with comments, docstrings and layout dropped."""
    return _code(file.read_bytes())


@lru_cache(maxsize=2000)
def _code(source: bytes) -> str:
    return code_of_tree(ast.parse(source))


def code_of_tree(tree: ast.Module) -> str:
    """A module's code as text, with docstrings and layout dropped."""
    return _shape(tree)


def _shape(value: object) -> str:
    """A syntax tree as text; empty fields are left out, since versions of Python add such fields."""
    if isinstance(value, ast.AST):
        shown = ((name, _shape(field)) for name, field in ast.iter_fields(value))
        return f"{type(value).__name__}({','.join(f'{name}={text}' for name, text in shown if text)})"
    if isinstance(value, list):
        return "".join(_shape(item) + ";" for item in value if not _is_bare_text(item))
    return "" if value is None else repr(value)


def _is_bare_text(node: object) -> bool:
    """A docstring, or any other string that stands alone: it has no effect."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
