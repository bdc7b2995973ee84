"""The verb certify: make certificates of derivations, or examine certificate files again.

Examining a file imports nothing of theory/: what it says is confirmed from its own content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..certificates.certificate import NotACertificateError, read, to_bytes
from ..certificates.examining import Progress, StepRefusedError, recheck
from ..engines.refusals import RefutedError, UndecidedError
from .exit_status import fail, reader_may_leave, say
from .printing import paragraph, print_json

CERTIFIED, REFUTED, UNUSABLE, UNDECIDED = 0, 1, 2, 3


@dataclass(frozen=True)
class Outcome:
    """What came of one claim or file.

    content     the certificate, where it was confirmed
    reason      else: one sentence
    """

    name: str
    status: int
    content: dict[str, Any] | None
    reason: str
    path: Path | None

    @property
    def word(self) -> str:
        return {CERTIFIED: "certified", REFUTED: "refused", UNUSABLE: "not read", UNDECIDED: "undecided"}[self.status]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "claim": self.content["claim"] if self.content else None,
            "name": self.name,
            "outcome": self.word,
            "engines": engines_of(self.content),
            "statements": statements_of(self.content),
            "trusted": list(self.content["trusted"]) if self.content else [],
            "reason": self.reason or None,
            "file": str(self.path) if self.path else None,
        }


def engines_of(content: dict[str, Any] | None) -> list[str]:
    checks = [check for step in content["steps"] for check in step["checks"]] if content else []
    return list(dict.fromkeys(str(check["engine"]) for check in checks))


def statements_of(content: dict[str, Any] | None) -> list[dict[str, str]]:
    steps = content["steps"] if content else []
    return [
        {"step": step["step"], "statement": check["statement"], "engine": check["engine"]}
        for step in steps
        for check in step["checks"]
    ]


def certify(
    names: Sequence[str], every: bool, output: Path | None, files: Sequence[Path], coq: bool, as_json: bool
) -> int:
    """Certificates of the named claims, or of all; with `files`, these are examined again; with `coq`, proofs."""
    from ..claims.parameters import UsageError

    if coq:
        if every or output is not None or files:
            raise UsageError("--coq takes claims and nothing else; certificates are made in a call of their own")
        outcomes = [proof_of(name) for name in names or ["fixed-point"]]
    elif files:
        if every or output is not None:
            raise UsageError("--recheck takes certificate files and nothing else; name claims in a call of their own")
        outcomes = [rechecked(path) for path in (*files, *map(Path, names))]
    else:
        if names and every:
            raise UsageError("--all stands for every claim; leave it out, or leave the names out")
        outcomes = made(names, output)
    status = combined(outcomes)
    with reader_may_leave():
        if as_json:
            print_json({"certificates": [one.as_plain() for one in outcomes], "exit_status": status})
        else:
            print_outcomes(outcomes)
    return status


def combined(outcomes: Sequence[Outcome]) -> int:
    """1 before 2 before 3 before 0."""
    found = {one.status for one in outcomes}
    return next(status for status in (REFUTED, UNUSABLE, UNDECIDED, CERTIFIED) if status in found)


def made(names: Sequence[str], output: Path | None) -> list[Outcome]:
    """A certificate for each claim, written as soon as it is confirmed."""
    from ..certificates.making import DEFAULT_FOLDER
    from ..claims.registry import all_claims, find

    claims = [find(name) for name in dict.fromkeys(names)] or list(all_claims().values())
    folder = writable(output or DEFAULT_FOLDER)
    return [certificate_for(claim.identifier, claim.derivation(), folder) for claim in claims]


def writable(folder: Path) -> Path:
    """A folder with nothing but certificates in it, made where there is none. Raises UsageError."""
    from ..claims.parameters import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):  # before the work, not after it
            pass
        strangers = sorted(entry.name for entry in folder.iterdir() if entry.suffix != ".json" or not is_ours(entry))
    except OSError as error:
        raise UsageError(f"--output {folder} cannot be written ({error.strerror}); name another folder") from None
    if strangers:
        raise UsageError(f"--output {folder} holds {strangers[0]}, which is no certificate; name an empty folder")
    return folder


def is_ours(path: Path) -> bool:
    """Whether a file is a certificate, damaged ones included: they are written anew."""
    try:
        read(path)
    except NotACertificateError:
        return False
    except RefutedError:
        pass
    return True


def certificate_for(claim: str, derivation: Any, folder: Path) -> Outcome:
    from ..certificates.making import certify as certificate_of
    from ..records.whole_files import write_whole

    path = folder / f"{claim}.json"
    with refusals(claim, path) as refused:
        content = certificate_of(derivation, telling(claim))
        write_whole(path, to_bytes(content).decode())
        return Outcome(claim, CERTIFIED, content, "", path)
    if refused[0].status == REFUTED:
        path.unlink(missing_ok=True)  # what was certified once is not any more
    return refused[0]


def proof_of(name: str) -> Outcome:
    """Coq's answer to the theorems on a claim."""
    from ..certificates.proving import DEFAULT_FOLDER, prove, theorem_maker
    from ..claims.parameters import UsageError
    from ..claims.registry import find

    claim = find(name)
    if theorem_maker(name) is None:
        raise UsageError(f"no theorem for Coq is made for {name}; name fixed-point, or leave --coq out")
    path = DEFAULT_FOLDER / f"{name}.v"
    with refusals(name, path) as refused:
        statements = prove(claim.derivation())
        checks = [{"statement": statement, "engine": "Coq"} for statement in statements]
        content = {"claim": name, "steps": [{"step": "theorem", "checks": checks}], "trusted": [COQ_TRUST]}
        return Outcome(name, CERTIFIED, content, "", path)
    return refused[0]


