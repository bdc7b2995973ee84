"""Status is computed from derivations and records; what is stale or elsewhere is told and decides nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import iclcheck
from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.claims import one_layer
from iclcheck.proofs_check.claims.claim import Budget, Claim, budget_for
from iclcheck.proofs_check.command_line import checking, main, reviewing
from iclcheck.proofs_check.command_line.reviewing import measuring_command
from iclcheck.proofs_check.records import tasks
from iclcheck.proofs_check.records.store import ReadRecords, Record, RecordStore
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.proofs_check.status import ClaimStatus, StatusReport, evidence, origins, status_of, status_report

QUICK = budget_for("quick")
STORE = Path(".iclcheck/records.sqlite")
ToyClaim = Callable[..., Claim]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    """An empty store at the default place of an empty folder."""
    monkeypatch.chdir(tmp_path)
    return RecordStore(STORE)


def measured(claim: Claim, store: RecordStore, budget: Budget = QUICK) -> None:
    check_claims([claim], budget, store, workers=1)


def change_code(lab: Path) -> None:
    lab.write_text(lab.read_text().replace("x * x", "x ** 2"))


def status_in(claim: Claim, store: RecordStore, budget: Budget = QUICK) -> ClaimStatus:
    return status_of(claim, budget, store)


def test_a_claim_without_a_record_of_every_measurement_has_no_evidence(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    none = evidence(claim, QUICK, store)
    assert (none.status, none.missing, none.needed, none.verdict) == ("none", 2, 2, None)
    measured(toy_claim("toy", square_check(1.0, (1,))), store)
    partly = evidence(claim, QUICK, store)
    assert (partly.status, partly.missing, len(partly.current)) == ("none", 1, 1)


@pytest.mark.parametrize(
    "predicted, resolution, outcome, exit_status",
    [(5.0, 1.0, "agrees", 0), (6.0, 1.0, "contradicts", 1), (5.0, 0.1, "inconclusive", 3)],
)
def test_the_evidence_is_the_verdict_of_the_present_rule(
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    predicted: float,
    resolution: float,
    outcome: str,
    exit_status: int,
) -> None:
    claim = toy_claim("toy", square_check(predicted, resolution=resolution))
    measured(claim, store)
    found = status_in(claim, store)
    assert (found.derivation, found.evidence.status, found.outcome) == ("derived", outcome, outcome)
    assert len(found.evidence.current) == 2
    assert StatusReport(QUICK, (found,)).exit_status == exit_status


def test_a_changed_rule_judges_anew_without_a_measurement(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(toy_claim("toy", square_check(5.0)), store)
    calls: list[Any] = []
    monkeypatch.setattr(tasks, "perform", lambda *arguments: calls.append(arguments))
    rules = {5.0: "agrees", 6.0: "contradicts"}
    for predicted, outcome in rules.items():
        claim = toy_claim("toy", square_check(predicted))
        assert status_in(claim, store).evidence.status == outcome
        (verdict,) = check_claims([claim], QUICK, store, workers=1).verdicts
        assert verdict.outcome == outcome
    assert calls == []
    assert store.count() == 2


def test_changed_code_makes_evidence_stale_until_it_is_measured_again(
    lab: Path, toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    lab.write_text("# a comment\n" + lab.read_text().replace("The square of x.", "x times itself."))
    assert status_in(claim, store).evidence.status == "agrees"
    change_code(lab)
    found = status_in(claim, store).evidence
    assert (found.status, len(found.stale), found.current, found.verdict) == ("stale", 2, (), None)
    assert StatusReport(QUICK, (status_in(claim, store),)).exit_status == 3
    measured(claim, store)
    assert status_in(claim, store).evidence.status == "agrees"
    assert store.count() == 4


def test_of_stale_and_missing_measurements_the_missing_ones_decide(
    lab: Path, toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    measured(toy_claim("toy", square_check(1.0, (1,))), store)
    change_code(lab)
    found = evidence(toy_claim("toy", square_check(5.0)), QUICK, store)
    assert (found.status, len(found.stale), found.missing) == ("none", 1, 1)


def test_a_measurement_that_depends_on_others_is_missing_or_stale_as_well(
    lab: Path, toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    claim = toy_claim("toy", square_check(14.0, then=3))
    measured(toy_claim("toy", square_check(5.0)), store)
    missing = evidence(claim, QUICK, store)
    assert (missing.status, missing.missing, len(missing.current)) == ("none", 1, 2)
    measured(claim, store)
    assert len(evidence(claim, QUICK, store).current) == 3
    change_code(lab)
    measured(toy_claim("toy", square_check(5.0)), store)
    stale = evidence(claim, QUICK, store)
    assert (stale.status, len(stale.stale), len(stale.current)) == ("stale", 1, 2)


def test_a_claim_without_checks_has_no_evidence(toy_claim: ToyClaim, store: RecordStore) -> None:
    assert evidence(toy_claim("toy"), QUICK, store).status == "none"


def test_a_step_that_fails_contradicts_whatever_was_measured(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    monkeypatch.setattr(type(claim.derivation()), "failures", lambda self: ["closed form"])
    found = status_in(claim, store)
    assert (found.derivation, found.evidence.status, found.outcome) == ("stated", "agrees", "contradicts")
    assert any("'closed form'" in line for line in reviewing.remarks(StatusReport(QUICK, (found,))))


def gpu_copies(store: RecordStore, claim: Claim, commit: str, path: str | None = None) -> None:
    """The records of a claim, as a GPU would have left them."""
    for check in claim.checks:
        for task in check.tasks(QUICK):
            record = store.newest(task.key)
            assert record is not None
            known = {**record.environment, "device": "NVIDIA H200", "commit": commit}
            key = Task(task.measurement, task.parameters, "cuda").key
            store.put(replace(record, key=key, environment=known, measuring_path=path or record.measuring_path))


@pytest.mark.parametrize("path, status", [(None, "contradicts"), ("0" * 64, "stale")])
def test_records_of_another_device_are_told_and_change_no_exit_status(
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    path: str | None,
    status: str,
) -> None:
    """A contradiction on the GPU, or one measured by other code, beside a CPU that agrees."""
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    gpu_copies(store, claim, "abcdef0123456789", path)
    if path is None:  # the GPU measured something else
        task = Task("toy_lab.bench:square", {"x": 1}, "cuda")
        record = store.newest(task.key)
        assert record is not None
        store.put(replace(record, values={**record.values, "square": 7}))
    (further,) = status_in(claim, store).further
    assert (further.budget.device, further.status) == ("cuda", status)
    use(monkeypatch, claim)
    assert main(["status", "--device", "cpu"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"toy, further evidence (profile quick, device cuda): {status}" in out
    assert "NVIDIA H200, commit abcdef012345" in out


def test_without_a_gpu_stale_gpu_evidence_alone_is_no_failure(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --device auto: torch is asked, since there are GPU records; there is no GPU here, so the CPU is meant."""
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    gpu_copies(store, claim, "abc", "0" * 64)
    use(monkeypatch, claim)
    asked: list[str] = []

    def without_gpu(device: str) -> str:
        asked.append(device)
        return "cpu"

    monkeypatch.setattr(checking, "usable_device", without_gpu)
    assert main(["status"]) == 0
    assert "auto" in asked


