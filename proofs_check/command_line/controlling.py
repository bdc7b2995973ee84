"""The verb controls: altered statements, each with the check that refused it, or with the gap below which it hid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..claims.claim import Budget, Claim, Run, judge
from ..claims.registry import all_claims, find
from ..controls import COSTS, REASONS, ControlResult, ControlScore, controls, refusals_by_check
from .checking import RunOptions, opened_store
from .exit_status import reader_may_leave, say
from .printing import print_json


def run_controls(names: Sequence[str], options: RunOptions, every: bool, as_json: bool) -> int:
    """Put altered statements to the checks that agree with the original; 1 if one survives."""
    from ..checking import RecordedRun, default_workers

    claims = [asked_of(find(name), every) for name in dict.fromkeys(names)]
    claims = claims or [asked_of(claim, every) for claim in all_claims().values()]
    budget, path = options.budget(), options.store_path()
    with opened_store(path) as store:
        run = RecordedRun(store)
        tasks = [task for claim in claims for check in claim.checks for task in check.tasks(budget)]
        run.measure(tasks, options.workers or default_workers(budget))
        scores = [score_of(claim, run, budget, every) for claim in claims]
        if options.record is not None:
            store.export_json(options.record / "records.json")
    with reader_may_leave():
        if as_json:
            print_json({"claims": {score.claim: plain(score) for score in scores}})
        else:
            for score in scores:
                print("\n".join(lines(score)))
    return 1 if any(score.survivors for score in scores) else 0


def asked_of(claim: Claim, every: bool) -> Claim:
    """The claim with the checks that altered statements are put to."""
    costs = COSTS if every else COSTS[:2]
    return replace(claim, checks=tuple(check for check in claim.checks if check.cost_of_alteration in costs))


def score_of(claim: Claim, run: Run, budget: Budget, every: bool) -> ControlScore:
    """The score of one claim, with a line of progress for long runs."""
    verdict = judge(claim, run, budget)

    def progress(done: int, of: int) -> None:
        if every and (done % 10 == 0 or done == of):
            say(f"{claim.identifier}: {done} of {of} altered statements")

    return controls(claim, verdict, run, budget, every=every, progress=progress)


def plain(score: ControlScore) -> dict[str, object]:
    """Strict JSON data: the score, and every altered statement."""
    others = [{"kind": one.kind, "alteration": one.alteration, "statement": one.description} for one in score.others]
    return {
        **score.as_plain(),
        "gaps": score.gaps,
        "statements": [result.as_plain() for result in score.results],
        "not counted": others,
    }


def lines(score: ControlScore) -> list[str]:
    """A heading, one line for each altered statement, and how many each check refused."""
    audit = find(score.claim).audit if score.claim in all_claims() else None
    if audit is not None:
        return [f"{score.claim}: no statement of its own is altered; see {audit.corrected}", ""]
    found = [
        f"{score.claim}: {score}",
        *(f"  {formula}" for formula in score.formulas),
        *(f"  {one_line(result, score)}" for result in score.results),
    ]
    found += [f"  not counted, {REASONS[one.kind]}: {one.description}" for one in score.others]
    for name, (refused, of) in refusals_by_check(score.results).items():
        gap = score.gaps[name]
        found.append(f"  {name} (would catch {gap:.2g}): refused {refused} of the {of} that it was asked about")
    return [*found, ""]


def one_line(result: ControlResult, score: ControlScore) -> str:
    """What was altered, by how much that moves the prediction, and who refused it."""
    mutant = result.mutant
    by = f"differs by {mutant.difference:.2g}" if mutant.difference is not None else "differs"
    if result.refused_by:
        return f"{mutant.alteration}: {mutant.description}; {by}; refused by {', '.join(result.refused_by)}"
    gaps = ", ".join(f"{name} would catch {score.gaps[name]:.2g}" for name in result.outcomes)
    return f"SURVIVED {mutant.alteration}: {mutant.description}; {by}; {gaps or 'no check agrees with the original'}"
