"""The verbs that need no measurement: list, show, derive, predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..claims.audit import level_in_words, written_out
from ..claims.parameters import complete, finite_quantities, read_settings
from ..claims.registry import OWN, all_claims, find
from ..levels import Level, level_of
from .exit_status import reader_may_leave
from .printing import paragraph, print_json, quantity_text

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation
    from ..claims.claim import Claim


def list_claims(as_json: bool) -> int:
    found = [
        (claim, level_of(claim.derivation()), claim.derivation().statement.title) for claim in all_claims().values()
    ]
    if as_json:
        print_json({"claims": [listed(*row) for row in found]})
        return 0
    rows = [(claim.identifier, level_in_words(level, claim.audit), title) for claim, level, title in found]
    width, room = (max(len(row[k]) for row in rows) for k in (0, 1))
    for name, level_text, title in rows:
        print(f"{name:<{width}}  {level_text:<{room}}  {title}")
    return 0


def listed(claim: Claim, level: Level, title: str) -> dict[str, Any]:
    """One claim of the list; of an audit also what is right in its place."""
    corrected = {} if claim.audit is None else {"corrected_by": claim.audit.corrected}
    return {"claim": claim.identifier, **level_as_plain(level), "title": title, **corrected}


def level_as_plain(level: Level) -> dict[str, Any]:
    """A level as two fields of JSON."""
    return {"derivation": level.word, "engines": list(level.engines)}


def written_default(default: Any) -> str:
    """A number or a word."""
    return default if isinstance(default, str) else f"{default:g}"


def show(identifier: str, as_json: bool) -> int:
    plain = described(find(identifier))
    if as_json:
        print_json(plain)
        return 0
    print(plain["title"])
    print(f"{level_in_words(level_of(find(identifier).derivation()), find(identifier).audit)}\n")
    print(paragraph(plain["statement"]))
    for line in audit_lines(find(identifier)):
        print(paragraph(line))
    print(f"\nFormula (LaTeX)\n  {plain['latex']}")
    for heading in ("assumptions", "sources", "uses", "checks"):
        if plain[heading]:
            print(f"\n{heading.capitalize()}")
            print("\n".join(paragraph(f"- {line}") for line in plain[heading]))
    if plain["proved"]:
        print("\nProved (Coq)")
        print("\n".join(paragraph(f"- {line}") for line in plain["proved"]))
    print(f"\nConventions\n{paragraph(plain['conventions'])}")
    print(f"\nDomain of the checks\n{paragraph(plain['domain'])}")
    print("\nParameters of predict" + ("" if plain["parameters"] else "\n  none"))
    for one in plain["parameters"]:
        default = "" if one["required"] else default_text(one)
        note = f" (default {default})" if default else ""
        print(paragraph(f"{one['name']}: {one['description']}{note}"))
    if plain["quantities"]:
        print("\nQuantities that predict gives")
        print("\n".join(paragraph(f"{one['name']}: {one['description']}") for one in plain["quantities"]))
    return 0


def audit_lines(claim: Claim) -> list[str]:
    """What `show` says about a printed statement; nothing for any other claim."""
    if claim.audit is None:
        return []
    audit = claim.audit
    return [
        f"Printed: {audit.printed}",
        f"Reading: {audit.reading}",
        f"Counterexample: {written_out(audit.counterexample())}",
        f"Corrected by {audit.corrected}: {audit.correction}",
        f"What holds all the same: {audit.survives}",
    ]


def default_text(parameter: dict[str, Any]) -> str:
    """The default in words; empty where the description says what is taken."""
    if parameter["default"] is None:
        return "the identity" if parameter["name"] == "task_covariance" else ""
    return written_default(parameter["default"])


def described(claim: Claim) -> dict[str, Any]:
    """Everything that `show` says, plain data."""
    from ..certificates.proving import proved

    statement = claim.derivation().statement
    return {
        "claim": claim.identifier,
        "title": statement.title,
        **level_as_plain(level_of(claim.derivation())),
        "proved": proved(claim.derivation()),
        "statement": statement.text,
        "latex": statement.latex,
        "assumptions": list(statement.assumptions),
        "conventions": statement.conventions,
        "sources": [str(source) for source in statement.sources],
        "uses": list(statement.uses),
        "checks": [check.name for check in claim.checks],
        "domain": claim.domain,
        "parameters": [
            {"name": p.name, "description": p.description, "required": p.required, "default": p.default}
            for p in claim.parameters
        ],
        "quantities": [{"name": q.name, "description": q.description} for q in claim.quantities],
        "audit": None if claim.audit is None else claim.audit.as_plain(),
    }


def derive(identifier: str, latex: bool, as_json: bool) -> int:
    derivation = find(identifier).derivation()
    failures = derivation.failures()
    with reader_may_leave():
        if as_json:
            print_json(derived(identifier, derivation, failures))
        else:
            print(derivation.to_latex() if latex else derivation.to_text())
            print()
            for line in checked_in_words(derivation, failures):
                print(f"% {line}" if latex else line)  # what --latex writes stays LaTeX
    return 1 if failures else 0


def derived(identifier: str, derivation: Derivation, failures: Sequence[str]) -> dict[str, Any]:
    """The steps of a derivation, plain data."""
    steps = [
        {
            "name": step.name,
            "left": step.left,
            "right": step.right,
            "latex": step.latex,
            "rule": step.rule,
            "proof": step.proof,
            "check": "none" if step.check is None else "failed" if step.name in failures else "holds",
        }
        for step in derivation.steps
    ]
    return {"claim": identifier, "title": derivation.statement.title, "steps": steps}


def checked_in_words(derivation: Derivation, failures: Sequence[str]) -> list[str]:
    """How many steps were checked by numbers, and which of them failed."""
    checked = sum(step.check is not None for step in derivation.steps)
    if not checked:
        return ["No equality is checked: the formula is stated by its author, not derived."]
    others = len(derivation.steps) - checked
    steps = {0: "", 1: "; 1 step is read off or proved in words"}
    rest = steps.get(others, f"; {others} steps are read off or proved in words")
    # Of a claim of one's own no layer is known.
    own = derivation.statement.identifier in OWN
    against = "" if own else ", expectations against the layer multiplied out in components"
    return [
        f"{checked - len(failures)} of {checked} equalities hold exactly at random rational instances{against}{rest}.",
        *(f"FAILED: {name}" for name in failures),
    ]


def predict(identifier: str, settings: Sequence[str], parameters: str | None, as_json: bool) -> int:
    claim = find(identifier)
    words = [parameter.name for parameter in claim.parameters if parameter.word]
    given = complete(identifier, claim.parameters, read_settings(settings, parameters, words))
    quantities = finite_quantities(identifier, claim.predict, given)
    if as_json:
        print_json({"claim": identifier, "parameters": given, "quantities": quantities})
        return 0
    for name, value in quantities.items():
        print(f"{name}:{quantity_text(value)}")
    return 0
