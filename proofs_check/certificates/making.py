"""Certificates of the present derivations, and the level that a claim has by them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.refusals import UndecidedError
from ..records.measuring_path import code_of
from .certificate import AlteredError, NotACertificateError, read
from .examining import MODULES, Progress, certificate_of, check_layout, forms_in, seed_of, silent
from .forms import forms_of

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation

DEFAULT_FOLDER = Path(".iclcheck") / "certificates"
ENGINES = ("python-flint", "z3-solver")
EXAMINING = ("certificates", "engines", "obligations")  # the packages that a certificate goes through


def certify(derivation: Derivation, progress: Progress = silent) -> dict[str, Any]:
    """The certificate of a derivation. Raises StepRefusedError, UndecidedError."""
    claim = derivation.statement.identifier
    if claim in MODULES:
        return certificate_of(claim, forms_of(derivation), versions(), engine_code(), progress)
    if not any(step.check is not None for step in derivation.steps):
        raise UndecidedError(f"{claim} states its formula without a derivation; give it steps= to certify")
    return certificate_of(f"own/{claim}", forms_of(derivation), versions(), engine_code(), progress)


def versions() -> dict[str, str]:
    """The engines that are installed."""
    return dict(installed())


def installed() -> Iterator[tuple[str, str]]:
    for name in ENGINES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


@cache
def engine_code() -> str:
    """The sha256 of the engines and obligations, comments and docstrings dropped."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(file for name in EXAMINING for file in (package / name).glob("*.py")):
        digest.update(f"{file.parent.name}/{file.name}\n{code_of(file)}\n".encode())
    return digest.hexdigest()


def engines_behind(derivation: Derivation, folder: Path | None = None) -> tuple[str, ...]:
    """The engines of the stored certificate of this derivation, each once; none without one."""
    content = certificate_behind(derivation, folder)
    return engines_in(content) if content else ()


def certificate_behind(derivation: Derivation, folder: Path | None = None) -> dict[str, Any] | None:
    """The stored certificate of exactly this derivation, made by the present engines; else None.

    The file's hash is verified, its statements are not examined again: that is what `certify --recheck` does.
    """
    return certificate_on(derivation.statement.identifier, seed_of(forms_of(derivation)), folder)


def certificate_on(claim: str, forms: str, folder: Path | None = None) -> dict[str, Any] | None:
    """The stored certificate about the forms of that sha256 (`examining.seed_of`); else None."""
    path = (folder or DEFAULT_FOLDER) / f"{claim}.json"
    try:
        content = read(path)
        check_layout(content, path)
    except (NotACertificateError, AlteredError):
        return None
    current = content["code"] == engine_code() and seed_of(forms_in(content)) == forms
    return content if current else None


def engines_in(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The engines that a certificate names, each once, in short."""
    named = [str(check["engine"]).partition(" (")[0] for step in content["steps"] for check in step["checks"]]
    return tuple(dict.fromkeys(named))
