"""Theorems for Coq: polynomial statements over the reals, with the squares that prove them.

Main statement
    What `coqc` accepts is proved from the axioms of Coq's real numbers; nothing of this package has to be trusted for
    it but that the statement in the file is the one that is meant. Squares are multiplied out by `field`, signs follow
    by `lra`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from .refusals import RefutedError, UndecidedError

SECONDS = 300
INSTALL = "sudo apt-get install coq"
HEAD = """Require Import Reals Lra.
Open Scope R_scope.

Lemma square_not_negative : forall c x : R, 0 < c -> 0 <= c * x^2.
Proof. intros c x Hc; apply Rmult_le_pos; [lra | apply pow2_ge_0]. Qed.

Lemma square_zero : forall c x : R, 0 < c -> c * x^2 = 0 -> x = 0.
Proof.
  intros c x Hc H; apply Rmult_integral in H; destruct H as [H | H]; [lra |].
  replace (x^2) with (x * x) in H by ring; apply Rmult_integral in H; destruct H; assumption.
Qed.
"""


class Theorem(NamedTuple):
    """A statement in words, and its Coq text with proof."""

    statement: str
    text: str


def file_text(comment: str, theorems: Sequence[Theorem]) -> str:
    """A whole .v file."""
    parts = [f"(* {comment} *)", HEAD]
    for theorem in theorems:
        parts += [f"(* {theorem.statement} *)", theorem.text]
    return "\n".join(parts)


def polynomial(value: Any, names: Sequence[str]) -> str:
    """A polynomial of python-flint in Coq's notation; `names` are those of the ring's generators."""
    terms = []
    for powers, coefficient in value.to_dict().items():
        factors = [f"({coefficient.p} / {coefficient.q})"]
        factors += [
            name if power == 1 else f"{name}^{power}" for name, power in zip(names, powers, strict=True) if power
        ]
        terms.append(" * ".join(factors))
    return " + ".join(terms) or "0"


def installed_version() -> str | None:
    """What coqc says of itself; None where there is none."""
    coqc = shutil.which("coqc")
    if coqc is None:
        return None
    done = subprocess.run([coqc, "--print-version"], capture_output=True, text=True, check=False)
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout.strip() else None


def check(text: str) -> str:
    """Have coqc check a file's text; its version. Raises RefutedError, UndecidedError."""
    version = installed_version()
    if version is None:
        raise UndecidedError(f"coqc is not installed; install it with `{INSTALL}`")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "theorems.v"
        file.write_text(text)
        command = ["coqc", "-q", file.name]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UndecidedError(f"coqc did not end within {SECONDS} s") from None
    if done.returncode:
        raise RefutedError(f"coqc does not accept the file: {' '.join(done.stderr.split())[:300]}")
    return version
