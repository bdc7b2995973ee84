r"""How to cite a check: one sentence for each claim, with a digest of the records that it rests on.

Main statements
    the sentence is computed from the derivation and the records; what was not measured, or by code that has changed
    since, is said to be so, and gets no verdict
    two people whose sentences have one digest speak of the same records, bit for bit
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .appendix.latex_text import escape
from .appendix.markdown import caught
from .bibliography import BY_KEY, Work, toolkit_bibtex
from .claims.claim import Budget, Claim
from .records.environment import describe_environment
from .records.store import Record, Records
from .status import ClaimStatus, Evidence, Origin, origins, status_of

VERBS = {"agrees": "agree with it", "contradicts": "contradict it", "inconclusive": "do not decide it"}
OWN = "ours"  # the key of a source that is no work of the literature


@dataclass(frozen=True)
class ClaimCitation:
    """What a paper can say about one claim, and the works that state it.

    digest      of the records that the verdict rests on; None without a verdict
    """

    status: ClaimStatus
    sentence: str
    keys: tuple[str, ...]
    digest: str | None

    @property
    def latex(self) -> str:
        """The sentence as LaTeX."""
        return escape(self.sentence)

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        found = self.status.evidence
        return {
            "claim": self.status.identifier,
            "derivation": self.status.derivation,
            "evidence": found.status,
            "sentence": self.sentence,
            "latex": self.latex,
            "sources": list(self.keys),
            "records": len(found.current) if self.digest else 0,
            "sha256": self.digest,
        }


@dataclass(frozen=True)
class Citation:
    """Everything that `iclcheck cite` prints."""

    toolkit: str
    works: tuple[Work, ...]
    claims: tuple[ClaimCitation, ...]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "toolkit": self.toolkit,
            "works": {work.key: work.to_bibtex() for work in self.works},
            "claims": [claim.as_plain() for claim in self.claims],
        }


def citation(claims: Sequence[Claim], budget: Budget, records: Records) -> Citation:
    """The entries and sentences for some claims."""
    from iclcheck import __version__

    cited = tuple(cite_claim(claim, budget, records, __version__) for claim in claims)
    keys = {key for one in cited for key in one.keys}
    works = tuple(work for key, work in BY_KEY.items() if key in keys)
    return Citation(toolkit_bibtex(__version__, describe_environment()["commit"]), works, cited)


def cite_claim(claim: Claim, budget: Budget, records: Records, version: str) -> ClaimCitation:
    status = status_of(claim, budget, records)
    statement = claim.derivation().statement
    used = status.evidence.current if status.evidence.verdict is not None else ()
    found = digest(used) if used else None
    keys = dict.fromkeys(source.key for source in statement.sources if source.key != OWN)
    text = sentence(status, statement.title, checked_steps(claim), version, found)
    return ClaimCitation(status, text, tuple(keys), found)


def checked_steps(claim: Claim) -> int:
    return sum(step.check is not None for step in claim.derivation().steps)


def digest(records: Iterable[Record]) -> str:
    """The sha256 over the records: over their own sha256, sorted, each with a line end.

    >>> digest([])[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(
        "".join(f"{one}\n" for one in sorted(record.sha256() for record in records)).encode()
    ).hexdigest()


def sentence(status: ClaimStatus, title: str, steps: int, version: str, digest: str | None) -> str:
    """One sentence: what was derived, what was measured, with what result, and on which records."""
    what = "printed statement audited as" if status.audit else "claim"
    start = f"The {what} {status.identifier} ({title}), {derivation_words(status, steps)},"
    found = status.evidence
    if digest is None:
        return f"{start} {unmeasured_words(found)} (iclcheck {version})."
    return (
        f"{start} was checked with iclcheck {version} (profile {found.budget.profile}, seed {found.budget.seed}): "
        f"{checks_words(found)}; {altered_words(found)}; the verdict rests on {len(found.current)} records, measured "
        f"on {' and on '.join(map(origin_words, origins(found.current)))}, with sha256 {digest}."
    )


def derivation_words(status: ClaimStatus, steps: int) -> str:
    if status.failed_steps:
        return f"whose derivation fails in {len(status.failed_steps)} of {steps} checked steps"
    engines = status.level.engines
    certified = f" and certified by {' and '.join(engines)}" if engines else ""
    if status.derivation == "stated":
        return "stated by its author without a derivation"
    verb = "refuted" if status.audit else "derived"
    return f"{verb} in steps of which {steps} hold exactly at random rational instances{certified}"


def unmeasured_words(found: Evidence) -> str:
    if found.status == "stale":
        return (
            f"cannot be judged at present: the code of {len(found.stale)} of its {found.needed} recorded measurements "
            "has changed since"
        )
    if found.records:
        return f"was not measured in full: {found.missing} of {found.needed} measurements have no record"
    return "was not measured"


def checks_words(found: Evidence) -> str:
    """What the checks say, each with the gap that it would have caught, and the rates."""
    assert found.verdict is not None
    verdicts = found.verdict.verdicts
    parts = []
    for outcome, verb in VERBS.items():
        some = [f"{one.check}, gap {caught(one)} {one.unit}" for one in verdicts if one.outcome == outcome]
        if some:
            parts.append(f"{len(some)} of {len(verdicts)} checks {verb} ({'; '.join(some)})")
    alarm, miss = max(one.false_alarm for one in verdicts), max(one.miss for one in verdicts)
    return (
        f"{' and '.join(parts)}, where each check raises a false alarm at a rate of at most {alarm:.0e} and misses "
        f"the gap stated with it at a rate of at most {miss:.0e}"
    )


def altered_words(found: Evidence) -> str:
    assert found.verdict is not None
    if found.verdict.audit is not None:
        return f"the claim that is right in its place is {found.verdict.audit.corrected}"
    score = found.verdict.controls
    if score is None:
        return "altered statements were not measured"
    return f"the same checks refused {score.refused} of {len(score.results)} altered statements"


def origin_words(origin: Origin) -> str:
    return f"{origin.device} at {origin.commit_text}"