def test_records_of_another_profile_are_told(toy_claim: ToyClaim, square_check: Any, store: RecordStore) -> None:
    """The quick measurements belong to the full profile as well here; alone they are no further evidence."""
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    assert status_in(claim, store).further == ()
    measured(claim, store, replace(QUICK, profile="full"))
    (further,) = status_in(claim, store).further
    assert (further.budget.profile, further.budget.device, further.status) == ("full", "cpu", "agrees")


def test_origins_sort_records_by_device_and_commit() -> None:
    def record(device: str, commit: str | None, changed: bool, day: int) -> Record:
        known = {"device": device, "commit": commit, "uncommitted_changes": changed}
        return Record(f"{device}{day}", "m:f", {}, {}, "p", known, 0.0, f"2026-01-0{day}T00:00:00+00:00")

    some = [record("cpu", "b" * 40, False, 3), record("cuda", None, False, 1), record("cpu", "b" * 40, False, 2)]
    assert list(map(str, origins([*some, record("cpu", "b" * 40, True, 1)]))) == [
        "cpu, commit bbbbbbbbbbbb, 2026-01-02 to 2026-01-03",
        "cpu, commit bbbbbbbbbbbb with uncommitted changes, 2026-01-01",
        "cuda, an installed copy without commit, 2026-01-01",
    ]


# The verb


def use(monkeypatch: pytest.MonkeyPatch, *claims: Claim) -> None:
    """Lets the verb know these claims only."""
    known = {claim.identifier: claim for claim in claims}
    monkeypatch.setattr(reviewing, "all_claims", lambda: known)
    monkeypatch.setattr(reviewing, "find", known.__getitem__)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["status", *arguments, "--json"])
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["exit_status"] == status
    return status, found


