"""Benchmarks write files only if asked, and need matplotlib for pictures alone."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A benchmark where matplotlib is not installed."""
    for module in [one for one in sys.modules if one.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    found_by = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *more: None if n == "matplotlib" else found_by(n, *more))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_posterior_by_inverses_is_that_by_rotations_at_moderate_noise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = loaded("mixture_posterior", monkeypatch)
    monkeypatch.setattr(made, "speed", lambda: {"rotations": 0.5})
    recorded = ROOT / "evidence" / "mixture_posterior.json"
    before = recorded.read_bytes()
    assert made.main([]) == 0
    rows = json.loads(capsys.readouterr().out)["digits, d = 6, k = 2, up to 8 examples"]
    assert max(rows[0]["errors of P(dense) and prediction"]["inverses"]) < 1e-12  # noise 0.1: condition numbers of 1e3
    assert recorded.read_bytes() == before
    monkeypatch.setattr(made, "speed", lambda: {"rotations": 2.5})
    assert made.main([]) == 1


def test_snap_prints_its_numbers_and_writes_what_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snap = loaded("snap", monkeypatch)
    for slow in ("flows", "rate_rows"):
        monkeypatch.setattr(snap, slow, dict)
    monkeypatch.setattr(snap, "rows", list)
    recorded = ROOT / "evidence" / "snap.json"
    before = recorded.read_bytes()
    snap.main([])
    assert json.loads(capsys.readouterr().out)["times"]["K ln M"] == pytest.approx(16.377, abs=1e-3)
    assert recorded.read_bytes() == before
    snap.main(["--output", str(tmp_path / "numbers.json")])
    assert json.loads((tmp_path / "numbers.json").read_text())["task"]["vocabulary"] == 60


@pytest.mark.parametrize(
    ("name", "option"), [("snap", "--picture"), ("scan_on_text", "--pictures"), ("out_of_distribution", "--pictures")]
)
def test_a_picture_without_matplotlib_is_refused_at_once(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = loaded(name, monkeypatch)
    with pytest.raises(SystemExit):
        benchmark.main([option, "place"])
    assert f"{option} needs matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["snap", "scan_on_text", "out_of_distribution"])
def test_help_explains_every_option(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = loaded(name, monkeypatch)
    with pytest.raises(SystemExit):
        benchmark.main(["--help"])
    said = capsys.readouterr().out.partition("options:")[2].split("\n  -")[1:]
    assert any(one.startswith("-output FILE") for one in said)
    assert all("  " in one.strip() for one in said)
