"""The verdict on a predictor that a user brings: who agrees, who contradicts, and what the command says."""

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scipy.stats
import torch
from torch import Tensor

import iclcheck
from iclcheck.numerics.decoders.decoder import Decoder, DecoderShape
from iclcheck.numerics.decoders.prompt_averages import averaged
from iclcheck.numerics.mixtures.posterior import posterior
from iclcheck.proofs_check.claims.parameters import UsageError
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.decoders import users_decoders
from iclcheck.proofs_check.decoders.users_decoders import (
    CAP,
    MOST_BEYOND,
    Curve,
    DecoderReport,
    LawVerdict,
    check_decoder,
    completed_law,
    judge_predictor,
    laws_of,
    shown_prefixes,
    verdict_of,
)
from iclcheck.proofs_check.verdicts.empirical_bernstein import deviation

Predict = Callable[[Tensor, Tensor], Tensor]
GIVEN: dict[str, Any] = {"dimension": 3, "sparsity": 1, "noise_variance": 0.1}
LAW = completed_law(GIVEN)
LAWS = laws_of(LAW)


def oracle(name: str) -> Predict:
    return lambda xs, ys: posterior(LAWS[name], xs, ys).prediction


def zero(xs: Tensor, ys: Tensor) -> Tensor:
    return torch.zeros_like(ys)


def peeking(xs: Tensor, ys: Tensor) -> Tensor:
    """The oracle, moved a tenth of the way to the label that it is to predict."""
    return 0.9 * oracle("mixture")(xs, ys) + 0.1 * ys


def looking_ahead(xs: Tensor, ys: Tensor) -> Tensor:
    """Least squares on all other points of the prompt, later ones too."""
    n = ys.shape[1]
    answers = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        X, y = xs[:, others], ys[:, others]
        w = torch.linalg.solve(X.mT @ X + 0.1 * torch.eye(X.shape[-1]), (X.mT @ y[..., None]))
        answers.append((xs[:, i, None] @ w)[:, 0, 0])
    return torch.stack(answers, 1)


def judged(predict: Predict, **options: Any) -> DecoderReport:
    return judge_predictor(predict, LAW, **options)


def outcomes(report: DecoderReport) -> dict[str, tuple[str, str]]:
    return {one.curve.law: (one.beaten, one.within) for one in report.verdicts}


def test_the_mixture_s_oracle_agrees_everywhere_and_has_the_ratio_one() -> None:
    report = judged(oracle("mixture"))
    assert outcomes(report) == dict.fromkeys(("mixture", "dense", "sparse"), ("agrees", "agrees"))
    assert (report.outcome, report.exit_status) == ("agrees", 0)
    for one in report.verdicts:
        assert one.ratio == pytest.approx(1, rel=1e-12)
        assert one.lowest < 1 < one.highest
        assert one.curve.model == pytest.approx(one.curve.mixture_oracle, rel=1e-12)


def test_each_class_s_own_oracle_is_better_there_and_worse_on_the_other() -> None:
    for own, other in (("dense", "sparse"), ("sparse", "dense")):
        found = {one.curve.law: one for one in judged(oracle(own)).verdicts}
        assert found[own].ratio < 1 < found[other].ratio
        assert found[own].beaten == found[other].beaten == "agrees"
        assert found[own].curve.model == pytest.approx(found[own].curve.oracle, rel=1e-12)
        assert found["mixture"].ratio > 1


def test_a_predictor_that_gives_nothing_is_contradicted() -> None:
    report = judged(zero)
    assert outcomes(report) == dict.fromkeys(("mixture", "dense", "sparse"), ("agrees", "contradicts"))
    assert report.exit_status == 1
    # at no example 0 is the best answer, and E t^2 = 3 and 1: standard errors below 0.1 and 0.05
    dense, sparse = report.verdicts[1].curve, report.verdicts[2].curve
    assert dense.model[0] == pytest.approx(dense.oracle[0]) == pytest.approx(3, abs=0.5)
    assert sparse.model[0] == pytest.approx(sparse.oracle[0]) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("cheat", [peeking, looking_ahead])
