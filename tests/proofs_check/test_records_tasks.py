"""Tasks run once, are stored one by one, and are never lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iclcheck.proofs_check.records import tasks as tasks_module
from iclcheck.proofs_check.records.measurement import Failure, Outcome, perform
from iclcheck.proofs_check.records.store import Record, RecordStore
from iclcheck.proofs_check.records.tasks import Task, TaskFailedError, is_current, run_tasks, tasks_to_run


def square(x: int, **more: Any) -> Task:
    return Task("toy_lab.bench:square", {"x": x, **more})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite"


@pytest.mark.parametrize("workers", [1, 2])
def test_each_task_gives_its_record(lab: Path, path: Path, workers: int) -> None:
    tasks = [square(x) for x in (1, 2, 3, 2)]
    with RecordStore(path) as store:
        records = run_tasks(tasks, store, workers=workers)
        assert [records[task.key].values["square"] for task in tasks] == [1, 4, 9, 4]
        assert store.count() == 3
    assert all(is_current(record) for record in records.values())
    assert records[tasks[0].key].environment["device"] == "cpu"


def test_one_worker_measures_in_this_process_and_two_do_not(lab: Path, path: Path) -> None:
    with RecordStore(path) as store:
        here = run_tasks([square(1)], store, workers=1)
        there = run_tasks([square(2), square(3)], store, workers=2)
    assert {record.values["worker"] for record in here.values()} == {os.getpid()}
    assert os.getpid() not in {record.values["worker"] for record in there.values()}
    assert {record.values["threads"] for record in there.values()} == {"1"}
    assert not any(record.values["hears_ctrl_c"] for record in there.values())


def test_a_recorded_task_is_not_run_again_until_its_code_changes(lab: Path, path: Path) -> None:
    tasks = [square(1), square(2)]
    with RecordStore(path) as store:
        first = run_tasks(tasks, store)
        assert run_tasks(tasks, store) == first
        lab.write_text("# a comment\n" + lab.read_text())
        assert tasks_to_run(tasks, store) == []
        lab.write_text(lab.read_text().replace("x * x", "x * x * x"))
        assert tasks_to_run(tasks, store) == tasks
        assert not is_current(first[tasks[0].key])
        second = run_tasks(tasks, store)
        assert store.count() == 4
    assert all(is_current(record) for record in second.values())


def test_the_longest_expected_task_is_run_first(lab: Path, path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tasks = [Task("toy_lab.bench:square", {"x": x, "trace": str(trace)}, cost=x) for x in (2, 5, 1)]
    with RecordStore(path) as store:
        run_tasks(tasks, store)
    assert [line.split()[0] for line in trace.read_text().splitlines()] == ["5", "2", "1"]


def test_progress_counts_stored_tasks_as_done_and_estimates_the_rest(
    lab: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, float | None]] = []
    tasks = [square(1), *(Task("toy_lab.bench:square", {"x": x}, cost=cost) for x, cost in ((2, 1.0), (3, 4.0)))]
    with RecordStore(path) as store:
        run_tasks([square(1)], store)
        # a watch on which each record takes 6 seconds, however loaded the machine is
        watch = SimpleNamespace(perf_counter=lambda: 6.0 * store.count())
        monkeypatch.setattr("iclcheck.proofs_check.records.tasks.time", watch)
        run_tasks(tasks, store, progress=lambda *call: calls.append(call))
        # the task of cost 4 is first and took 6 seconds, so that of cost 1 takes 1.5
        assert calls == [(1, 3, None), (2, 3, 1.5), (3, 3, 0.0)]
        calls.clear()
        run_tasks(tasks, store, progress=lambda *call: calls.append(call))
        assert calls == [(3, 3, 0.0)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_task_is_named_after_the_others_are_stored(lab: Path, path: Path, workers: int) -> None:
    tasks = [Task("toy_lab.bench:refuse_negative", {"x": x}) for x in (-1, 1, 2)]
    with RecordStore(path) as store:
        with pytest.raises(TaskFailedError, match=r'refuse_negative with \{"x":-1\} .*ValueError: -1 is') as caught:
            run_tasks(tasks, store, workers=workers)
        assert "Traceback" in caught.value.__notes__[0]
        assert [store.newest(task.key) is not None for task in tasks] == [False, True, True]


def test_a_measurement_that_is_not_finite_fails_by_name(lab: Path, path: Path) -> None:
    with RecordStore(path) as store:
        with pytest.raises(TaskFailedError, match=r"bench:not_finite\.loss must be finite"):
            run_tasks([Task("toy_lab.bench:not_finite", {})], store)
        assert store.count() == 0


def test_a_worker_that_is_killed_is_reported(lab: Path, path: Path) -> None:
    with RecordStore(path) as store:
        with pytest.raises(TaskFailedError, match="a worker process was killed"):
            run_tasks([Task("toy_lab.bench:die", {}), square(1)], store, workers=2)
        run_tasks([square(1)], store, workers=2)


def test_the_key_is_made_from_the_content_alone() -> None:
    task = Task("m:f", {"a": 1, "b": [0.5]}, device="cuda:0", cost=3.0)
    assert task.key == Task("m:f", {"b": (0.5,), "a": 1}, device="cuda:1").key
    others = [
        Task("m:g", {"a": 1, "b": [0.5]}, device="cuda"),
        Task("m:f", {"a": 2, "b": [0.5]}, device="cuda"),
        Task("m:f", {"a": 1, "b": [0.5]}, device="cpu"),
    ]
    assert len({task.key, *(other.key for other in others)}) == 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("module.function", {}), "put a colon"),
        (("m:f", {"x": float("nan")}), r"parameters\.x must be finite"),
        (("m:f", {}, "auto"), "got 'auto'; decide what \"auto\" means"),
        (("m:f", {}, "cpu", 0.0), "must be positive"),
    ],
)
def test_a_task_that_could_not_run_is_refused_when_it_is_made(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(*arguments)


def test_fewer_than_one_worker_is_refused(path: Path) -> None:
    with RecordStore(path) as store, pytest.raises(ValueError, match="need at least 1 worker, got 0"):
        run_tasks([], store, workers=0)


def test_ctrl_c_while_a_result_is_written_does_not_lose_it(
    lab: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordStore(path) as store:
        put, calls = store.put, 0

        def interrupted(record: Record) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise KeyboardInterrupt
            put(record)

        monkeypatch.setattr(store, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_tasks([square(1), square(2)], store)
        assert [record.values["square"] for record in store.newest_records()] == [1]


def interrupt_at(instruction: int, done: list[int]) -> Any:
    """A trace function that sends Ctrl-C before the given instruction of the code that stores a result."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        if Path(frame.f_code.co_filename).name not in ("tasks.py", "store.py", "contextlib.py"):
            return None
        frame.f_trace_opcodes = True
        if event in ("call", "opcode"):
            done.append(frame.f_lineno)
            if len(done) == instruction:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


