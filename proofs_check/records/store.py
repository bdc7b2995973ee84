r"""The append-only store of records.

A record is what one task measured, apart from any verdict: a changed decision rule re-judges the
same records, only a changed measuring path makes them stale.

Main statements
    put       either the whole record is in the file afterwards, or nothing is: also after kill -9
    newest    of several records with one key the last one put
    no row is ever changed or removed; triggers in the file refuse it to every other program too
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from .plain_data import canonical_json, content_hash, plain_copy, plain_json, text_hash
from .whole_files import write_whole

APPLICATION_ID = 0x49434C43  # "ICLC", in the header of every store
EXPORT_FORMAT = "iclcheck records 1"
APPENDIX_FORMAT = "iclcheck appendix 1"  # the records.json of an appendix, which holds records among other things
_SECONDS_TO_WAIT_FOR_ANOTHER_WRITER = 30.0
_TRIES_FOR_WAL, _SECONDS_BETWEEN_TRIES = 200, 0.02
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "PRAGMA user_version = 1",
    "CREATE TABLE records (position INTEGER PRIMARY KEY, key TEXT NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL)",
    "CREATE INDEX records_by_key ON records (key, position)",
    "CREATE TRIGGER never_changed BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are append-only'); END",
    "CREATE TRIGGER never_removed BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are append-only'); END",
)


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("key", "measurement", "measuring_path", "created"), str),
    **dict.fromkeys(("parameters", "values", "environment"), dict),
    "seconds": int | float,
}


class RecordStoreError(ValueError):
    """A file that cannot be used as a store, or a record in it that was altered."""


@dataclass(frozen=True)
class Record:
    """What one task measured, with all that is needed to judge it, and to run it again.

    key             sha256 of measurement, parameters and kind of device (see `tasks.Task`)
    measurement     "package.module:function"
    parameters      plain data, the keyword arguments of the measurement
    values          plain data, the raw measurements
    measuring_path  sha256 of the code that measured (see `measuring_path`)
    environment     plain data: python, torch, numpy, device, platform, commit, uncommitted_changes
    seconds         wall-clock time of the measurement
    created         UTC time at which it ended, ISO 8601
    """

    key: str
    measurement: str
    parameters: Mapping[str, Any]
    values: Mapping[str, Any]
    measuring_path: str
    environment: Mapping[str, Any]
    seconds: float
    created: str

    def as_plain(self) -> dict[str, Any]:
        """The record as plain data; TypeError or ValueError names the entry that is not plain."""
        # Not asdict: it copies, and plain_copy does so again.
        plain: dict[str, Any] = plain_copy({name: getattr(self, name) for name in _ENTRIES}, "record")
        return plain

    def sha256(self) -> str:
        """Hash of the whole record, by which an altered one is recognised."""
        return text_hash(plain_json(self.as_plain()))


_ENTRIES = tuple(field.name for field in fields(Record))


def record_from_plain(plain: Mapping[str, Any]) -> Record:
    """The record that `Record.as_plain` wrote; RecordStoreError if entries are missing or unknown."""
    expected = set(_ENTRIES)
    if set(plain) != expected:
        raise RecordStoreError(
            f"a record needs exactly the entries {sorted(expected)}, got {sorted(plain)}; "
            "measure again with this version of iclcheck"
        )
    for name, kind in _KINDS.items():
        if not isinstance(plain[name], kind):
            raise RecordStoreError(
                f"the entry {name!r} of a record is of the kind {type(plain[name]).__name__}, which iclcheck never "
                "writes; measure again"
            )
    return Record(**plain)


class Records(Protocol):
    """Where records are looked up: a store, or an export that was read."""

    def newest(self, key: str) -> Record | None: ...


class ReadRecords:
    """Records in memory, as a records.json gives them; of several with one key the last is the newest."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_key = {record.key: record for record in records}

    def newest(self, key: str) -> Record | None:
        """The record of that key, or None."""
        return self._by_key.get(key)

    def holds(self, hashes: Mapping[str, str]) -> bool:
        """Whether the record of each of these keys has that sha256."""
        found = {key: self._by_key.get(key) for key in hashes}
        return all(record is not None and record.sha256() == hashes[key] for key, record in found.items())