def test_a_predictor_that_sees_the_answer_is_caught(cheat: Predict) -> None:
    """Its risk alone would not tell: the one is within a percent of the oracle's."""
    report = judged(cheat)
    assert report.exit_status == 1
    assert {one.beaten for one in report.verdicts} == {"contradicts"}
    assert "sees the answer or what comes after it" in str(report)


def rarely_wild(xs: Tensor, ys: Tensor) -> Tensor:
    """The oracle, but where the first input is beyond 3 (0.27 % of the prompts): there 1000."""
    return torch.where(xs[:, :1, 0].abs() > 3, 1000.0, oracle("mixture")(xs, ys))


def test_rare_errors_that_are_huge_are_no_agreement() -> None:
    """The caps hide them from the interval: 0.27 % of prompts count for 2 E t^2 each, and the ratio is in thousands."""
    report = judged(rarely_wild, prompts=4000)
    for one in report.verdicts[:2]:  # on sparse prompts the interval is wider than the margin
        assert one.highest <= one.factor < one.ratio
        assert one.cut > 0.9
        assert one.within == "inconclusive"
        assert "100 % of the squared distance lies beyond the cap; no interval holds there" in one.sentences()[1]
    assert report.exit_status == 3


def test_agreement_needs_the_measured_ratio_and_a_small_share_beyond_the_cap() -> None:
    curve = Curve("dense", (1.0,), (1.0,), (1.0,))
    found = LawVerdict(curve, 1.5, 1.2, 1.1, 1.4, 0.0, 0, 0.0, 0.1, MOST_BEYOND)
    assert found.within == "agrees"
    assert replace(found, ratio=1.51).within == replace(found, beyond=MOST_BEYOND + 0.01).within == "inconclusive"
    assert replace(found, lowest=1.6, highest=2.0, ratio=9.0, beyond=0.9).within == "contradicts"  # more risk, not less


def test_few_prompts_decide_nothing() -> None:
    report = judged(oracle("mixture"), prompts=20)
    assert report.exit_status == 3
    assert "give more with --prompts" in str(report)
    assert report.as_plain()["laws"][1]["highest"] is None  # nothing is excluded: strict JSON has no infinity


def test_the_same_seed_draws_the_same_prompts_and_another_one_others() -> None:
    first, again, other = (judged(zero, prompts=50, seed=seed) for seed in (0, 0, 1))
    assert first.as_plain() == again.as_plain()
    assert first.verdicts[1].curve.oracle != other.verdicts[1].curve.oracle


def test_a_single_class_is_its_own_mixture() -> None:
    for share, name in ((0.0, "sparse"), (1.0, "dense")):
        law = completed_law({**GIVEN, "dense_probability": share})
        report = judge_predictor(zero, law, prompts=50)
        assert [one.curve.law for one in report.verdicts] == [name]
        assert report.verdicts[0].curve.mixture_oracle == report.verdicts[0].curve.oracle


def test_without_noise_the_class_is_known_one_example_after_the_support(tmp_path: Path) -> None:
    """k + 1 = 2 examples: on sparse prompts nothing is left, on dense ones v (d - n); no noise means 1e-8 of it here.

    Before that, E t^2 = 1; the fraction of prompts at which 1e-8 of noise still matters is of the order of its root.
    """
    law = completed_law({"dimension": 3, "sparsity": 1, "length": 4})
    assert law["evaluated_noise_variance"] == 1e-8
    report = judge_predictor(lambda xs, ys: posterior(laws_of(law)["mixture"], xs, ys).prediction, law)
    _, dense, sparse = (one.curve for one in report.verdicts)
    assert sparse.model[1] > 0.1
    assert max(sparse.model[2:]) < 1e-2
    assert dense.model[2] == pytest.approx(1, abs=0.2)
    assert dense.model[3] < 1e-2
    assert report.outcome == "agrees"


def sums_at(predict: Predict, name: str, prompts: int, key: str) -> dict[str, Any]:
    """Of a law's own oracle alone."""
    return averaged(LAWS[name], predict, LAWS[name], prompts, key, CAP)


