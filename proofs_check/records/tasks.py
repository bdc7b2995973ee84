r"""Units of work as data: a run is a list of tasks, each with a key made from its content.

Main statements
    a task whose newest record was measured by the present code is not run again
    the parent process is the only writer, and stores each result as it arrives
    after Ctrl-C, kill or a failing task every finished task is in the store,
    and the same call goes on from there; a task is finished for Ctrl-C when its
    result has reached the parent process, for kill when the store has it
"""

import functools
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .environment import describe_environment
from .measurement import Failure, Outcome, perform, prepare_worker
from .measuring_path import measuring_path
from .plain_data import canonical_json, content_hash, plain_copy
from .store import Record, RecordStore

Progress = Callable[[int, int, float | None], None]
_KINDS_OF_DEVICE = ("cpu", "cuda")
_LONGEST_SHOWN = 200


class TaskFailedError(RuntimeError):
    """A measurement failed; all tasks that did not fail are in the store.

    measurement, cause    which, and why in one line
    """

    def __init__(self, sentence: str, measurement: str = "", cause: str = "") -> None:
        super().__init__(sentence)
        self.measurement, self.cause = measurement, cause


@dataclass(frozen=True)
class Task:
    """One measurement to be made.

    measurement  "package.module:function"; called as function(**parameters, device=device)
    parameters   plain data
    device       "cpu", "cuda" or "cuda:1"
    cost         expected seconds on one core, roughly; orders the tasks and estimates the time, not part of the key

    Raises ValueError or TypeError for parameters that are not plain data, and for other devices.
    """

    measurement: str
    parameters: Mapping[str, Any]
    device: str = "cpu"
    cost: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", plain_copy(self.parameters, "parameters"))
        module, _, function = self.measurement.partition(":")
        if not module or not function.isidentifier():
            raise ValueError(
                f'a measurement must be named "package.module:function", got {self.measurement!r}; '
                "put a colon between the module and the function"
            )
        if self.kind_of_device not in _KINDS_OF_DEVICE:
            raise ValueError(
                f"the device of a task must be one of {_KINDS_OF_DEVICE}, got {self.device!r}; "
                'decide what "auto" means before making the task'
            )
        if not self.cost > 0:
            raise ValueError(f"the cost of a task must be positive, got {self.cost}; leave it out if unknown")

    @property
    def kind_of_device(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]

    @property
    def key(self) -> str:
        """The sha256 of measurement, parameters and kind of device: equal tasks have equal keys."""
        return content_hash([self.measurement, self.parameters, self.kind_of_device])


def is_current(record: Record) -> bool:
    """Whether the code that the record was measured with is still the present code.

    Raises MeasurementNotFoundError if that code is gone.
    """
    return record.measuring_path == measuring_path(record.measurement)


def tasks_to_run(tasks: Iterable[Task], store: RecordStore) -> list[Task]:
    """The tasks, each once, that have no current record in the store; longest expected first."""
    present_path = functools.cache(measuring_path)
    waiting = {task.key: task for task in tasks if not _is_recorded(task, store, present_path)}
    return sorted(waiting.values(), key=lambda task: -task.cost)


def run_tasks(
    tasks: Sequence[Task], store: RecordStore, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, Record]:
    """The current record of every task, by key; what the store lacks is measured and stored.

    workers   1 measures in this process, more start that many processes of one thread each
    progress  called with (tasks done, tasks in all, estimated seconds left or None) at the start
              and after each task; tasks that need no run count as done

    Raises TaskFailedError when a measurement failed, after all others have ended and are stored.
    """
    if workers < 1:
        raise ValueError(f"need at least 1 worker, got {workers}; pass workers=1 to measure in this process")
    keys = list(dict.fromkeys(task.key for task in tasks))
    waiting = tasks_to_run(tasks, store)
    ledger = _Ledger(store, waiting, _Clock(waiting, len(keys), progress))
    if workers == 1:
        _run_here(waiting, ledger)
    else:
        _run_in_processes(waiting, ledger, workers)
    ledger.raise_if_any_failed()
    return {key: _stored(store, key) for key in keys}


def measured_unrecorded(tasks: Sequence[Task]) -> list[Mapping[str, Any]]:
    """The values of tasks, measured in this process and kept nowhere. Raises TaskFailedError."""
    return [_values_or_failure(task, perform(task.measurement, task.parameters, task.device)) for task in tasks]


def _values_or_failure(task: Task, outcome: Outcome | Failure) -> Mapping[str, Any]:
    if isinstance(outcome, Failure):
        error = TaskFailedError(
            f"the task {task.measurement} failed: {outcome.cause}; mend the cause and run again",
            task.measurement, outcome.cause,
        )  # fmt: skip
        error.add_note(outcome.trace)
        raise error
    return outcome.values