class RecordStore:
    """Records in one SQLite file, created if it is missing; use it as a context manager.

    Several processes may read while one writes; two writers wait for each other.
    Raises RecordStoreError for a file that is not a store.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        _refuse_what_is_no_database(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # isolation_level=None: transactions begin and end only where this module says so.
        self._connection = sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT_FOR_ANOTHER_WRITER, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        try:
            if self._application() != APPLICATION_ID:
                with self._transaction():
                    self._create_or_refuse()
            self._let_readers_in()
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.DatabaseError as error:
            raise RecordStoreError(_not_a_store(self.path, str(error))) from error

    def _let_readers_in(self) -> None:
        """Readers do not block the writer in WAL mode; a file that stays without it only costs speed.

        SQLite does not wait for others here, as it does elsewhere: while another process sets the mode it says
        "locked" at once, so this tries again.
        """
        for _ in range(_TRIES_FOR_WAL):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(_SECONDS_BETWEEN_TRIES)

    def _application(self) -> int:
        (number,) = self._connection.execute("PRAGMA application_id").fetchone()
        return int(number)

    def _create_or_refuse(self) -> None:
        (objects,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if self._application() == 0 and objects == 0:
            for statement in _SCHEMA:
                self._connection.execute(statement)
        elif self._application() != APPLICATION_ID:
            raise RecordStoreError(_not_a_store(self.path, "an SQLite file of another program"))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Not always: BEGIN may have failed, a full disk ends the transaction, Ctrl-C can come after COMMIT.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def put(self, record: Record) -> None:
        """Append a record; it is on the disk when this returns.

        Raises TypeError or ValueError, and writes nothing, if the record is not strict JSON.
        """
        plain = record.as_plain()
        row = (record.key, canonical_json(plain), content_hash(plain))
        with self._transaction():
            self._connection.execute("INSERT INTO records (key, body, sha256) VALUES (?, ?, ?)", row)

    def newest(self, key: str) -> Record | None:
        """The last record put under `key`, or None; RecordStoreError if it was altered in the file."""
        row = self._connection.execute(
            "SELECT body, sha256 FROM records WHERE key = ? ORDER BY position DESC LIMIT 1", (key,)
        ).fetchone()
        return None if row is None else self._read(*row)

    def holds(self, hashes: Mapping[str, str]) -> bool:
        """Whether the newest record of each of these keys has that sha256; the records themselves are not read."""
        rows = (
            self._connection.execute(
                "SELECT sha256 FROM records WHERE key = ? ORDER BY position DESC LIMIT 1", (key,)
            ).fetchone()
            for key in hashes
        )
        return all(row is not None and row[0] == sha256 for row, sha256 in zip(rows, hashes.values(), strict=True))

    def newest_records(self) -> list[Record]:
        """The newest record of every key, ordered by measurement, parameters and key."""
        rows = self._connection.execute(
            "SELECT body, sha256 FROM records WHERE position IN (SELECT max(position) FROM records GROUP BY key)"
        )
        return sorted((self._read(*row) for row in rows), key=_content_order)

    def count(self) -> int:
        """The number of all records, older ones of a key included."""
        (count,) = self._connection.execute("SELECT count(*) FROM records").fetchone()
        return int(count)

    def _read(self, body: str, sha256: str) -> Record:
        # The body is canonical JSON, so its own hash is the record's: no need to write it again.
        found = text_hash(body)
        record = record_from_plain(json.loads(body))
        if found != sha256:
            raise RecordStoreError(
                f"the record {record.key[:12]} of {self.path} must hash to {sha256[:12]}, got "
                f"{found[:12]}: it was altered; measure it again in a new store"
            )
        return record

    def export_json(self, path: str | os.PathLike[str]) -> None:
        """Write the newest record of every key as strict JSON, each with its sha256.

        Equal stores give equal bytes. The file appears whole or not at all.
        """
        write_records_json(self.newest_records(), path)

    def close(self) -> None:
        """Close the file; SQLite then removes its two companions (-wal and -shm)."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_records_json(records: list[Record], path: str | os.PathLike[str]) -> None:
    """Write records as strict JSON, each with its sha256, in the order of their content: one record a line.

    A line for each number would more than double the file, whose measurements are mostly numbers.
    """
    entries = [{**record.as_plain(), "sha256": record.sha256()} for record in sorted(records, key=_content_order)]
    lines = ",\n".join(json.dumps(entry, sort_keys=True, allow_nan=False) for entry in entries)
    write_whole(Path(path), f'{{"format": {json.dumps(EXPORT_FORMAT)}, "records": [\n{lines}\n]}}\n')