def test_means_over_the_prefixes_are_those_of_the_prefixes() -> None:
    """The last entry of each list; of squares and of cut values they are the prompts' own and not larger."""
    found = sums_at(zero, "dense", 40, "means")
    for one in (value for value in found.values() if isinstance(value, dict)):
        assert one["sum"][-1] == pytest.approx(sum(one["sum"][:-1]) / 7, rel=1e-12)
        assert one["squares"][-1] <= sum(one["squares"][:-1]) / 7 * (1 + 1e-12)  # Jensen
        assert one["capped_squares"][-1] <= one["squares"][-1]
    assert len(found) == 7


@pytest.mark.slow
def test_intervals_miss_no_more_often_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a rate of 5 % instead of 1e-6, in 400 evaluations of 300 prompts of sparse functions, whose tails are heavy.

    More than 45 misses of 400 have a probability below 1e-6 if each has at most 5 %.
    """
    assert scipy.stats.binom.sf(45, 400, 0.05) < 1e-6
    monkeypatch.setattr(users_decoders, "RATE", 0.05)
    exact = sums_at(zero, "sparse", 200_000, "exact")
    variance, distance = exact["variance"], exact["distance"]
    ratio = 1 + distance["capped"][-1] / variance["capped"][-1]  # to about 1 %
    beaten = outside = wide = 0
    for repetition in range(400):
        found = verdict_of("sparse", sums_at(zero, "sparse", 300, f"repetition {repetition}"), 1.0)
        beaten += found.beaten == "contradicts"
        outside += not 0.99 * found.lowest <= ratio <= 1.01 * found.highest
        wide += found.highest > 4 * ratio
    assert beaten <= 45
    assert outside <= 45
    assert wide <= 4  # they are not so wide that they could not miss


def test_the_interval_of_the_ratio_is_that_of_its_parts() -> None:
    """D = (F - 1) V + F M with D = 3, V = 1, M = 1: F = 2; sums of n identical prompts have no spread."""
    n, N, cap = 10**9, 2, 10.0

    def same(value: float) -> dict[str, list[float]]:
        one = [n * value] * (N + 1)
        squares = [n * value**2] * (N + 1)
        return {"sum": one, "squares": squares, "capped": one, "capped_squares": squares}

    sums = {
        "count": n,
        "cap": cap,
        "variance": same(1.0),
        "distance": same(3.0),
        "price": same(1.0),
        "cross": same(0.0),
        "cross_variance": same(3.0),
    }
    found = verdict_of("dense", sums, 2.1)
    assert isinstance(found, LawVerdict)
    assert found.ratio == 2
    assert found.lowest < 2 < found.highest
    assert found.highest - found.lowest < 1e-5
    assert (found.beaten, found.within) == ("agrees", "agrees")
    assert verdict_of("dense", sums, 1.9).within == "contradicts"
    for value, outcome in ((2e-4, "agrees"), (3e-4, "contradicts"), (-3e-4, "contradicts")):
        # (1/sqrt 2 + sqrt 2/3) sqrt(3 L/n) with L = log(2 * 2/1e-6) is 2.5e-4, as these Z do not spread
        sums["cross"] = same(value)
        assert verdict_of("dense", sums, 2.1).beaten == outcome


def constant_sums(n: int, variance: float, distance: float, price: float) -> dict[str, Any]:
    """Sums over n identical prompts of two points."""
    numbers = {"variance": variance, "distance": distance, "price": price, "cross": 0.0, "cross_variance": 1.0}
    sums = {
        name: {"sum": [n * x] * 3, "squares": [n * x**2] * 3, "capped": [n * x] * 3, "capped_squares": [n * x**2] * 3}
        for name, x in numbers.items()
    }
    return {"count": n, "cap": 2.0, **sums}


@pytest.mark.parametrize("distance, price", [(0.0, 0.3), (0.05, 0.3), (0.3, 0.3), (0.5, 0.3), (0.3, 0.0)])
def test_the_interval_holds_every_ratio_that_its_parts_leave_open(distance: float, price: float) -> None:
    """Also below 1, where a larger V makes (D + V)/(V + M) larger."""
    found = verdict_of("dense", constant_sums(2000, 1.0, distance, price), 1.5)
    error = deviation(2000, 0.0, 2.0, users_decoders.RATE / 3)
    ratios = [
        (max(0.0, distance + a * error) + 1 + b * error) / (1 + b * error + max(0.0, price + c * error))
        for a, b, c in itertools.product((-1, 0, 1), repeat=3)
    ]
    assert found.lowest == pytest.approx(min(ratios), rel=1e-9)
    assert found.highest == pytest.approx(max(ratios), rel=1e-9)


def test_an_average_that_hides_a_prefix_says_so() -> None:
    """Zero is as good as the oracle before any example, which carries the average, and many times worse at the end."""
    found = judged(zero).verdicts[2]
    quotients = [a / b for a, b in zip(found.curve.model, found.curve.mixture_oracle, strict=True)]
    assert found.farthest == (quotients.index(max(quotients)), max(quotients))
    assert found.as_plain()["largest_ratio"] == max(quotients) > found.ratio
    assert f"; at prefix {found.farthest[0]} {max(quotients):.3g} times" in found.sentences()[1]
    assert "times the risk of the mixture's oracle on average" in found.sentences()[1]
    assert "at prefix" not in judged(oracle("mixture")).verdicts[0].sentences()[1]


def test_numbers_of_one_and_intervals_without_an_end_are_said_in_words() -> None:
    report = judge_predictor(zero, completed_law({"dimension": 1, "length": 1, "sparsity": 1}), prompts=1)
    said = str(report)
    assert "law: 1 point in dimension 1" in said
    assert "(1 fresh prompt of each law" in said
    assert "at least 0 with caps" in said
    assert "inf" not in said
    many = str(judge_predictor(zero, {**LAW, "length": 1}, prompts=400))
    assert "agrees at the only prefix" in many


def test_shown_prefixes_begin_at_none_and_end_at_all() -> None:
    assert shown_prefixes(11) == list(range(11))
    for count in (15, 41, 101, 1000):
        shown = shown_prefixes(count)
        assert (shown[0], shown[-1]) == (0, count - 1)
        assert 10 <= len(shown) <= 14


# What is asked for


def test_defaults_are_those_of_the_papers() -> None:
    law = completed_law({})
    assert (law["dimension"], law["length"], law["sparsity"], law["noise_variance"]) == (20, 41, 2, 0.0)
    assert law["evaluated_noise_variance"] == pytest.approx(2e-8)
    assert completed_law({}, dimension=5, room=101)["length"] == 11
    assert completed_law({}, dimension=5, room=8)["length"] == 8


@pytest.mark.parametrize(
    "given, reason",
    [
        ({"foo": 1}, "no parameter 'foo'"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 2.5}, "dimension needs a whole number"),
        ({"dimension": "5"}, "dimension needs a whole number"),
        ({"length": -1}, "length needs a whole number"),
        ({"sparsity": 21}, "sparsity needs 1 to 20 .* got 21 of 20"),
        ({"sparsity": 0}, "sparsity needs a whole number"),
        ({"sparsity": 10}, "at most 5000 supports to enumerate, got 10 of 20"),
        ({"dense_probability": 1.5}, "dense_probability needs a number from 0 to 1"),
        ({"dense_probability": -0.5}, "dense_probability"),
        ({"dense_variance": 0}, "dense_variance needs a number above 0"),
        ({"sparse_variance": [1]}, "sparse_variance needs one number"),
        ({"noise_variance": -1}, "noise_variance"),
        ({"noise_variance": 1e-12}, "noise_variance needs 0, or at least 2e-08"),
        ({"noise_variance": None}, "noise_variance"),
        ({"dense_variance": 1e200}, r"dense_variance needs a number from 1e-60 to 1e\+60, got 1e\+200"),
        ({"sparse_variance": 1e-200}, r"sparse_variance needs a number from 1e-60 to 1e\+60, got 1e-200"),
        ({"noise_variance": 1e300}, r"noise_variance needs a number of at most 1e\+60, got 1e\+300"),
        ({"dimension": 10000, "sparsity": 1}, "at most 5000 supports to enumerate, got 1 of 10000, which has 10000"),
    ],
)
def test_a_law_that_is_none_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        completed_law(given)
    assert type(refusal.value).__module__.startswith("iclcheck.")
    assert "\n" not in str(refusal.value)


def test_a_checkpoint_has_its_own_dimension_and_room() -> None:
    with pytest.raises(UsageError, match="dimension 5, got --set dimension=6"):
        completed_law({"dimension": 6}, dimension=5)
    with pytest.raises(UsageError, match="room for 8 points, got length=9; give length=8 or less"):
        completed_law({"length": 9}, dimension=5, room=8)


@pytest.mark.parametrize("options", [{"within": 0.0}, {"within": math.nan}, {"within": math.inf}, {"prompts": 0}])
def test_a_margin_or_a_size_that_says_nothing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"--within needs|--prompts needs"):
        check_decoder(lambda *_: 0.0, **options)  # type: ignore[arg-type]


# The command

CODE = """
import numpy as np