def test_ctrl_c_at_any_instruction_while_a_result_is_stored_neither_loses_nor_doubles_it(
    lab: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real signals, one at each instruction in turn, from the moment when the result is handed over."""
    former, done, instruction = sys.gettrace(), [0], 0

    def traced(*arguments: Any) -> Outcome | Failure:
        outcome = perform(*arguments)
        sys.settrace(interrupt_at(instruction, done))
        return outcome

    monkeypatch.setattr(tasks_module, "perform", traced)
    monkeypatch.setattr(tasks_module, "describe_environment", dict)  # asks git each time
    with RecordStore(path) as store:
        store._connection.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        while len(done) >= instruction:
            instruction += 1
            done.clear()
            task = square(instruction)
            try:
                run_tasks([task], store)
                interrupted = False
            except KeyboardInterrupt:
                interrupted = True
            finally:
                sys.settrace(former)
            assert interrupted == (len(done) >= instruction)
            assert store.newest(task.key) is not None, done[-1]
            assert store.count() == instruction, done[-1]
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert instruction > 100


def test_ctrl_c_does_not_lose_results_that_are_waiting_to_be_stored(lab: Path, path: Path) -> None:
    tasks = [square(1), square(2), square(3)]

    def interrupt_once(done: int, total: int, seconds_left: float | None) -> None:
        if done == 1:
            time.sleep(1.0)  # meanwhile the other tasks end
            raise KeyboardInterrupt

    with RecordStore(path) as store:
        with pytest.raises(KeyboardInterrupt):
            run_tasks(tasks, store, workers=2, progress=interrupt_once)
        assert tasks_to_run(tasks, store) == []


RUN = """
import sys
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.proofs_check.records.tasks import Task, run_tasks
if __name__ == "__main__":
    store, trace, workers, lab = sys.argv[1:]
    sys.path.insert(0, lab)
    tasks = [
        Task("toy_lab.bench:square", {"x": x, "seconds": 0.0 if x < 4 else 30.0, "trace": trace}, cost=9 - x)
        for x in range(8)
    ]
    show = lambda *call: print(*call, flush=True)
    run_tasks(tasks, RecordStore(store), workers=int(workers), progress=show)
"""


def start_run(path: Path, lab: Path, trace: Path, workers: int) -> "subprocess.Popen[str]":
    """A run in a process of its own, at the moment when its four quick tasks are stored."""
    script = path.with_name("run.py")
    script.write_text(RUN)
    run = subprocess.Popen(
        [sys.executable, str(script), str(path), str(trace), str(workers), str(lab.parent.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that Ctrl-C can be sent to the whole group, as a terminal does
    )
    assert run.stdout is not None
    while not run.stdout.readline().startswith("4 "):
        assert run.poll() is None
    _wait_until(lambda: len(trace.read_text().splitlines()) >= 4 + workers)
    return run


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_loses_no_finished_task_and_leaves_no_process(
    lab: Path, path: Path, tmp_path: Path, workers: int, how: signal.Signals
) -> None:
    trace = tmp_path / "trace"
    run = start_run(path, lab, trace, workers)
    began = time.monotonic()
    if how == signal.SIGINT:
        os.killpg(run.pid, how)
    else:
        run.send_signal(how)
    _, errors = run.communicate(timeout=10)
    assert run.returncode == -how, errors
    assert errors.count("Traceback") == (how == signal.SIGINT), errors  # the workers say nothing
    assert time.monotonic() - began < 5
    measured_in = {int(line.split()[1]) for line in trace.read_text().splitlines()}
    _wait_until(lambda: not any(map(_is_alive, measured_in)))
    with RecordStore(path) as store:
        assert store.count() == 4
        assert {record.parameters["x"] for record in store.newest_records()} == {0, 1, 2, 3}
