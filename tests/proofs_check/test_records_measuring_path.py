"""Code makes a record stale; words about the code do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import iclcheck
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.records import measuring_path as module
from iclcheck.proofs_check.records.measuring_path import (
    MeasurementNotFoundError,
    measuring_path,
    modules_of,
)
from iclcheck.proofs_check.records.store import Record
from iclcheck.proofs_check.records.tasks import is_current

MEASUREMENT = "toy_lab.bench:square"


def test_comments_docstrings_and_layout_leave_the_hash(lab: Path) -> None:
    before = measuring_path(MEASUREMENT)
    text = lab.read_text()
    reworded = text.replace('"""The square of x."""', '"""Another\n\n    docstring."""\n    # a reason')
    assert reworded != text
    lab.write_text("# a comment\n" + reworded.replace("x * x", "(x  *\n        x)"))
    assert measuring_path(MEASUREMENT) == before


@pytest.mark.parametrize(
    "old, new",
    [
        ("x * x", "x * x + 0"),
        ("x * x", "x ** x"),
        ("seconds=0.0", "seconds=0"),
        ('"square"', '"Square"'),
        ("import time", "import time as time"),
        ("x < 0", "x <= 0"),
    ],
)
def test_any_change_of_code_changes_the_hash(lab: Path, old: str, new: str) -> None:
    before = measuring_path(MEASUREMENT)
    assert old in lab.read_text()
    lab.write_text(lab.read_text().replace(old, new))
    assert measuring_path(MEASUREMENT) != before


@pytest.mark.parametrize(
    "statement",
    [
        "from . import helper",
        "from .helper import scale",
        "import toy_lab.helper",
        "def late():\n    from toy_lab.helper import scale",
        "from toy_lab import helper as h",
    ],
)
def test_the_path_goes_through_imports_of_every_form(lab: Path, statement: str) -> None:
    helper, deeper = lab.with_name("helper.py"), lab.with_name("deeper.py")
    helper.write_text("from .deeper import base\nscale = 2 * base\n")
    deeper.write_text("base = 1\n")
    lab.write_text(lab.read_text() + statement + "\n")
    assert set(modules_of(MEASUREMENT)) >= {"toy_lab.bench", "toy_lab.helper", "toy_lab.deeper"}
    before = measuring_path(MEASUREMENT)
    deeper.write_text("base = 1.5\n")
    assert measuring_path(MEASUREMENT) != before


def test_modules_beside_the_path_do_not_count(lab: Path) -> None:
    before = measuring_path(MEASUREMENT)
    lab.with_name("unrelated.py").write_text("x = 1\n")
    assert set(modules_of(MEASUREMENT)) == {"toy_lab.bench"}
    assert measuring_path(MEASUREMENT) == before


def test_a_name_taken_from_a_package_counts_as_the_whole_package(lab: Path) -> None:
    lab.with_name("hidden.py").write_text("gain = 1\n")
    lab.with_name("__init__.py").write_text("def __getattr__(name): ...\n")
    lab.write_text(lab.read_text() + "from toy_lab import gain\n")
    assert set(modules_of(MEASUREMENT)) == {"toy_lab", "toy_lab.bench", "toy_lab.hidden"}


def test_the_path_enters_numerics_from_outside(lab: Path) -> None:
    lab.write_text(lab.read_text() + "import iclcheck.numerics.users_models.blocks\n")
    assert "iclcheck.numerics.users_models.blocks" in modules_of(MEASUREMENT)


def test_looking_up_the_code_runs_none_of_it(lab: Path) -> None:
    lab.with_name("__init__.py").write_text("raise SystemExit('imported')\n")
    measuring_path(MEASUREMENT)
    assert "toy_lab" not in sys.modules


@pytest.mark.parametrize("name", ["toy_lab.absent:f", "absent.module:f", "sys:f"])
def test_a_measurement_without_source_is_named(lab: Path, name: str) -> None:
    with pytest.raises(MeasurementNotFoundError, match=name):
        measuring_path(name)


MEASUREMENTS = sorted(
    {
        task.measurement
        for claim in all_claims().values()
        for check in claim.checks
        for task in check.tasks(Budget(replicas=1))
    }
)


@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_a_record_is_stale_when_any_numerics_module_on_its_path_changes(
    measurement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each real measurement, each module of its path in turn: other words leave it fresh, other code does not."""
    record = Record("k", measurement, {}, {}, measuring_path(measurement), {}, 0.0, "now")
    path, found, copy = modules_of(measurement), module._source, tmp_path / "copy.py"
    assert is_current(record)
    assert all(name.startswith("iclcheck.numerics.") for name in path)
    assert measurement.partition(":")[0] in path
    for altered, file in path.items():
        monkeypatch.setattr(module, "_source", lambda name, at=altered: copy if name == at else found(name))
        copy.write_text(f'"""Other words."""\n# a reason\n{file.read_text()}')
        assert is_current(record), altered
        copy.write_text(f"{file.read_text()}\naltered = 1\n")
        assert not is_current(record), altered


WHAT_IS_LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [one for one in sys.modules if one.startswith("iclcheck.numerics")]:
        del sys.modules[loaded]
    importlib.import_module(name)
    print(name, *(one for one, code in sys.modules.items()
                  if one.startswith("iclcheck.numerics") and not hasattr(code, "__path__")))
"""


def test_what_python_loads_for_a_measurement_is_on_its_path() -> None:
    """A witness that reads no syntax tree: the modules in memory after an import, in a fresh interpreter."""
    modules = sorted({name.partition(":")[0] for name in MEASUREMENTS})
    environment = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}
    command = [sys.executable, "-c", WHAT_IS_LOADED, *modules]
    lines = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.splitlines()
    loaded = {name: set(some) for name, *some in map(str.split, lines)}
    assert set(loaded) == set(modules)
    assert {name: some - set(modules_of(f"{name}:f")) for name, some in loaded.items()} == {n: set() for n in modules}
    assert max(map(len, loaded.values())) > 3


def test_a_numerics_module_beside_the_path_leaves_a_record_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: the reader of users' weights is on no path of a claim."""
    copy, found = tmp_path / "copy.py", module._source
    copy.write_text("altered = 1\n")
    before = {name: measuring_path(name) for name in MEASUREMENTS}
    beside = "iclcheck.numerics.users_models.blocks"
    assert found(beside) is not None
    monkeypatch.setattr(module, "_source", lambda name: copy if name == beside else found(name))
    assert {name: measuring_path(name) for name in MEASUREMENTS} == before
