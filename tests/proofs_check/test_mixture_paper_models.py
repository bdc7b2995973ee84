"""The three decoders of the papers' setting in the claims that read them, at a tiny size on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from iclcheck.numerics.decoders import decoder_training, ensembles
from iclcheck.numerics.decoders.paper_training import PaperSetting, trained_and_evaluated
from iclcheck.proofs_check.claims.claim import Budget, Values
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.decoders import model_selection, oracle_never_beaten, paper_models, selected_models
from iclcheck.proofs_check.decoders.paper_models import CAPS, ORACLES, Reached, paper_tasks
from iclcheck.proofs_check.decoders.selected_models import Interval, Selection
from iclcheck.proofs_check.records.tasks import Task

GPU = Budget(profile="full", device="cuda", prompts=128_000_000)
TINY: dict[str, Any] = {
    "dimension": 3, "nonzeros": 1, "points": 6, "width": 8, "layers": 1, "heads": 2, "steps": 8, "batch_size": 4,
    "learning_rate": 1e-3, "noise_variance": 0.01, "first_coordinates": 2, "first_points": 4, "interval": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The values of the task at a tiny size, which is all that a CPU affords."""
    caps = {law: rows[-6:] for law, rows in CAPS.items()}
    folder = str(tmp_path_factory.mktemp("papers"))
    with pytest.MonkeyPatch.context() as patch:
        for module in (decoder_training, ensembles):
            patch.setattr(module, "BLOCK", 4)
        return trained_and_evaluated(TINY, folder, 100.0, 4096, "test/papers", ORACLES, caps, "cpu")


def test_only_the_full_profile_on_a_gpu_asks_for_them() -> None:
    for claim in ("oracle-never-beaten", "model-selection"):
        for budget in (Budget(), replace(GPU, device="cpu"), replace(GPU, profile="quick"), GPU):
            tasks = [task for check in all_claims()[claim].checks for task in check.tasks(budget)]
            asked = [task for task in tasks if task.measurement == paper_models.TRAINED]
            assert len({task.key for task in asked}) == (1 if budget is GPU else 0), (claim, budget)


def test_the_caps_and_sizes_are_those_of_the_papers_setting() -> None:
    """A bounded mean needs a cap for every prefix."""
    (task,) = paper_tasks(GPU)
    setting = PaperSetting(**paper_models.SETTING)
    assert (setting.dimension, setting.points) == (paper_models.DIMENSION, paper_models.POINTS)
    assert {law: len(rows) for law, rows in task.parameters["caps"].items()} == dict.fromkeys(CAPS, 41)
    assert all(min(rows) > 0 for rows in CAPS.values())


def never_beaten(name: str, found: Values, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A check's verdict on the papers' models alone."""
    monkeypatch.setattr(oracle_never_beaten, "MODELS", ())
    monkeypatch.setattr(oracle_never_beaten, "SLOW", ())
    (check,) = [one for one in all_claims()["oracle-never-beaten"].checks if one.name == name]

    def run(tasks: Sequence[Task]) -> list[Values]:
        assert [task.measurement for task in tasks] == [paper_models.TRAINED]
        return [found]

    return check.judge(run, GPU)


@pytest.mark.parametrize("name", [oracle_never_beaten.CROSS, oracle_never_beaten.RISK])
def test_an_oracle_is_not_beaten_by_models_of_any_training(
    name: str, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rate of a false alarm 1e-6."""
    verdict = never_beaten(name, trained, monkeypatch)
    assert verdict.outcome == "agrees"
    assert "of 3 laws" in verdict.ran
    assert "8 of 8 steps in the papers' setting" in verdict.ran


@pytest.mark.parametrize("name", [oracle_never_beaten.CROSS, oracle_never_beaten.RISK])
def test_a_model_that_sees_the_answer_is_found_out(
    name: str, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the sparse model moved seven tenths of the way from its oracle to the truth, f = f* + c (t - f*), c = 0.7.

    The cross term is c (t - f*)^2, of mean c V; given what is seen its variance was promised to be E (f - f*)^2 V =
    c^2 V^2. After one example: later V is mostly 0 and sometimes large.
    """
    sums = trained["laws"]["sparse"]
    own, c, N = selected_models.CLASS, 0.7, 1
    V = sums["variance"][own]["sum"][N]
    changed = {
        ("cross", "sparse", own): c * V,
        ("distance", "sparse", own): c**2 * V,
        ("cross_variance", "sparse", own): c**2 * sums["variance"][own]["squares"][N],
        ("loss", "sparse"): (1 - c) ** 2 * sums["loss"][own]["sum"][N],
    }
    cheated = dict(sums)
    for (kind, *path), value in changed.items():
        cheated[kind] = with_sum(cheated[kind], path, N, value)
    found = {**trained, "laws": {**trained["laws"], "sparse": cheated}}
    assert never_beaten(name, found, monkeypatch).outcome == "contradicts"


def with_sum(tree: dict[str, Any], path: Sequence[str], place: int, value: float) -> dict[str, Any]:
    """A copy with another sum at one prefix."""
    if path:
        return {**tree, path[0]: with_sum(tree[path[0]], path[1:], place, value)}
    return {**tree, "sum": [*tree["sum"][:place], value, *tree["sum"][place + 1 :]]}


def selection(excess: float, of_class: float) -> Selection:
    """At risk 1 without a price."""
    one, nothing = Interval(1.0, 1.0, 1.0), Interval(0.0, 0.0, 0.0)
    return Selection(one, nothing, Interval(excess, excess, excess), Interval(of_class, of_class, of_class))


@pytest.mark.parametrize(
    ("excess", "of_class", "ended", "outcome"),
    [
        (0.3, 0.2, False, "agrees"), (0.3, 0.2, True, "agrees"),
        (0.6, 0.2, False, "inconclusive"), (0.6, 0.2, True, "contradicts"),
        (0.7, 0.6, False, "inconclusive"), (0.7, 0.6, True, "inconclusive"),  # as bad as one that has learned nothing
    ],
)  # fmt: skip
def test_what_has_not_learned_or_not_ended_decides_nothing(
    excess: float, of_class: float, ended: bool, outcome: str
) -> None:
    check = all_claims()["model-selection"].checks[2]
    assert isinstance(check, model_selection.SelectedModel)
    large = [(Reached(7, 7 if ended else 9), {"dense": selection(excess, of_class)})]
    assert check.outcome([selection(0.1, 0.1)], large, 0.5) == outcome


def test_the_quotients_of_the_papers_models_are_those_of_their_mean_risks(trained: dict[str, Any]) -> None:
    for law, row in paper_models.paper_selections(trained, 1e-3).items():
        sums = trained["laws"][law]
        mean = {
            name: sums["distance"][model][selected_models.CLASS]["averaged"]["capped"] / sums["count"]
            for name, model in (("excess", "mixture"), ("class", law), ("price", selected_models.MIXTURE))
        }
        R = sums["variance"][selected_models.CLASS]["averaged"]["capped"] / sums["count"] + 0.01
        expected = (R + mean["excess"]) / (R + mean["class"]) / ((R + mean["price"]) / R)
        assert row.quotient.mean == pytest.approx(expected, rel=1e-12)
        assert not row.learned  # 8 steps