@pytest.mark.slow
def test_without_a_store_there_is_no_evidence_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, found = told(capsys)
    assert status == 3
    assert found["records"] is None
    assert {claim["evidence"] for claim in found["claims"]} == {"none"}
    assert [claim["claim"] for claim in found["claims"]] == list(iclcheck.claims())
    assert main(["status"]) == 3
    out = capsys.readouterr().out
    assert "no store of records yet" in out
    assert out.splitlines()[-1].strip() == "iclcheck check"
    assert list(tmp_path.iterdir()) == []


def test_of_several_claims_a_contradiction_comes_before_a_stale_one(
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = toy_claim("good", square_check(5.0)), toy_claim("bad", square_check(6.0))
    unmeasured = toy_claim("open", square_check(5.0, (9,)))
    check_claims([good, bad], QUICK, store, workers=1)
    use(monkeypatch, good, bad, unmeasured)
    for names, expected in {("good",): 0, ("good", "open"): 3, ("open", "bad", "good"): 1, (): 1}.items():
        assert told(capsys, *names)[0] == expected


def test_the_table_names_stale_measurements_their_commit_and_the_command_that_renews_them(
    lab: Path,
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    monkeypatch.setattr(tasks, "describe_environment", lambda: {**STAMP, "commit": "0123456789abcdef"})
    measured(claim, store)
    change_code(lab)
    use(monkeypatch, claim, toy_claim("other"))
    assert main(["status"]) == 3
    out = capsys.readouterr().out
    text = " ".join(out.split())
    assert "toy: stale, the code of toy_lab.bench:square has changed: 2 records (cpu, commit 0123456789ab" in text
    assert out.splitlines()[-1] == "  iclcheck check"
    assert main(["status", "toy"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "  iclcheck check toy"
    _, found = told(capsys, "toy")
    (entry,) = found["claims"]
    assert (entry["evidence"], entry["stale"], entry["current"]) == ("stale", 2, 0)
    assert {one["commit"] for one in entry["stale_records"]} == {"0123456789abcdef"}


STAMP = {"python": "3", "torch": None, "numpy": "1", "platform": "", "uncommitted_changes": False}


def test_the_command_that_measures_is_the_one_that_wrote_the_store() -> None:
    seeded = replace(QUICK, profile="full", device="cuda", seed=3)
    for budget, path, expected in [
        (QUICK, None, "iclcheck check a b"),
        (QUICK, STORE, "iclcheck check a b"),
        (seeded, STORE, "iclcheck check a b --profile full --device cuda --seed 3"),
        (QUICK, Path("my run/records.sqlite"), "iclcheck check a b --record 'my run' --resume"),
        (QUICK, Path("run/records.json"), "iclcheck check a b --record DIR"),
    ]:
        assert measuring_command(["a", "b"], budget, path) == expected


def test_a_store_its_folder_and_its_export_give_one_status(
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    store.export_json(STORE.with_name("records.json"))
    use(monkeypatch, claim)
    found = [told(capsys, "--records", str(place))[1] for place in (STORE, STORE.parent, STORE.parent / "records.json")]
    assert [one.pop("records") for one in found] == [str(STORE), str(STORE), str(STORE.parent / "records.json")]
    assert found[0] == found[1] == found[2]
    assert found[0]["claims"][0]["evidence"] == "agrees"


def test_status_writes_nothing(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    claim = toy_claim("toy", square_check(5.0))
    measured(claim, store)
    store.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    use(monkeypatch, claim)
    assert main(["status"]) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


TINY = Budget(gap=3.0, prompts=100, replicas=1, training_steps=1)


def test_the_score_of_altered_statements_is_that_of_the_check(tmp_path: Path) -> None:
    """On a real claim; of a tiny budget, so that only exact checks agree. Reading it again loads no torch."""
    claim = one_layer.uniform_covariates_claim()
    with RecordStore(tmp_path / "records.sqlite") as opened:
        (checked,) = check_claims([claim], TINY, opened, workers=1).verdicts
        found = status_report([claim], TINY, opened).claims[0].evidence.verdict
    assert checked.controls is not None
    assert found is not None
    assert found.controls is not None
    assert found.controls.as_plain() == checked.controls.as_plain()
    assert checked.controls.refused > 20
    program = f"""
import sys
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.command_line import checking, main
checking.budget_for = lambda *options: {TINY!r}
print(main(["status", "uniform-covariates", "--records", sys.argv[1]]), "torch" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert answer.stdout.splitlines()[-1] == "3 False", answer.stderr
    assert f"{checked.controls.refused} of {len(checked.controls.results)} refused" in answer.stdout


def test_no_records_in_memory_are_no_evidence(toy_claim: ToyClaim, square_check: Any) -> None:
    assert evidence(toy_claim("toy", square_check(5.0)), QUICK, ReadRecords()).status == "none"
