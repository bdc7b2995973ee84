"""Statements that Coq accepted: made, kept beside the certificates, and read again.

A proof is kept as the .v file and a note of the Coq that accepted it. It counts as long as the file is the one that was
accepted and its first line names the forms of the present derivation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.coq import Theorem, check, file_text
from ..engines.refusals import UndecidedError
from ..records.whole_files import write_whole
from .examining import seed_of
from .forms import forms_of

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation

DEFAULT_FOLDER = Path(".iclcheck") / "proofs"
NOTE = ("claim", "forms", "sha256", "coq", "statements")


def theorem_maker(claim: str) -> Callable[[Mapping[str, Any]], list[Theorem]] | None:
    """Forms -> theorems, for the claims that have some."""
    if claim != "fixed-point":
        return None
    from ..obligations.coq_theorems import fixed_point_theorems

    return fixed_point_theorems


def prove(derivation: Derivation, folder: Path | None = None) -> list[str]:
    """Have Coq check the theorems on a derivation's forms; the statements. Raises RefutedError, UndecidedError."""
    claim, forms = derivation.statement.identifier, forms_of(derivation)
    maker = theorem_maker(claim)
    if maker is None:
        raise UndecidedError(f"no theorem for Coq is made for {claim}; leave --coq out, or name fixed-point")
    theorems = maker(forms)
    text = file_text(first_line(claim, seed_of(forms)), theorems)
    version, place = check(text), folder or DEFAULT_FOLDER
    statements = [theorem.statement for theorem in theorems]
    note = dict(zip(NOTE, (claim, seed_of(forms), digest(text), version, statements), strict=True))
    write_whole(place / f"{claim}.v", text)
    write_whole(place / f"{claim}.json", json.dumps(note, indent=1) + "\n")
    return statements


def first_line(claim: str, forms: str) -> str:
    """What a .v file begins with: the claim, and the sha256 of the forms."""
    return f"iclcheck, {claim}, forms {forms}"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def proved(derivation: Derivation, folder: Path | None = None) -> list[str]:
    """The statements on exactly this derivation that a Coq accepted; [] where there is no such note."""
    return proved_on(derivation.statement.identifier, seed_of(forms_of(derivation)), folder)


def proved_on(claim: str, forms: str, folder: Path | None = None) -> list[str]:
    """The statements on the forms of that sha256 that a Coq accepted; [] where there is no such note."""
    place = folder or DEFAULT_FOLDER
    try:
        note = json.loads((place / f"{claim}.json").read_text())
        text = (place / f"{claim}.v").read_text()
    except (OSError, ValueError):
        return []
    if not isinstance(note, dict) or tuple(note) != NOTE or note["sha256"] != digest(text):
        return []
    current = note["forms"] == forms and text.startswith(f"(* {first_line(claim, forms)} *)")
    return [str(statement) for statement in note["statements"]] if current else []
