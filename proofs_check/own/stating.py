"""What a file of claims is written with: `claim`, its observables, and its checks of what was written."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...theory.algebra.derivations import Statement
from ..certificates.examining import MODULES
from ..claims.claim import Claim
from ..claims.parameters import UsageError, quoted
from .claim_files import RUNNING
from .derivations import WrittenStep, derivation_of, source_of
from .domains import Choice, Domain
from .observables import Observable
from .predictions import Prediction, claim_by, completed, read_predictions

IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_IDENTIFIER, MOST_SETTINGS = 60, 1000
SETTINGS = 6


@dataclass(frozen=True)
class OwnClaim:
    """A claim of a user's file, and what its measurements need of it.

    place    "my_claims.py, line 12", for messages;  code: the hash of the file's code
    """

    identifier: str
    place: str
    file: Path | None
    code: str
    domain: Domain
    settings: int
    quantities: tuple[str, ...]
    observables: tuple[Observable, ...]
    made: list[Claim] = field(default_factory=list, repr=False)

    @property
    def claim(self) -> Claim:
        return self.made[0]

    def observable(self, name: str) -> Observable:
        return next(one for one in self.observables if one.name == name)

    def only_quantity(self, observable: str) -> str:
        """The one quantity, where a function returns numbers without a name. Raises UsageError."""
        if len(self.quantities) == 1:
            return self.quantities[0]
        raise UsageError(
            f"{self.place}: {observable} needs to return a dict with names among {', '.join(self.quantities)}"
        )


def claim(
    identifier: str,
    *,
    title: str,
    statement: str,
    prediction: Prediction,
    domain: Mapping[str, Choice],
    checks: Sequence[Observable],
    steps: Sequence[WrittenStep] = (),
    assumptions: Sequence[str] = (),
    source: str | None = None,
    latex: str | None = None,
    conventions: str = "as its author states them",
    uses: Sequence[str] = (),
    settings: int = SETTINGS,
) -> OwnClaim:
    """State a claim. Raises UsageError: one sentence with the place in the file.

    identifier    lower-case words joined by hyphens, unlike that of any built-in claim
    prediction    quantity -> formula (text or SymPy in the parameters) or function of the parameters; a single one may
                  stand without a name
    domain        parameter -> whole(low, high), real(low, high) or one_of(values)
    checks        exact(...), mean(...), replicas(...): functions (parameters, generator) -> numbers, and their rule
    steps         step(name, left, right, why), equalities that end in the prediction; without them it is stated only
    source        a key of docs/references.md with a place, or any text
    settings      at how many random points of the domain it is tested
    """
    running, line = RUNNING.get(), calling_line()
    file = running.path if running else None
    place = f"{file.name if file else 'claim'}, line {line}"
    try:
        check_identifier(identifier)
        if running and identifier in running.claims:
            raise UsageError(f"the claim {identifier} is stated twice; rename one")
        for name, text in (("title", title), ("statement", statement)):
            check_words(name, text)
        check_domain(domain)
        check_lists({"assumptions": assumptions, "uses": uses})
        predictions = read_predictions(prediction, domain, file)
        observables = tuple(completed(one, domain, file) for one in named(checks))
        own = OwnClaim(
            identifier, place, file, running.code if running else "", dict(domain), check_settings(settings),
            tuple(one.name for one in predictions), observables,
        )  # fmt: skip
        formulas = ", ".join(one.latex() for one in predictions)
        origin = source_of(source, file.name if file else "")
        stated = Statement(
            identifier, title, latex or formulas, statement, tuple(assumptions), conventions, (origin,), tuple(uses)
        )
        check_steps(steps)
        expressions = {one.name: one.expression for one in predictions}
        derivation = derivation_of(stated, steps, expressions, tuple(domain))
        own.made.append(claim_by(own, derivation, predictions))
    except UsageError as error:
        raise UsageError(str(error) if str(error).startswith(place) else f"{place}: {error}") from None
    if running:
        running.claims[identifier] = own
    return own


def calling_line() -> int:
    """The line on which `claim(...)` begins."""
    return sys._getframe(2).f_lineno


def check_identifier(identifier: Any) -> None:
    """Raises UsageError."""
    if not isinstance(identifier, str) or not IDENTIFIER.fullmatch(identifier) or len(identifier) > LONGEST_IDENTIFIER:
        raise UsageError(
            f"a claim needs lower-case words joined by hyphens for its name, at most {LONGEST_IDENTIFIER} characters, "
            f"got {quoted(str(identifier))}; write claim('my-claim', ...)"
        )
    if identifier in MODULES or identifier.startswith("audit-"):
        what = (
            "is the name of a built-in claim"
            if identifier in MODULES
            else "begins like an audit of a printed statement"
        )
        raise UsageError(f"{identifier} {what}; choose another")


def check_words(name: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{name} needs words, got {quoted(str(text))}")


def check_settings(settings: Any) -> int:
    if not isinstance(settings, int) or isinstance(settings, bool) or not 1 <= settings <= MOST_SETTINGS:
        raise UsageError(f"settings needs a whole number from 1 to {MOST_SETTINGS}, got {quoted(str(settings))}")
    return settings


def check_domain(domain: Any) -> None:
    """Raises UsageError."""
    if not isinstance(domain, Mapping) or not domain:
        raise UsageError("domain needs at least one parameter; write domain={'N': whole(2, 20)}")
    for name, choice in domain.items():
        if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
            raise UsageError(f"a parameter needs a name of letters, digits and _, got {quoted(str(name))}")
        if not isinstance(choice, Choice):
            raise UsageError(
                f"the parameter {name} needs whole(low, high), real(low, high) or one_of(values), "
                f"got {quoted(str(choice))}"
            )


def named(checks: Any) -> list[Observable]:
    """The observables, each with a name of its own. Raises UsageError."""
    found = list(checks) if isinstance(checks, Sequence) else [checks]
    if not found or not all(isinstance(one, Observable) for one in found):
        raise UsageError("checks needs a list of exact(...), mean(...) or replicas(...)")
    names = [one.name for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two checks are called {twice[0]!r}; give one of them name='...'")
    return found


def check_steps(steps: Any) -> None:
    if not isinstance(steps, Sequence) or not all(isinstance(one, WrittenStep) for one in steps):
        raise UsageError("steps needs a list of step(name, left, right, why)")


def check_lists(texts: Mapping[str, Any]) -> None:
    """Raises UsageError for anything but lists of words."""
    for name, found in texts.items():
        if isinstance(found, str) or not isinstance(found, Sequence) or not all(isinstance(one, str) for one in found):
            raise UsageError(f"{name} needs a list of texts, got {quoted(str(found))}")
