"""From forms to certificate and back: asking the engines for every obligation of a claim.

Nothing here or below imports theory/ or SymPy: a certificate is examined from its own content alone.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines.refusals import RefutedError, UndecidedError, UnreadableError
from ..obligations.obligation import ClaimObligations, Examination, Forms, Obligation
from .certificate import FORMAT, VERSION, AlteredError, read, sealed

OBLIGATIONS = "iclcheck.proofs_check.obligations"
MODULES = {
    "population-loss": "population_loss",
    "fixed-point": "fixed_point",
    "preconditioned-gradient-step": "gradient_step",
    "uniform-covariates": "uniform_covariates",
    "random-context-length": "random_context_length",
    "fixed-point-any-start": "any_start",
    "test-risk": "risk",
    "relu-attention": "relu_attention",
}
"""Claim -> the module with its obligations."""


@dataclass(frozen=True)
class StepRefusedError(Exception):
    """A statement on a step is not confirmed: refuted, or undecided."""

    claim: str
    step: str
    statement: str
    reason: str
    undecided: bool

    def __str__(self) -> str:
        word = "undecided" if self.undecided else "refused"
        return f"{self.claim}, step {self.step!r}, {self.statement!r}: {word}, {self.reason}"


Progress = Callable[[str, str, str], None]  # (step, statement, engine), as each is confirmed


def silent(step: str, statement: str, engine: str) -> None:
    """Progress that nobody sees."""


def obligations_of(claim: str) -> ClaimObligations:
    """What has to be confirmed for a claim. Raises UndecidedError without python-flint."""
    try:
        importlib.import_module("flint")
    except ImportError:
        raise UndecidedError("python-flint is not installed; install it with `pip install python-flint`") from None
    module = importlib.import_module(f"{OBLIGATIONS}.{MODULES[claim]}")
    found: ClaimObligations = module.obligations()
    return found


def examine(claim: str, forms: Mapping[str, Any], seed: str, progress: Progress = silent) -> list[dict[str, Any]]:
    """The steps of a certificate on these forms, every statement confirmed. Raises StepRefusedError, UndecidedError."""
    wanted = obligations_of(claim)
    refuse_other_steps(wanted, forms)
    steps = []
    for step in wanted.steps:
        checks = [confirmed(claim, one, Forms(forms), seed, progress) for one in wanted.obligations if one.step == step]
        steps.append({"step": step, "forms": forms[step], "checks": checks})
    return steps


def refuse_other_steps(wanted: ClaimObligations, forms: Mapping[str, Any]) -> None:
    """Steps and forms have to be those that the obligations know, no more and no less."""
    for step in [*wanted.steps, *forms]:
        names = tuple(forms[step]) if step in forms else None
        if names != wanted.steps.get(step):
            known = (
                "the engines know no such step" if step not in wanted.steps else f"need the forms {wanted.steps[step]}"
            )
            raise StepRefusedError(wanted.claim, step, "steps and their forms", f"{known}, got {names}", False)


def confirmed(claim: str, obligation: Obligation, forms: Forms, seed: str, progress: Progress) -> dict[str, Any]:
    """One statement with its evidence, after asking the engine."""
    try:
        examination = obligation.prepare(forms)
        found = described(obligation, examination)
        examination.check(seed)
    except (RefutedError, UnreadableError, ValueError, ZeroDivisionError) as error:
        raise StepRefusedError(claim, obligation.step, obligation.statement, str(error), False) from None
    except UndecidedError as error:
        raise StepRefusedError(claim, obligation.step, obligation.statement, str(error), True) from None
    progress(obligation.step, obligation.statement, examination.engine)
    return found


def described(obligation: Obligation, examination: Examination) -> dict[str, Any]:
    """A statement as it stands in a certificate."""
    return {
        "statement": obligation.statement,
        "for_all": dict(examination.letters),
        "engine": examination.engine,
        "evidence": examination.evidence(),
    }


def seed_of(forms: Mapping[str, Any]) -> str:
    """The seed of the points at which a certificate is made: the hash of what it is about."""
    return hashlib.sha256(json.dumps(forms, sort_keys=True).encode()).hexdigest()


def certificate_of(
    claim: str, forms: Mapping[str, Any], made_with: Mapping[str, str], code: str, progress: Progress = silent
) -> dict[str, Any]:
    """A sealed certificate on these forms. Raises StepRefusedError, UndecidedError."""
    steps = examine(claim, forms, seed_of(forms), progress)
    wanted = obligations_of(claim)
    return sealed(
        {
            "format": FORMAT,
            "version": VERSION,
            "claim": claim,
            "assumptions": list(wanted.assumptions),
            "steps": steps,
            "trusted": list(wanted.trusted),
            "made_with": dict(made_with),
            "code": code,
        }
    )


def recheck(path: Path, progress: Progress = silent) -> str:
    """Examine a certificate again, at points drawn afresh; the claim's identifier.

    Raises NotACertificateError, AlteredError, StepRefusedError, UndecidedError.
    """
    content = read(path)
    claim, forms = claim_of(content, path), forms_in(content, path)
    steps = examine(claim, forms, secrets.token_hex(32), progress)
    wanted = obligations_of(claim)
    for found, renewed in zip(content["steps"], steps, strict=True):
        if found != renewed:
            raise AlteredError(f"{path} was altered: step {renewed['step']!r} is not what the engines find")
    if content["assumptions"] != list(wanted.assumptions) or content["trusted"] != list(wanted.trusted):
        raise AlteredError(f"{path} was altered: the assumptions or what is left to trust")
    return claim


def claim_of(content: Mapping[str, Any], path: Path) -> str:
    """The claim of a certificate of this version. Raises AlteredError."""
    names = ["format", "version", "claim", "assumptions", "steps", "trusted", "made_with", "code"]
    if list(content) != names or content["version"] != VERSION or content["claim"] not in MODULES:
        raise AlteredError(f"{path} is no certificate of version {VERSION} on a known claim")
    return str(content["claim"])


def forms_in(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Step -> forms. Raises AlteredError."""
    steps = content["steps"]
    if not isinstance(steps, list) or not all(
        isinstance(step, dict) and list(step) == ["step", "forms", "checks"] and isinstance(step["forms"], dict)
        for step in steps
    ):
        raise AlteredError(f"{path} was altered: a step needs its name, its forms and its checks")
    found = {str(step["step"]): step["forms"] for step in steps}
    if len(found) != len(steps):
        raise AlteredError(f"{path} was altered: a step stands there twice")
    return found
