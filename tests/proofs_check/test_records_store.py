"""The store keeps every record, whole, and nothing else."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from iclcheck.proofs_check.records.store import (
    Record,
    RecordStore,
    RecordStoreError,
    read_records_json,
    write_records_json,
)

RECORD = Record(
    key="k" * 64,
    measurement="toy_lab.bench:square",
    parameters={"x": 3, "covariance": [[2.0, 0.0], [0.0, 1.0]]},
    values={"square": 9, "gain": 0.1, "missing": None},
    measuring_path="p" * 64,
    environment={"python": "3.11.7", "device": "cpu"},
    seconds=0.25,
    created="2026-01-02T03:04:05+00:00",
)


def test_a_record_comes_back_equal_after_the_file_is_opened_again(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "new folder" / "records.sqlite") as store:
        store.put(RECORD)
    with RecordStore(tmp_path / "new folder" / "records.sqlite") as store:
        assert store.newest(RECORD.key) == RECORD
        assert store.newest("another key") is None


def test_the_newest_record_of_a_key_wins_and_the_older_ones_stay(tmp_path: Path) -> None:
    newer = replace(RECORD, values={"square": 10})
    with RecordStore(tmp_path / "records.sqlite") as store:
        store.put(RECORD)
        store.put(newer)
        assert store.newest(RECORD.key) == newer
        assert store.newest_records() == [newer]
        assert store.count() == 2


@pytest.mark.parametrize("statement", ["UPDATE records SET body = '{}'", "DELETE FROM records"])
def test_the_file_itself_refuses_to_change_or_remove_a_record(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "records.sqlite"
    with RecordStore(path) as store:
        store.put(RECORD)
    other_program = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other_program.execute(statement)
    other_program.close()


def test_a_record_altered_behind_the_triggers_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with RecordStore(path) as store:
        store.put(RECORD)
    other_program = sqlite3.connect(path)
    other_program.execute("DROP TRIGGER never_changed")
    other_program.execute("UPDATE records SET body = replace(body, '\"square\":9', '\"square\":8')")
    other_program.commit()
    other_program.close()
    with RecordStore(path) as store, pytest.raises(RecordStoreError, match="was altered"):
        store.newest(RECORD.key)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_strict_json_lacks_is_refused_and_nothing_is_written(tmp_path: Path, bad: float) -> None:
    with RecordStore(tmp_path / "records.sqlite") as store:
        with pytest.raises(ValueError, match=r"record\.values\.gains\[1\] must be finite"):
            store.put(replace(RECORD, values={"gains": [0.5, bad]}))
        assert store.count() == 0


@pytest.mark.parametrize("bad", [{1, 2}, b"bytes", object(), {3: "number as a name"}])
def test_a_value_that_is_not_plain_is_refused(tmp_path: Path, bad: object) -> None:
    with RecordStore(tmp_path / "records.sqlite") as store, pytest.raises(TypeError, match=r"record\.values"):
        store.put(replace(RECORD, values={"gain": bad}))


@pytest.mark.parametrize("content", [b"{}", b"weights of another kind, long enough", b"SQLite format 3"])
def test_a_file_that_is_not_a_store_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordStoreError, match=r"need a store of records at .*, got "):
        RecordStore(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite"
    other_program = sqlite3.connect(path)
    other_program.execute("CREATE TABLE photos (name TEXT)")
    other_program.close()
    with pytest.raises(RecordStoreError, match="another program"):
        RecordStore(path)


def test_a_cut_off_store_and_a_directory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with RecordStore(path) as store:
        store.put(RECORD)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RecordStoreError, match="need a store of records"):
        RecordStore(path)
    with pytest.raises(RecordStoreError, match="a directory"):
        RecordStore(tmp_path)


def test_an_empty_file_is_taken_as_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").touch()
    with RecordStore(tmp_path / "records.sqlite") as store:
        assert store.count() == 0


def test_closing_leaves_one_file(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "records.sqlite") as store:
        store.put(RECORD)
    assert [file.name for file in tmp_path.iterdir()] == ["records.sqlite"]


def test_the_export_does_not_depend_on_the_order_of_putting(tmp_path: Path) -> None:
    records = [replace(RECORD, key=letter * 64, parameters={"x": letter}) for letter in "abc"]
    for name, order in (("forward", records), ("backward", records[::-1])):
        with RecordStore(tmp_path / f"{name}.sqlite") as store:
            for record in order:
                store.put(record)
            store.export_json(tmp_path / f"{name}.json")
    write_records_json(records[::-1], tmp_path / "direct.json")
    texts = {(tmp_path / f"{name}.json").read_bytes() for name in ("forward", "backward", "direct")}
    assert len(texts) == 1
    assert read_records_json(tmp_path / "forward.json") == records
    with RecordStore(tmp_path / "backward.sqlite") as store:
        assert store.newest_records() == records


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_export_that_fails_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    with RecordStore(tmp_path / "records.sqlite") as store:
        store.put(RECORD)
        store.export_json(tmp_path / "records.json")
        former = (tmp_path / "records.json").read_bytes()
        monkeypatch.setattr(os, step, full_disk)
        store.put(replace(RECORD, values={"square": 10}))
        with pytest.raises(OSError, match="no space left"):
            store.export_json(tmp_path / "records.json")
    assert (tmp_path / "records.json").read_bytes() == former
    assert sorted(file.name for file in tmp_path.iterdir()) == ["records.json", "records.sqlite"]


def test_an_altered_export_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    with RecordStore(tmp_path / "records.sqlite") as store:
        store.put(RECORD)
        store.export_json(path)
    document = json.loads(path.read_text())
    document["records"][0]["values"]["gain"] = 0.1000001
    path.write_text(json.dumps(document))
    with pytest.raises(RecordStoreError, match="was altered"):
        read_records_json(path)


@pytest.mark.parametrize("text", ["", "[]", '{"records": []}', '{"format": "iclcheck records 1", "records": [1]}'])
def test_a_json_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "records.json").write_text(text)
    with pytest.raises(RecordStoreError, match="export it again"):
        read_records_json(tmp_path / "records.json")


WRITE_FOR_EVER = """
import sys
import time
from dataclasses import replace
from iclcheck.proofs_check.records.store import Record, RecordStore
record = Record("k", "m:f", {}, {"long": "x" * 20000}, "p", {}, 0.0, "now")
with RecordStore(sys.argv[1]) as store:
    for i in range(10**9):
        store.put(replace(record, key=str(i)))
        print(i, flush=True)
