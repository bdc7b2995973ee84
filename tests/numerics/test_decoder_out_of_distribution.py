"""Distances between a decoder, Bayes predictors and the target; and means over turned copies."""

from typing import Any

import pytest
import torch

from iclcheck.numerics.decoders import out_of_distribution as module
from iclcheck.numerics.decoders.decoder_training import DecoderTraining
from iclcheck.numerics.decoders.out_of_distribution import decoder_of, groups_of_settings
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.numerics.mixtures.ridge_copies import noise_points, risks_over_copies, signed_shifts

DENSE, SPARSE = {"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 1.0}
LAW = PromptLaw(2, 4, (DENSE,), (1.0,), 0.3).plain()
OTHER = PromptLaw(2, 4, (SPARSE,), (1.0,), 0.3).plain()
SHAPE = {"dimension": 2, "positions": 4, "width": 8, "layers": 1, "heads": 2}
TRAINING = DecoderTraining(LAW, SHAPE, steps=3, batch_size=4).plain()
SETTING = {"prompts": OTHER, "oracles": {"own": LAW, "right": OTHER}, "first": 1, "size": 5}


def measured(**changed: Any) -> dict[str, Any]:
    given = {"model": {"training": TRAINING}, "settings": [SETTING], "groups": 3, "stream_key": "here"}
    return groups_of_settings(**{**given, **changed}, device="cpu")


def test_distances_are_symmetric_and_means_of_groups_give_means_of_positions() -> None:
    (found,) = measured()["settings"]
    groups, positions = torch.tensor(found["groups"]), torch.tensor(found["by_position"])
    assert found["names"] == ["decoder", "own", "right", "target"]
    assert groups.shape == (3, 4, 4)
    assert positions.shape == (4, 4, 4)
    assert torch.equal(groups, groups.mT)
    assert not groups.diagonal(dim1=1, dim2=2).any()
    # single precision of the plain lists' tensors: sums of 15 numbers
    torch.testing.assert_close(groups.mean(0), positions[1:].mean(0), rtol=1e-5, atol=1e-6)


def test_the_distances_are_those_of_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    original = PromptLaw.sample

    def kept(self: PromptLaw, *given: Any) -> Any:
        prompts = original(self, *given)
        drawn.append(prompts)
        return prompts

    monkeypatch.setattr(PromptLaw, "sample", kept)
    decoder = decoder_of({"training": TRAINING}, "cpu")
    drawn.clear()
    (found,) = measured()["settings"]
    prompts = drawn[-1]
    own = posterior(PromptLaw.from_plain(LAW), prompts.xs, prompts.ys).prediction
    with torch.no_grad():
        answered = decoder(prompts.xs.float(), prompts.ys.float()).double()
    by_hand = (answered - own).square()[:, 1:].mean(1).view(3, 5).mean(1)
    torch.testing.assert_close(torch.tensor(found["groups"]).double()[:, 0, 1], by_hand, rtol=1e-5, atol=1e-7)


def test_a_setting_has_the_same_prompts_however_many_stand_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, among = measured()["settings"][0], measured(settings=[SETTING, SETTING])["settings"]
    assert among[0] == alone
    assert among[1] != alone
    monkeypatch.setattr(module, "CHUNK", 4)
    assert measured()["settings"][0]["names"] == alone["names"]


def test_a_shipped_file_that_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shipped_digest", lambda name: "other")
    with pytest.raises(ValueError, match="need the file with the SHA-256 abc for dense, got another one"):
        decoder_of({"shipped": "dense", "sha256": "abc"}, "cpu")


def test_signed_shifts_are_a_group_that_levels_every_matrix() -> None:
    turns = signed_shifts(3, "cpu")
    assert turns.shape == (24, 3, 3)
    assert len({tuple(one.flatten().tolist()) for one in turns}) == 24
    M = torch.arange(9, dtype=torch.float64).view(3, 3)
    torch.testing.assert_close(
        (turns.mT @ M @ turns).mean(0), M.trace() / 3 * torch.eye(3).double(), rtol=0, atol=1e-14
    )


def test_noise_points_have_the_second_moments_of_the_noise() -> None:
    points = noise_points(3, 0.4, "cpu")
    torch.testing.assert_close(points.T @ points / len(points), 0.4 * torch.eye(3).double(), rtol=0, atol=1e-15)
    torch.testing.assert_close(points[:3], -points[3:], rtol=0, atol=0)


def test_copies_of_one_example_in_one_dimension_give_the_risk_by_hand() -> None:
    """d = N = 1: w_hat = z y v/(v z^2 + s), so c E (w - w_hat)^2 = c (s^2 w^2 + v^2 c z^2 s)/(v c z^2 + s)^2."""
    z, w, v, s, c = 0.8, 1.3, 0.7, 0.4, 2.5
    case = {"inputs": [[z]], "weights": [w], "dense_variance": v, "noise_variance": s, "input_scale": c}
    found = risks_over_copies([case], "cpu")
    by_hand = c * (s**2 * w**2 + v**2 * c * z**2 * s) / (v * c * z**2 + s) ** 2
    assert found["prompts"] == [4]
    assert abs(found["risk"][0] / by_hand - 1) < 1e-13