def read_records_json(path: str | os.PathLike[str]) -> list[Record]:
    """The records of a file that `write_records_json` wrote, each compared with its sha256.

    Raises RecordStoreError if the file is not such a file, or if a record was altered.
    """
    try:
        if not Path(path).is_file():  # a pipe would keep us waiting
            raise OSError("no regular file")
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordStoreError(
            f"need a records.json written by iclcheck, {path} cannot be read as JSON ({error}); export it again"
        ) from error
    if not isinstance(document, dict) or document.get("format") not in (EXPORT_FORMAT, APPENDIX_FORMAT):
        raise RecordStoreError(
            f"need a JSON file whose format is {EXPORT_FORMAT!r} or {APPENDIX_FORMAT!r}, {path} has another; export it "
            "again"
        )
    entries = document.get("records")
    if document["format"] == APPENDIX_FORMAT and isinstance(entries, list):
        entries = [without_wrapping(entry) for entry in entries]
    if not isinstance(entries, list):
        raise RecordStoreError(f"need a list of records in {path}, got {type(entries).__name__}; export it again")
    return [_unaltered(entry, path) for entry in entries]


def without_wrapping(entry: Any) -> Any:
    """A record of an appendix, which stands beside its hash there, with the hash in it."""
    record = entry.get("record") if isinstance(entry, dict) else None
    return {**record, "sha256": entry.get("sha256")} if isinstance(record, dict) else entry


def _unaltered(entry: Any, path: str | os.PathLike[str]) -> Record:
    if not isinstance(entry, dict):
        raise RecordStoreError(f"the records in {path} must be objects, got {entry!r}; export it again")
    record = record_from_plain({name: value for name, value in entry.items() if name != "sha256"})
    if record.sha256() != entry.get("sha256"):
        raise RecordStoreError(
            f"the record {str(record.key)[:12]} of {path} must hash to its sha256 {entry.get('sha256')}, got "
            f"{record.sha256()}: it was altered; ask its author for the original, or measure it again"
        )
    return record


def _content_order(record: Record) -> tuple[str, str, str]:
    return record.measurement, canonical_json(record.parameters), record.key


def _refuse_what_is_no_database(path: Path) -> None:
    if path.is_dir():
        raise RecordStoreError(_not_a_store(path, "a directory"))
    if not path.exists():
        return
    if not path.is_file():  # a pipe would keep us waiting
        raise RecordStoreError(_not_a_store(path, "no regular file"))
    with path.open("rb") as file:
        start = file.read(16)
    # SQLite creates the file empty and writes it later; a run killed between the two is no reason to refuse.
    if start not in (b"", b"SQLite format 3\x00"):
        raise RecordStoreError(_not_a_store(path, "a file of another kind"))


def _not_a_store(path: Path, what_came: str) -> str:
    return f"need a store of records at {path}, got {what_came}; name another file, or a new one"
