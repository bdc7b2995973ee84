"""Exit status, streams and interruption of the command."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import iclcheck
from iclcheck.proofs_check.claims import one_layer, one_layer_predictions, one_layer_settings
from iclcheck.proofs_check.claims.claim import Budget, Check, Claim
from iclcheck.proofs_check.claims.stationarity import EnumeratedStationarity
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.command_line.exit_status import guarded

TINY = Budget(gap=3.0, gap_of_variants=3.0, prompts=100, replicas=1, training_steps=1)
COMMAND = (sys.executable, "-m", "iclcheck")
# A relative PYTHONPATH would not lead to this package from another working directory.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # as users run it: what is printed last is written at the very end
CHECK = ("check", "--device", "cpu", "--workers", "1")
Json = dict[str, Any]


def strict(text: str) -> Json:
    """One JSON object; NaN and infinities, which json reads by default, are refused."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def enumerated(factor: float) -> Check:
    """The exact check of the fixed point times a factor; no sampling, so its verdict is certain."""
    return EnumeratedStationarity(
        lambda setting: factor * one_layer_predictions.predicted_fixed_point(setting),
        one_layer_predictions.gaussian_directions,
        lambda seed: one_layer_settings.enumerated_settings(seed)[:1],
    )


SAMPLED = one_layer.fixed_point_claim().checks[0]  # a hundred prompts decide nothing
TRUE, FALSE = enumerated(1.0), enumerated(1.01)

Claims = Callable[..., None]


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Claims:
    """Replaces all claims by some with given checks, and the budget by a tiny one, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    module = "iclcheck.proofs_check.command_line.checking"

    def replaced(**checks: tuple[Check, ...]) -> None:
        plain = replace(one_layer.fixed_point_claim(), alterables=(), further_mutants=())
        known: dict[str, Claim] = {name: replace(plain, identifier=name, checks=some) for name, some in checks.items()}
        monkeypatch.setattr(f"{module}.all_claims", lambda: known)
        monkeypatch.setattr(f"{module}.find", known.__getitem__)
        monkeypatch.setattr(f"{module}.budget_for", lambda profile, device, seed: replace(TINY, seed=seed))

    return replaced


@pytest.mark.parametrize(
    "checks, outcome, status",
    [
        ((TRUE,), "agrees", 0),
        ((FALSE,), "contradicts", 1),
        ((SAMPLED,), "inconclusive", 3),
        ((TRUE, SAMPLED), "inconclusive", 3),
        ((SAMPLED, FALSE, TRUE), "contradicts", 1),
    ],
)
def test_the_exit_status_of_a_claim_is_its_verdict(
    checks: tuple[Check, ...],
    outcome: str,
    status: int,
    claims: Claims,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claims(one=checks)
    assert main([*CHECK, "one", "--json"]) == status
    found = strict(capsys.readouterr().out)
    assert [(claim["claim"], claim["outcome"]) for claim in found["claims"]] == [("one", outcome)]
    assert found["exit_status"] == status


def test_of_several_claims_a_contradiction_comes_before_an_undecided_one(
    claims: Claims, capsys: pytest.CaptureFixture[str]
) -> None:
    claims(good=(TRUE,), bad=(FALSE,), open=(SAMPLED,))
    expected = {("good",): 0, ("good", "open"): 3, ("open", "bad", "good"): 1, ("good", "good"): 0, (): 1}
    assert {names: main([*CHECK, *names]) for names in expected} == expected


def test_progress_goes_to_stderr_and_verdicts_to_stdout(claims: Claims, capsys: pytest.CaptureFixture[str]) -> None:
    claims(good=(TRUE,), bad=(FALSE,))
    main([*CHECK])
    said = capsys.readouterr()
    assert "measured" in said.err
    assert "2 claims, 2 measurements, 0 recorded already" in said.err
    assert "agrees" not in said.err
    assert all(word in said.out for word in ("good", "agrees", "bad", "contradicts", "records.sqlite"))


def test_measurements_are_recorded_and_used_again(claims: Claims, capsys: pytest.CaptureFixture[str]) -> None:
    claims(good=(TRUE,))
    main([*CHECK, "--json"])
    first = capsys.readouterr()
    main([*CHECK, "--json"])
    again = capsys.readouterr()
    assert "1 claim, 1 measurement, 1 recorded already" in again.err
    assert again.out == first.out
    assert Path(".iclcheck/records.sqlite").exists()


def test_a_record_folder_holds_the_records_twice_and_is_never_mixed_up(
    claims: Claims, capsys: pytest.CaptureFixture[str]
) -> None:
    claims(good=(TRUE,))
    assert main([*CHECK, "--record", "run"]) == 0
    assert sorted(path.name for path in Path("run").iterdir()) == ["records.json", "records.sqlite"]
    assert len(strict(Path("run/records.json").read_text())["records"]) == 1
    assert main([*CHECK, "--record", "run"]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*CHECK, "--record", "run", "--resume"]) == 0
    assert "1 recorded already" in capsys.readouterr().err
    assert main([*CHECK, "--record", "new/deep", "--resume"]) == 0
    assert not Path(".iclcheck").exists()


def test_the_seed_changes_what_is_measured(claims: Claims, capsys: pytest.CaptureFixture[str]) -> None:
    claims(good=(TRUE,))
    for seed in ("0", "1", "-5"):
        assert main([*CHECK, "--seed", seed]) == 0
        assert "0 recorded already" in capsys.readouterr().err


def test_an_internal_error_is_not_a_verdict(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fails() -> int:
        return 1 // 0

    assert guarded(fails) == 70
    said = capsys.readouterr().err
    assert said.startswith("iclcheck: internal error (ZeroDivisionError")
    assert "Traceback" not in said
    monkeypatch.setenv("ICLCHECK_TRACEBACK", "1")
    assert guarded(fails) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_foreign_value_error_is_no_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the refusals that the package words itself are the user's to mend."""
    assert guarded(lambda: int("x")) == 70
    assert "internal error" in capsys.readouterr().err


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=ENVIRONMENT, **options)


