"""Benchmarks write files only if asked, and need matplotlib for pictures alone."""

import importlib.util
import json
import sys
from dataclasses import replace
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
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as when it is run
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
    ("name", "option"),
    [
        ("snap", "--picture"),
        ("scan_on_text", "--pictures"),
        ("model_selection", "--pictures"),
        ("selection_boundary", "--pictures"),
        ("covariate_shift", "--picture"),
        ("out_of_distribution", "--pictures"),
    ],
)
def test_a_picture_without_matplotlib_is_refused_at_once(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = loaded(name, monkeypatch)
    with pytest.raises(SystemExit):
        benchmark.main([option, "place"])
    assert f"{option} needs matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["snap", "scan_on_text", "model_selection", "selection_boundary", "out_of_distribution", "covariate_shift"],
)
def test_help_explains_every_option(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = loaded(name, monkeypatch)
    with pytest.raises(SystemExit):
        benchmark.main(["--help"])
    said = capsys.readouterr().out.partition("options:")[2].split("\n  -")[1:]
    assert any(one.startswith("-output FILE") for one in said)
    assert all("  " in one.strip() for one in said)


def test_a_shipped_model_is_trained_again_by_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command of the benchmark, with five steps in the place of its 20,000, writes what `shipped_model` reads."""
    from iclcheck.numerics.decoders import decoder_training, shipped

    benchmark = loaded("train_decoders", monkeypatch)
    short = replace(shipped.TRAININGS["dense"], steps=5)
    monkeypatch.setitem(shipped.TRAININGS, "dense", short)
    monkeypatch.setattr(sys, "argv", ["train_decoders.py", "dense", "--output", str(tmp_path)])
    benchmark.main()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    found, run = shipped.shipped_model("dense"), decoder_training.RunningTraining.begin(short)
    run.advance()
    assert found.training == short
    assert found.losses == (round(run.losses[0], 5),)
    weights = run.model.state_dict()
    assert all(bool((value == weights[name]).all()) for name, value in found.model.state_dict().items())
    record = json.loads((tmp_path / "dense.json").read_text())
    assert record["command"] == "python benchmarks/train_decoders.py dense"


def test_the_full_training_goes_on_and_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from iclcheck.numerics.decoders import decoder_training, ensembles

    for module in (decoder_training, ensembles):
        monkeypatch.setattr(module, "BLOCK", 10)
    benchmark = loaded("decoders_full", monkeypatch)
    sizes = {
        "dimension": 2, "nonzeros": 1, "points": 4, "width": 8, "layers": 1, "heads": 2, "steps": 20, "batch_size": 4,
        "noise_variance": 0.01, "first_coordinates": 1, "first_points": 3, "interval": 10,
    }  # fmt: skip
    given = ["--output", str(tmp_path), "--setting", json.dumps(sizes), "--prompts"]
    benchmark.main([*given, "0", "--seconds", "1e-9"])
    benchmark.main([*given, "16", "--seconds", "100"])
    said = capsys.readouterr().out
    assert "mixture prompts, mean over prefixes: dense" in said
    record = json.loads((tmp_path / "training.json").read_text())
    assert [one["steps"] for one in record["calls"]] == [10, 10]
    assert {len(values) for values in record["evaluation"]["sparse"].values()} == {4}
    benchmark.main(["--plan"])
    assert "operations at full length" in capsys.readouterr().out