def _is_recorded(task: Task, store: RecordStore, present_path: Callable[[str], str]) -> bool:
    record = store.newest(task.key)
    return record is not None and record.measuring_path == present_path(task.measurement)


def _stored(store: RecordStore, key: str) -> Record:
    record = store.newest(key)
    assert record is not None  # it was there before the run, or the run has put it there
    return record


def _run_here(waiting: Sequence[Task], ledger: "_Ledger") -> None:
    for task in waiting:
        outcome = perform(task.measurement, task.parameters, task.device)
        try:
            ledger.receive(task, outcome)
        except KeyboardInterrupt:  # it may have come before the ledger could hold it off
            ledger.receive(task, outcome)
            raise


def _run_in_processes(waiting: Sequence[Task], ledger: "_Ledger", workers: int) -> None:
    if not waiting:
        return
    with _pool(min(workers, len(waiting))) as pool:
        futures = {pool.submit(perform, task.measurement, task.parameters, task.device): task for task in waiting}
        try:
            for future in as_completed(futures):
                ledger.receive(futures[future], _outcome(future))
        except BaseException:
            with _ctrl_c_held_off():  # an impatient second one
                _receive_all_that_ended(futures, ledger)
            raise


def _receive_all_that_ended(futures: Mapping[Future[Outcome | Failure], Task], ledger: "_Ledger") -> None:
    for future, task in futures.items():
        if future.done() and not future.cancelled():
            ledger.receive(task, _outcome(future))


def _outcome(future: Future[Outcome | Failure]) -> Outcome | Failure:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return Failure("a worker process was killed, by this task or one beside it (perhaps out of memory)")
    return Failure(f"{type(error).__name__}: {error}") if error is not None else future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that are waited for after success, and ended at once after any exception."""
    others = set(multiprocessing.active_children())
    # Not fork: a forked torch can hang, and a forked CUDA context does not work.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True)


class _Ledger:
    """Takes in what the tasks give, each task once."""

    def __init__(self, store: RecordStore, waiting: Sequence[Task], clock: "_Clock") -> None:
        self._store = store
        self._clock = clock
        # Before the first measurement: code that is edited during the run must make its records stale.
        self._paths = {name: measuring_path(name) for name in {task.measurement for task in waiting}}
        self._environment = describe_environment()
        self._received: set[str] = set()
        self._failures: list[tuple[Task, Failure]] = []

    def receive(self, task: Task, outcome: Outcome | Failure) -> None:
        """Keep what a task gave; a second call for the same task does nothing."""
        if task.key in self._received:
            return
        with _ctrl_c_held_off():
            self._keep(task, outcome)
            self._received.add(task.key)
        self._clock.count(task)

    def _keep(self, task: Task, outcome: Outcome | Failure) -> None:
        if isinstance(outcome, Failure):
            self._failures.append((task, outcome))
        else:
            self._store.put(self._record(task, outcome))

    def _record(self, task: Task, outcome: Outcome) -> Record:
        return Record(
            key=task.key,
            measurement=task.measurement,
            parameters=task.parameters,
            values=outcome.values,
            measuring_path=self._paths[task.measurement],
            environment={**self._environment, "device": outcome.device},
            seconds=outcome.seconds,
            created=outcome.created,
        )

    def raise_if_any_failed(self) -> None:
        if not self._failures:
            return
        task, failure = self._failures[0]
        others = f" ({len(self._failures) - 1} more tasks failed)" if len(self._failures) > 1 else ""
        error = TaskFailedError(
            f"the task {task.measurement} with {_shortened(canonical_json(task.parameters))} failed{others}: "
            f"{failure.cause}; the tasks that ended are stored, mend the cause and run again",
            task.measurement,
            failure.cause,
        )
        error.add_note(failure.trace)
        raise error


@contextmanager
def _ctrl_c_held_off() -> Iterator[None]:
    """Ctrl-C takes effect when the block has ended, so that what is in hand is stored, and stored once.

    Only the main thread hears Ctrl-C, and only a handler of Python's can be put back.
    """
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(former):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if came:
            signal.raise_signal(signal.SIGINT)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


class _Clock:
    """Counts the tasks that ended, and estimates the time left from their costs."""

    def __init__(self, waiting: Sequence[Task], total: int, progress: Progress | None) -> None:
        self._done = total - len(waiting)
        self._total = total
        self._progress = progress
        self._cost_left = sum(task.cost for task in waiting)
        self._cost_done = 0.0
        self._started = time.perf_counter()
        self._report()

    def count(self, task: Task) -> None:
        self._done += 1
        self._cost_left -= task.cost
        self._cost_done += task.cost
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._total, self._seconds_left())

    def _seconds_left(self) -> float | None:
        if self._done == self._total:
            return 0.0
        if self._cost_done == 0.0:
            return None
        return (time.perf_counter() - self._started) * self._cost_left / self._cost_done