"""


def test_killed_while_it_writes_the_store_keeps_every_record_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    for wait_for in (3, 40):  # the second run opens what the first one left
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < wait_for:
            pass
        writer.send_signal(signal.SIGKILL)
        announced = [wait_for, *map(int, writer.stdout.read().split())]
        writer.stdout.close()
        writer.wait()
        with RecordStore(path) as store:
            assert all(store.newest(str(i)) is not None for i in range(announced[-1] + 1))
            assert len(store.newest_records()) in (announced[-1] + 1, announced[-1] + 2)


CREATE_AND_PUT = """
import sys, time
from iclcheck.proofs_check.records.store import Record, RecordStore
folder, name, begin = sys.argv[1:]
time.sleep(max(0.0, float(begin) - time.time()))
for i in range(40):
    with RecordStore(f"{folder}/{i}.sqlite") as store:
        store.put(Record(name, "m:f", {}, {}, "p", {}, 0.0, "now"))
"""


def test_processes_that_create_and_write_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    begin = str(time.time() + 0.5)  # at the same moment, so that they meet while the stores are created
    writers = [subprocess.Popen([sys.executable, "-c", CREATE_AND_PUT, str(tmp_path), name, begin]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    for i in range(40):
        with RecordStore(tmp_path / f"{i}.sqlite") as store:
            assert [record.key for record in store.newest_records()] == ["a", "b", "c"]
