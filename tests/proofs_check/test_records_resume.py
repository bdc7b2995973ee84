"""A check that is killed again and again, and resumed each time, ends with what an undisturbed one gives."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import iclcheck
from iclcheck.proofs_check.records.store import Record, RecordStore, read_records_json

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}

# `iclcheck` on one toy claim of eight measurements, each of which leaves a line in a file when it begins.
TOY = """
import sys

if __name__ == "__main__":
    lab, trace, *arguments = sys.argv[1:]
    sys.path.insert(0, lab)
    from dataclasses import replace
    from iclcheck.proofs_check.claims import one_layer
    from iclcheck.proofs_check.command_line import checking, main
    from iclcheck.proofs_check.records.tasks import Task
    from iclcheck.proofs_check.verdicts.verdict import Verdict

    class Squares:
        name, cost_of_alteration = "squares", "judged again"

        def tasks(self, budget):
            return [Task("toy_lab.bench:square", {"x": x, "seconds": 0.1, "trace": trace}) for x in range(8)]

        def judge(self, run, budget):
            total = sum(one["square"] for one in run(self.tasks(budget)))
            return Verdict("squares", "agrees" if total == 140 else "contradicts", total, 140, 0, 0, "", 0, 0, "", {})

    real = one_layer.random_context_length_claim()
    claim = replace(real, identifier="toy", checks=(Squares(),), alterables=(), further_mutants=())
    checking.find = lambda name: claim
    raise SystemExit(main(arguments))
"""

# `iclcheck` on the real claims with a tiny budget, on one thread: sums in another order round otherwise.
TINY = """
import sys

if __name__ == "__main__":
    from iclcheck.proofs_check.claims.claim import Budget
    from iclcheck.proofs_check.command_line import checking, main

    checking.budget_for = lambda *options: Budget(gap=3.0, prompts=2000, replicas=2, training_steps=20)
    raise SystemExit(main(sys.argv[1:]))
"""


class Runs:
    """Starts `check --record DIR --resume` of a script, time and again."""

    def __init__(self, folder: Path, script: str, *before: str) -> None:
        self.folder = folder
        self.script = folder.with_name(f"{folder.name}.py")
        self.script.write_text(script)
        self.before = before

    def start(self, *options: str) -> "subprocess.Popen[str]":
        record = ("--record", str(self.folder), "--resume", "--device", "cpu")
        return subprocess.Popen(
            [sys.executable, str(self.script), *self.before, "check", *options, *record],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=self.folder.parent,
        )

    def recorded(self) -> dict[str, Record]:
        """The records by key; none where there is no store yet."""
        path = self.folder / "records.sqlite"
        if not path.exists():
            return {}
        with RecordStore(path) as store:
            return {record.key: record for record in store.newest_records()}


def kill(run: "subprocess.Popen[str]") -> str:
    """kill -9; returns what it had said on stderr."""
    run.send_signal(signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    return said


def announced(said: str) -> int:
    """How many measurements a run had called measured when it ended."""
    counts = [line.split()[1] for line in said.splitlines() if line.startswith("measured ")]
    return int(counts[-1]) if counts else 0


def begun(trace: Path) -> list[int]:
    """The numbers whose squares were measured, in the order of beginning."""
    return [int(line.split()[0]) for line in trace.read_text().splitlines()] if trace.exists() else []


def is_complete_and_exported(runs: Runs) -> bool:
    """The export holds what the store holds, which is every square, each once, and nothing else is in the folder."""
    found = runs.recorded()
    with RecordStore(runs.folder / "records.sqlite") as store:
        once = store.count() == len(found) == 8
    exported = read_records_json(runs.folder / "records.json")
    squares = sorted(record.values["square"] for record in found.values())
    return once and {one.key: one for one in exported} == found and squares == [x * x for x in range(8)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_check_goes_on_and_measures_nothing_again(lab: Path, tmp_path: Path, workers: str) -> None:
    """Killed when two measurements are recorded and when five are."""
    trace = tmp_path / "trace"
    runs = Runs(tmp_path / "run", TOY, str(lab.parent.parent), str(trace))
    before: dict[str, Record] = {}
    for enough in (2, 5, 8):
        already = len(begun(trace))
        run = runs.start("toy", "--workers", workers)
        while enough < 8 and run.poll() is None and len(runs.recorded()) < enough:
            time.sleep(0.02)
        said = kill(run) if enough < 8 else run.communicate(timeout=60)[1]
        now = runs.recorded()
        assert before.items() <= now.items()  # the very records, not measured anew
        assert announced(said) <= len(now)
        done = {record.parameters["x"] for record in before.values()}
        assert not done & set(begun(trace)[already:])
        assert f"{len(before)} recorded already" in said
        before = now
    assert run.returncode == 0, said
    assert is_complete_and_exported(runs)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kills_at_random_moments_lose_no_finished_measurement(lab: Path, tmp_path: Path, workers: str) -> None:
    """What holds is asserted for any moments; they are drawn over start, measuring, judging and exporting."""
    trace = tmp_path / "trace"
    runs = Runs(tmp_path / "run", TOY, str(lab.parent.parent), str(trace))
    started = time.monotonic()
    assert subprocess.run([sys.executable, "-c", "import sympy"], env=ENVIRONMENT).returncode == 0
    start_up = time.monotonic() - started  # most of what a run of the toy takes before it measures
    moments = random.Random(f"kills, {workers} workers")
    before: dict[str, Record] = {}
    for _ in range(25):
        already = len(begun(trace))
        run = runs.start("toy", "--workers", workers)
        time.sleep(moments.uniform(0.0, 3 * start_up + 1.0))
        said = kill(run)
        now = runs.recorded()
        assert before.items() <= now.items()
        assert announced(said) <= len(now)
        assert not {record.parameters["x"] for record in before.values()} & set(begun(trace)[already:])
        before = now
    last = runs.start("toy", "--workers", workers)
    _, said = last.communicate(timeout=60)
    assert last.returncode == 0, said
    assert is_complete_and_exported(runs)


def values_of(records: dict[str, Record]) -> dict[str, Any]:
    return {key: record.values for key, record in records.items()}


@pytest.mark.slow
def test_real_claims_killed_and_resumed_give_the_numbers_of_an_undisturbed_run(tmp_path: Path) -> None:
    """Bit for bit, exact checks, sampled ones and trainings; and the verdicts with them."""
    undisturbed, killed = Runs(tmp_path / "whole", TINY), Runs(tmp_path / "torn", TINY)
    options = ("uniform-covariates", "random-context-length", "--workers", "2")
    whole = undisturbed.start(*options)
    _, said = whole.communicate(timeout=600)
    assert whole.returncode == 3, said  # so few prompts decide nothing
    for enough in (1, 4):
        run = killed.start(*options)
        while run.poll() is None and len(killed.recorded()) < enough:
            time.sleep(0.02)
        kill(run)
        assert enough <= len(killed.recorded()) < len(undisturbed.recorded())
    end = killed.start(*options)
    _, said = end.communicate(timeout=600)
    assert end.returncode == 3, said
    assert values_of(killed.recorded()) == values_of(undisturbed.recorded())
    documents = [json.loads((runs.folder / "records.json").read_text())["records"] for runs in (undisturbed, killed)]
    first, second = [[{**one, **UNTIMED} for one in document] for document in documents]
    assert first == second


UNTIMED: dict[str, None] = dict.fromkeys(("seconds", "created", "sha256"))