def ridge(xs, ys, x_query):
    d = xs.shape[-1]
    moments = np.einsum("bni,bnj->bij", xs, xs) + 0.1 * np.eye(d)
    w = np.linalg.solve(moments, np.einsum("bni,bn->bi", xs, ys)[..., None])[..., 0]
    return (w * x_query).sum(-1)

ridge.batched = True

def nothing(xs, ys, x_query):
    return 0

def broken(xs, ys, x_query):
    return 1 / len(ys)
"""
SETTINGS = [part for name, value in GIVEN.items() for part in ("--set", f"{name}={json.dumps(value)}")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "mine.py").write_text(CODE)
    model = Decoder(DecoderShape(3, 7, 8, 1, 2), "untrained")
    torch.save({"model_state_dict": model.state_dict(), "train_step": 0}, tmp_path / "state.pt")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    np.savez(tmp_path / "layer.npz", W_PV=np.eye(3), W_KQ=np.eye(3))
    return tmp_path


def command(model: str, *more: str) -> list[str]:
    return ["check", "model-selection", "--model", model, *more]


def test_a_function_is_judged_by_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("mine.py:ridge", *SETTINGS)) == 3  # on sparse prompts, 1.3 times the oracle's risk
    said = capsys.readouterr()
    assert all(line.startswith("evaluated ") for line in said.err.splitlines())  # on a slow machine
    lines = said.out.splitlines()
    assert lines[0] == (
        "law: 7 points in dimension 3, w ~ N(0, 1 I) with probability 0.5, else 1 nonzero of variance 1; "
        "noise variance 0.1"
    )
    assert any(line.startswith("  dense, within 1.5: agrees: ") for line in lines)
    assert main(command("mine:nothing", *SETTINGS, "--json", "--seed", "1")) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["claim"], found["outcome"], found["exit_status"]) == ("model-selection", "contradicts", 1)
    assert [len(one["risks"]["model"]) for one in found["laws"]] == [7, 7, 7]
    assert found["checkpoint"] is None


def test_the_ridge_of_the_dense_class_is_its_oracle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """w ~ N(0, I) and noise 0.1: ridge with the penalty 0.1, written by the user in three lines."""
    main(command("mine.py:ridge", *SETTINGS, "--json", "--prompts", "100"))
    dense = json.loads(capsys.readouterr().out)["laws"][1]["risks"]
    assert dense["model"] == pytest.approx(dense["oracle"], rel=1e-9)


@pytest.mark.parametrize("file", ["state.pt", "model.safetensors"])
def test_a_checkpoint_is_judged_by_the_command(folder: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--heads", "2", "--set", "sparsity=1", "--set", "noise_variance=0.1"]
    assert main(command(file, *arguments)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{file}: a decoder of 1 layer, width 8, 2 heads (as given), for 7 points in dimension 3"
    assert said[1].startswith("law: 7 points in dimension 3")
    assert main([*command(file, *arguments), "--within", "1000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoint"] == {
        "dimension": 3, "positions": 7, "width": 8, "layers": 1, "heads": 2, "heads_from": "as given",
    }  # fmt: skip
    report = check_decoder(folder / file, heads=2, sparsity=1, noise_variance=0.1, within=1000)
    assert found["laws"] == report.as_plain()["laws"]


def test_a_function_and_a_module_are_judged_in_python(folder: Path) -> None:
    report = check_decoder(lambda xs, ys, x_query: 0.0, prompts=10, **GIVEN)
    assert report.verdicts[0].curve.model == judged(zero, prompts=10).verdicts[0].curve.model
    module = check_decoder(Decoder(DecoderShape(3, 7, 8, 1, 2)), prompts=10, **GIVEN)
    assert module.verdicts[0].curve.law == "mixture"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (command("absent.pt"), ["cannot be opened"]),
        (command("mine.py"), ["none of them"]),
        (command("layer.npz"), ["need the state dict of a decoder", "W_PV", "check fixed-point"]),
        (command("state.pt"), ["--heads"]),
        (command("state.pt", "--heads", "3"), ["divide the width 8", "got 3"]),
        (command("state.pt", "--heads", "two"), ["--heads", "see iclcheck check --help"]),
        (command("state.pt", "--heads", "2", "--set", "length=8"), ["room for 7 points"]),
        (command("state.pt", "--heads", "2", "--set", "dimension=5"), ["dimension 3"]),
        (command("state.pt", "--heads", "2", "--set", "foo=5"), ["no parameter 'foo'"]),
        (command("state.pt", "--prompts", "0"), ["--prompts needs"]),
        (command("state.pt", "--within", "0"), ["--within needs"]),
        (command("state.pt", "--name", "W_PV=x"), ["--name maps W_PV and W_KQ"]),
        (command("mine.py:ridge", "--heads", "2"), ["--heads belongs to a checkpoint"]),
        (command("mine.py:broken", *SETTINGS), ["mine.py:broken fails after 0 examples", "line 16"]),
        (command("mine.py:absent"), ["mine.py has no absent", "ridge"]),
        (command("elsewhere.py:f"), ["no file elsewhere.py"]),
        (command("elsewhere:f"), ["cannot be imported"]),
        (command("mine.py:"), ["need package.module:function"]),
        *(
            (command("state.pt", *option), [option[0], "--prompts"])
            for option in (("--profile", "quick"), ("--device", "cpu"), ("--record", "x"), ("--workers", "2"))
        ),
        (["check", "fixed-point", "--model", "mine.py:ridge"], ["needs covariance, context_length"]),
        (["check", "fixed-point", "--model", "layer.npz", "--heads", "2"], ["--heads belongs to a decoder"]),
        (["check", "fixed-point", "--model", "layer.npz", "--prompts", "2"], ["--prompts belongs to a decoder"]),
        (["check", "--model", "state.pt"], ["fixed-point", "model-selection"]),
        (["check", "model-selection", "fixed-point", "--model", "state.pt"], ["--model judges"]),
        (["check", "fixed-point", "--heads", "2"], ["--heads", "add --model FILE"]),
        (["check", "fixed-point", "--prompts", "2"], ["--prompts", "add --model FILE"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(
    folder: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("iclcheck: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err


def test_a_file_is_refused_before_torch_is_imported(folder: Path) -> None:
    """Wrong shapes, missing heads, a law that is none: torch would take seconds."""
    torch.save({"_read_in.weight": torch.ones(2, 2), "_backbone.wpe.weight": torch.ones(4, 3)}, "wrong.pt")
    code = """
import sys
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.decoders import users_decoders
judge = ["check", "model-selection", "--model"]
assert main([*judge, "wrong.pt"]) == main([*judge, "state.pt"]) == main([*judge, "mine.py"]) == 2
assert main([*judge, "state.pt", "--heads", "2", "--set", "length=80"]) == 2
assert main([*judge, "mine.py:ridge", "--set", "sparsity=80"]) == main([*judge, "mine.py:absent"]) == 2
sys.exit("torch was imported" if "torch" in sys.modules else 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(iclcheck.__file__).parents[1])}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
