"""From forms to certificate and back: asking the engines for every obligation of a claim.

Nothing here or below imports theory/ or SymPy: a certificate is examined from its own content alone.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines.refusals import RefutedError, UndecidedError, UnreadableError
from ..obligations.obligation import ClaimObligations, Examination, Forms, Obligation
from .certificate import FORMAT, VERSION, AlteredError, parsed, plain_bytes, read, sealed

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
    "critical-points": "critical_points",
    "least-squares-hessian": "least_squares_hessian",
    "audit-acds-hessian": "least_squares_hessian:refutation",
    "attention-hessian-inertia": "attention_hessian",
    "audit-zfb-hessian": "attention_hessian:refutation",
    "exponential-variances": "exponential_variances",
    "audit-zfb-failure": "exponential_variances:failure",
    "audit-zfb-figure": "exponential_variances:figure",
    "merged-heads-fixed-points": "merged_heads",
    "audit-zsls-fixed-points": "merged_heads:refutation",
    "gradient-flow": "gradient_flow",
    "conservation-law": "conservation_law",
    "pl-inequality": "pl_inequality",
    "gradient-flow-limit": "flow_limit",
    "nonlinear-targets": "nonlinear_targets",
    "random-covariance": "random_covariance",
    "mesa-compressed-depth": "mesa_rotations",
    "mesa-probing": "mesa_rotations:probing",
    "mesa-learning-rate": "mesa_learning_rate",
    "mesa-trained-layer": "mesa_trained_layer",
    "audit-mesa-one-step": "mesa_trained_layer:refutation",
    "mesa-gradient-step": "mesa_gradient_step",
    "mesa-preconditioning": "mesa_preconditioning",
    "audit-mesa-richardson": "mesa_preconditioning:refutation",
    "mesa-partial-observation": "mesa_partial_observation",
    "mesa-layer": "mesa_layer",
    "mesanet-layer": "mesanet_layer",
    "audit-mesa-limit": "mesanet_layer:limit_refutation",
    "audit-mn-objective": "mesanet_layer:objective_refutation",
    "scan-decoder": "scan_decoder",
    "scan-equal-overlaps": "scan_equal_overlaps",
    "audit-scan-remark": "scan_equal_overlaps:refutation",
    "scan-frequency": "scan_frequency",
    "scan-discriminative": "scan_discriminative",
    "scan-joint-flow": "scan_joint_flow",
    "snap": "scan_snap",
    "audit-snap-bound": "scan_printed_snap:bound_refutation",
    "audit-snap-common-token": "scan_printed_snap:token_refutation",
    "scan-learning-rates": "scan_learning_rates",
    "scan-trained": "scan_trained",
    "scan-text": "scan_text",
    "mixture-posterior": "mixture_posterior",
    "mixture-noiseless-limit": "mixture_noiseless_limit",
    "baseline-risks": "mixture_baseline_risks",
    "ridge-risk": "mixture_ridge_risk",
    "decoder-parameters": "mixture_decoder_parameters",
    "audit-parameters": "mixture_decoder_parameters:refutation",
    "oracle-never-beaten": "mixture_oracle",
    "model-selection": "mixture_price",
    "mixture-weight": "mixture_price:weight_obligations",
    "class-selection": "mixture_class_selection",
    "selection-boundary": "mixture_selection_boundary",
    "covariate-shift": "mixture_shift",
    "linear-sinusoid-posterior": "mixture_sinusoids",
    "out-of-distribution": "mixture_cross_class",
}
"""Claim -> the module with its obligations, and the function that lists them where it is not `obligations`."""

OWN = re.compile("own/[a-z0-9-]{1,60}")  # how a certificate names a claim of a user's file, unlike any built-in one


def is_known(claim: str) -> bool:
    """Whether there are obligations for the claim of a certificate."""
    return claim in MODULES or OWN.fullmatch(claim) is not None


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


def obligations_of(claim: str, forms: Mapping[str, Any] | None = None) -> ClaimObligations:
    """What has to be confirmed for a claim. Raises UndecidedError without python-flint.

    forms    of a claim of a user's file: each of its steps is an equality, and nothing else is known of it
    """
    try:
        importlib.import_module("flint")
    except ImportError:
        raise UndecidedError("python-flint is not installed; install it with `pip install python-flint`") from None
    if claim not in MODULES:
        from ..obligations.own_equalities import obligations

        return obligations(claim, forms or {})
    name, _, function = MODULES[claim].partition(":")
    module = importlib.import_module(f"{OBLIGATIONS}.{name}")
    found: ClaimObligations = getattr(module, function or "obligations")()
    return found


def examine(claim: str, forms: Mapping[str, Any], seed: str, progress: Progress = silent) -> list[dict[str, Any]]:
    """The steps of a certificate on these forms, every statement confirmed. Raises StepRefusedError, UndecidedError."""
    wanted = obligations_of(claim, forms)
    refuse_other_steps(wanted, forms)
    read = Forms(forms, wanted.steps)
    steps = []
    for step in wanted.steps:
        checks = [confirmed(claim, one, read, seed, progress) for one in wanted.obligations if one.step == step]
        steps.append({"step": step, "forms": forms[step], "checks": checks})
    return steps


def refuse_other_steps(wanted: ClaimObligations, forms: Mapping[str, Any]) -> None:
    """Steps and forms have to be those that the obligations know, in their order, no more and no less."""
    for step in [*wanted.steps, *forms]:
        needed = list(wanted.steps[step]) if step in wanted.steps else None
        names = list(forms[step]) if step in forms else None
        if names != needed:
            reason = "no obligation knows it" if needed is None else f"it needs the forms {needed}, got {names}"
            raise StepRefusedError(wanted.claim, step, "steps and their forms", reason, False)


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
    return sealed(assembled(claim, steps, made_with, code))


def assembled(claim: str, steps: list[dict[str, Any]], made_with: Mapping[str, str], code: str) -> dict[str, Any]:
    """The content of a certificate, in its order."""
    wanted = obligations_of(claim, {step["step"]: step["forms"] for step in steps})
    return {
        "format": FORMAT,
        "version": VERSION,
        "claim": claim,
        "assumptions": list(wanted.assumptions),
        "steps": steps,
        "trusted": list(wanted.trusted),
        "made_with": dict(made_with),
        "code": code,
    }


def recheck(path: Path, progress: Progress = silent) -> dict[str, Any]:
    """Examine a certificate again, at points drawn afresh; its content.

    Everything but the forms, the versions and the hash of the code is made anew, and compared byte by byte. Raises
    NotACertificateError, AlteredError, StepRefusedError, UndecidedError.
    """
    return examined_again(read(path), path, progress)


def recheck_content(data: bytes, called: str, progress: Progress = silent) -> dict[str, Any]:
    """`recheck` of the bytes of a certificate that stands in another file under some name."""
    return examined_again(parsed(data, Path(called)), Path(called), progress)


def examined_again(content: dict[str, Any], path: Path, progress: Progress) -> dict[str, Any]:
    """Examine the content of a certificate at points drawn afresh."""
    check_layout(content, path)
    claim, forms = str(content["claim"]), forms_in(content)
    steps = examine(claim, forms, secrets.token_hex(32), progress)
    for found, renewed in zip(content["steps"], steps, strict=True):
        if plain_bytes(found) != plain_bytes(renewed):
            raise AlteredError(f"{path} was altered: step {renewed['step']!r} is not what the engines find")
    whole = assembled(claim, steps, content["made_with"], content["code"])
    if plain_bytes(whole) != plain_bytes(content):
        raise AlteredError(f"{path} was altered: its assumptions, what is left to trust, or its order")
    return content


def check_layout(content: Mapping[str, Any], path: Path) -> None:
    """Raises AlteredError for content that is not laid out as a certificate on a known claim."""
    claim, steps, made_with = (content.get(name) for name in ("claim", "steps", "made_with"))
    laid_out = (
        isinstance(claim, str)
        and is_known(claim)
        and isinstance(steps, list)
        and all(is_step(step) for step in steps)
        and len({step["step"] for step in steps}) == len(steps)
        and isinstance(content.get("code"), str)
        and isinstance(made_with, dict)
        and all(isinstance(version, str) for version in made_with.values())
    )
    if not laid_out:
        raise AlteredError(f"{path} was altered: it is not laid out as a certificate on a known claim")


def is_step(step: Any) -> bool:
    """Whether data is a step with its name, forms and checks."""
    return (
        isinstance(step, dict)
        and list(step) == ["step", "forms", "checks"]
        and isinstance(step["step"], str)
        and isinstance(step["forms"], dict)
        and isinstance(step["checks"], list)
        and all(isinstance(check, dict) and isinstance(check.get("engine"), str) for check in step["checks"])
    )


def forms_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Step -> forms, of a content that `check_layout` passed."""
    return {step["step"]: step["forms"] for step in content["steps"]}