COQ_TRUST = "Coq's kernel, the axioms of its real numbers, and that the theorems in the file say what is meant."


def rechecked(path: Path) -> Outcome:
    with refusals(str(path), path) as refused:
        return Outcome(str(path), CERTIFIED, recheck(path, telling(path.name)), "", path)
    return refused[0]


@contextmanager
def refusals(name: str, path: Path) -> Iterator[list[Outcome]]:
    """Turns what an engine raises into an outcome."""
    found: list[Outcome] = []
    try:
        yield found
    except StepRefusedError as error:
        found.append(Outcome(name, UNDECIDED if error.undecided else REFUTED, None, str(error), path))
    except UndecidedError as error:
        found.append(Outcome(name, UNDECIDED, None, str(error), path))
    except RefutedError as error:
        found.append(Outcome(name, REFUTED, None, str(error), path))
    except NotACertificateError as error:
        found.append(Outcome(name, UNUSABLE, None, str(error), path))


def telling(name: str) -> Progress:
    """Progress on stderr, a line for each step."""
    told: set[str] = set()

    def tell(step: str, statement: str, engine: str) -> None:
        del statement, engine
        if step not in told:
            told.add(step)
            say(f"{name}: {step}")

    return tell


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """What was confirmed, claim by claim, and what is left to trust."""
    for one in outcomes:
        if one.content is None:
            fail(one.reason, one.status)
            continue
        statements, engines = statements_of(one.content), ", ".join(engines_of(one.content))
        word = "proved" if engines == "Coq" else "certified"
        print(f"{one.content['claim']}: {word} by {engines}")
        if len(outcomes) == 1:
            for line in statements:
                print(paragraph(f"- {line['step']}: {line['statement']}"))
        else:
            print(f"  {len(statements)} statements on {len(one.content['steps'])} steps")
        print(f"  file: {one.path}")
    trusted = dict.fromkeys(line for one in outcomes if one.content for line in one.content["trusted"])
    if trusted:
        print("\nLeft to trust")
        for line in trusted:
            print(paragraph(f"- {line}"))
