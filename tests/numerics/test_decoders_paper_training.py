"""The trainings in the papers' setting: their parameters, their budget of time, and that they end, at a tiny size."""

from pathlib import Path
from typing import Any

import pytest
import torch

from iclcheck.numerics.decoders import decoder_training, ensembles, paper_training
from iclcheck.numerics.decoders.decoder import parameter_count
from iclcheck.numerics.decoders.decoder_training import Growth
from iclcheck.numerics.decoders.ensembles import Ensemble
from iclcheck.numerics.decoders.paper_training import (
    NAMES,
    PaperSetting,
    go_on,
    operations_of_a_step,
    paper_models,
    trained_and_evaluated,
)

TINY: dict[str, Any] = {
    "dimension": 3, "nonzeros": 1, "points": 6, "width": 8, "layers": 1, "heads": 2, "steps": 18, "batch_size": 4,
    "learning_rate": 1e-3, "noise_variance": 0.01, "first_coordinates": 2, "first_points": 4, "interval": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decoder_training, ensembles):
        monkeypatch.setattr(module, "BLOCK", 4)


def test_the_setting_is_that_of_the_papers() -> None:
    dense, sparse, mixture = PaperSetting().trainings().values()
    for one in (dense, sparse, mixture):
        assert one.law["dimension"] == 20
        assert one.shape == {"dimension": 20, "positions": 41, "width": 256, "layers": 12, "heads": 8}
        assert (one.steps, one.batch_size, one.learning_rate, one.warmup, one.decay) == (500_000, 64, 1e-4, 0, 0.0)
        assert one.coordinates is not None
        assert one.points is not None
        assert Growth(**one.coordinates) == Growth(5, 20, 1, 2000)
        assert Growth(**one.points) == Growth(11, 41, 2, 2000)
        assert one.start_scale == 0.02
    two = {"kind": "sparse", "nonzeros": 2, "variance": 1.0}
    assert dense.law["classes"] == [{"kind": "dense", "variance": 1.0}]
    assert sparse.law["classes"] == [two]
    assert mixture.law["classes"] == [{"kind": "dense", "variance": 1.0}, two]
    assert mixture.law["weights"] == [0.5, 0.5]
    assert len({one.key for one in (dense, sparse, mixture)}) == 3
    ensembles.check_alike([dense, sparse, mixture])


def test_the_model_of_the_setting_has_nine_and_a_half_million_weights() -> None:
    model = PaperSetting().trainings()["dense"].model()
    assert parameter_count(model) == 12 * (12 * 256**2 + 13 * 256) + 82 * 256 + 21 * 256 + 257 + 512
    assert operations_of_a_step(PaperSetting()) == pytest.approx(
        3 * 5248 * (6 * 9.437e6 + 12 * 12 * 82 * 256), rel=1e-3
    )


def test_a_training_ends_by_calls_of_any_length(tmp_path: Path) -> None:
    setting = PaperSetting(**TINY)
    go_on(setting, tmp_path, 0.0)
    assert not list(tmp_path.iterdir())
    while not go_on(setting, tmp_path, 1e-9).ended:
        pass
    whole = Ensemble.begin(list(setting.trainings().values()))
    while not whole.ended:
        whole.advance()
    found = Ensemble.resume(list(setting.trainings().values()), tmp_path)
    assert found.losses == whole.losses
    assert all(torch.equal(found.weights[name], whole.weights[name]) for name in whole.weights)
    assert [one["steps"] for one in found.further["calls"]] == [4, 4, 4, 4, 2]
    assert go_on(setting, tmp_path, 100.0).further == found.further


def test_a_killed_call_goes_on_from_the_last_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, advance = PaperSetting(**TINY), Ensemble.advance
    monkeypatch.setattr(paper_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def killed(run: Ensemble) -> None:
        if run.steps_done == 12:
            raise KeyboardInterrupt
        advance(run)

    with monkeypatch.context() as patched:
        patched.setattr(Ensemble, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            go_on(setting, tmp_path, 100.0)
    run = go_on(setting, tmp_path, 100.0)
    assert [one["steps"] for one in run.further["calls"]] == [12, 6]
    assert run.ended


def test_a_unit_of_work_trains_and_says_what_was_reached(tmp_path: Path) -> None:
    oracles = {name: {"own": name} for name in NAMES}
    oracles["dense"]["mixed"] = "mixture"
    caps = dict.fromkeys(NAMES, [1e4] * 6)
    found = trained_and_evaluated(TINY, str(tmp_path), 100.0, 64, "test/paper", oracles, caps, "cpu")
    assert found["reached"]["steps"] == found["reached"]["wanted"] == 18
    assert set(found["reached"]["losses"]) == set(NAMES)
    assert found["parameters"] == parameter_count(PaperSetting(**TINY).trainings()["dense"].model())
    for law in NAMES:
        sums = found["laws"][law]
        assert set(sums["loss"]) == {*NAMES, *oracles[law]}
        assert len(sums["loss"]["own"]["sum"]) == 6
        assert sums["count"] == 64
    models = paper_models(PaperSetting(**TINY), tmp_path)
    run = Ensemble.resume(list(PaperSetting(**TINY).trainings().values()), tmp_path)
    for place, name in enumerate(NAMES):
        weights = models[name].state_dict()
        assert all(torch.equal(weights[part], value[place].detach()) for part, value in run.weights.items())


def test_the_seconds_of_a_unit_are_those_of_all_its_calls(tmp_path: Path) -> None:
    setting = PaperSetting(**TINY)
    first = go_on(setting, tmp_path, 1e-9, in_all=True)
    assert first.steps_done == 4
    first.further["calls"][0]["seconds"] = 5.0
    first.save(tmp_path)
    assert go_on(setting, tmp_path, 5.0, in_all=True).steps_done == 4
    assert go_on(setting, tmp_path, 5.1, in_all=True).steps_done > 4


def test_models_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"need trained models in .*, got none; run benchmarks/decoders_full.py first"):
        paper_models(PaperSetting(**TINY), tmp_path)