def test_a_process_exits_as_the_function_returns(tmp_path: Path) -> None:
    good = run("list", "--json", cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert strict(good.stdout)["claims"]
    bad = run("show", "fixedpoint", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "did you mean 'fixed-point'?" in bad.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("show", "fixed-point")])
def test_a_reader_that_goes_away_changes_no_exit_status(arguments: tuple[str, ...]) -> None:
    """`iclcheck ... | true`: the pipe is closed before anything is written, with little and with much."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        process = subprocess.run(
            [*COMMAND, *arguments], stdout=closed, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="a descriptor is closed before the command starts")
def test_a_closed_stderr_does_not_spill_onto_stdout() -> None:
    """`iclcheck zzz 2>&-`: Python then has no stderr, and what is printed to none goes to stdout."""
    process = subprocess.run(
        ["sh", "-c", 'exec "$0" -m iclcheck zzz 2>&-', sys.executable], stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    assert (process.returncode, process.stdout) == (2, b"")


JUDGES = """
from iclcheck.proofs_check.claims import one_layer, one_layer_predictions, one_layer_settings
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.command_line import checking, main

checking.find = lambda name: one_layer.fixed_point_claim()
checking.budget_for = lambda *options: Budget(gap=3.0, gap_of_variants=3.0, prompts=100, replicas=1, training_steps=1)
raise SystemExit(main(["check", "fixed-point", "--device", "cpu", "--workers", "1"]))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_verdict_survives_readers_that_go_away(unbuffered: str, tmp_path: Path) -> None:
    """`iclcheck check 2>&1 | true`: undecided, whoever listens; neither 0 (agrees) nor 1 (contradicted).

    Unbuffered, the first word printed meets the closed pipe; buffered, only the end of the process does.
    """
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        process = subprocess.run(
            [sys.executable, "-c", JUDGES], stdout=closed, stderr=closed, cwd=tmp_path, env=environment
        )
    assert process.returncode == 3
    assert recorded(tmp_path / ".iclcheck/records.sqlite") > 0


def recorded(store: Path) -> int:
    """How many records are in a store."""
    if not store.exists():
        return 0
    with closing(sqlite3.connect(store)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
        except sqlite3.OperationalError:  # not made yet, or locked
            return 0
    return int(count)


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal to the process group")
def test_ctrl_c_exits_with_130_and_keeps_what_was_measured(tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it, once the first measurement is in the store."""
    store = tmp_path / ".iclcheck/records.sqlite"
    process = subprocess.Popen(
        [*COMMAND, "check", "population-loss", "--device", "cpu", "--workers", "2", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while recorded(store) == 0 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1].startswith("iclcheck: interrupted; finished measurements are kept")
    assert "Traceback" not in err
    assert recorded(store) > 0


def test_records_of_another_torch_are_named() -> None:
    from iclcheck.proofs_check.command_line.checking import other_versions
    from iclcheck.proofs_check.records.environment import describe_environment

    present = describe_environment()
    assert other_versions([present]) == []
    (line,) = other_versions([present, {**present, "torch": "2.11.0"}])
    assert "torch 2.11.0" in line
    assert str(present["torch"]) in line
