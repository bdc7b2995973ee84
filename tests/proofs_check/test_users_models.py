"""The verdict on a model that is only asked: one step or not, which one, and how far from what else."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import iclcheck
from iclcheck import Convention
from iclcheck.numerics.black_box.effective_weights import NotLinearAttentionError
from iclcheck.numerics.one_layer.observables import Blocks, weights_from_blocks
from iclcheck.proofs_check.black_box.models import CAP, judge_model
from iclcheck.proofs_check.black_box.report import ModelReport, Sampled
from iclcheck.proofs_check.claims.parameters import UsageError
from iclcheck.proofs_check.command_line import main

Array = NDArray[np.float64]
N = 4
LAW: dict[str, Any] = {"covariance": [[1.0, 0.3], [0.3, 0.6]], "context_length": N, "noise_variance": 0.1}
A = np.array(iclcheck.predict("fixed-point", **LAW)["preconditioner"])


def step_with(preconditioner: Array) -> Callable[..., Any]:
    def step(xs: Array, ys: Array, q: Array) -> Any:
        return np.einsum("bn,bnd,de,be->b", ys, xs, preconditioner, q) / xs.shape[1]

    step.batched = True  # type: ignore[attr-defined]
    return step


def least_squares(xs: Array, ys: Array, q: Array) -> Any:
    return np.linalg.lstsq(xs, ys, rcond=None)[0] @ q


class Layer(nn.Module):
    """E + P E (E^T Q E) times a factor, weights as the convention writes them."""

    def __init__(self, convention: Convention, W_PV: Array, W_KQ: Array) -> None:
        super().__init__()
        self.convention = convention
        self.W_PV, self.W_KQ = (nn.Parameter(torch.tensor(one)) for one in convention.written(W_PV, W_KQ, N))

    def forward(self, E: Tensor) -> Tensor:
        E = E.mT if self.convention.tokens == "rows" else E
        value = self.W_PV.mT if self.convention.tokens == "rows" else self.W_PV
        key_query = self.W_KQ.mT if self.convention.score == "queries first" else self.W_KQ
        tokens = E[..., :-1] if self.convention.query == "masked" else E
        count = E.shape[-1] - 1
        norm = {"1/N": 1 / count, "1/(N+1)": 1 / (count + 1), "none": 1.0}[self.convention.normalisation]
        hidden = E + norm * (value @ tokens @ (tokens.mT @ key_query @ E))
        return hidden.mT if self.convention.tokens == "rows" else hidden


def weights(preconditioner: Array, u12: Any = 0.0, u21: Any = 0.0) -> tuple[Array, Array]:
    d = len(preconditioner)
    return weights_from_blocks(Blocks(np.full(d, u12), np.array(1.0), preconditioner, np.full(d, u21)))


def judged(model: Any, **options: Any) -> ModelReport:
    return judge_model(model, LAW, **options)


def test_the_predicted_step_agrees_exactly_and_nothing_is_sampled_for_it() -> None:
    report = judged(step_with(A), within=1e-12)
    assert (report.outcome, report.exit_status, report.lengths) == ("agrees", 0, "1/N")
    assert report.read is not None
    assert report.read.distance < 1e-14
    assert "is one step of preconditioned gradient descent up to rounding" in str(report)
    squares = report.layers[0].squares
    assert squares["the predicted step"][0] < 1e-30
    assert squares["Bayes"][0] < squares["least squares"][0]


def test_a_gain_of_three_percent_is_told_by_the_weights_and_not_by_a_cosine() -> None:
    tight, loose = judged(step_with(1.03 * A), within=0.02), judged(step_with(1.03 * A))
    assert (tight.exit_status, loose.exit_status) == (1, 0)
    assert tight.read is not None
    assert tight.read.distance == pytest.approx(0.03, rel=1e-9)
    assert tight.layers[0].alignment["cosine"] == pytest.approx(1)
    assert tight.wrong["gain 10 % too large"]["cosine"] == pytest.approx(1)
    # the other two metrics are 0.3 of those of a gain that is 10 % too large
    for name in ("prediction_difference", "model_difference"):
        measured, wrong = tight.layers[0].alignment[name], tight.wrong["gain 10 % too large"][name]
        assert measured is not None
        assert wrong is not None
        assert measured / wrong == pytest.approx(0.3, rel=1e-6)


CONVENTIONS = [
    Convention(normalisation, query, sign, score, tokens)
    for normalisation in ("1/N", "1/(N+1)", "none")
    for query in ("inside", "masked")
    for sign in (1, -1)
    for score in ("keys first", "queries first")
    for tokens in ("columns", "rows")
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=repr)
def test_one_function_is_recognised_in_every_convention_from_its_answers(convention: Convention) -> None:
    """Only the sign and the side of the tokens have to be stated: the rest is in the function."""
    model = Layer(convention, *weights(A))
    stated = Convention(sign=convention.sign, tokens=convention.tokens)
    report = judged(model, convention=stated, prompts=100, within=1e-9)
    assert (report.outcome, report.lengths) == ("agrees", convention.normalisation)
    assert report.form.query == "not identifiable"
    leaking = judged(Layer(convention, *weights(A, 0.3, 0.2)), convention=stated, prompts=100)
    assert leaking.form.query == convention.query


def test_a_wrong_sign_and_a_missing_division_are_named() -> None:
    flipped = judged(Layer(Convention(sign=-1), *weights(A)), prompts=100)
    assert flipped.exit_status == 1
    assert "your weights match under '1/N over the context and the opposite sign'" in str(flipped)
    undivided = judged(step_with(N * A), prompts=100)
    assert undivided.read is not None
    assert undivided.read.wrong_factor == pytest.approx(N)
    assert f"that is N = {N}: the sum over tokens is not divided by N" in str(undivided)
    wrong = judged(step_with(1.37 * A), prompts=100)
    assert "a wrong overall factor: your weights are 1.37 times the prediction" in str(wrong)


def test_any_preconditioner_is_one_step_and_it_is_given() -> None:
    other = np.array([[0.2, 0.1], [-0.3, 0.7]])
    report = judged(step_with(other), claim="preconditioned-gradient-step")
    assert report.outcome == "agrees"
    np.testing.assert_allclose(report.form.preconditioner, other, rtol=1e-13)
    assert "preconditioner A, for yhat = s^T A x_q:\n  0.2  0.1\n  -0.3  0.7" in str(report)
    assert judged(step_with(other)).outcome == "contradicts"


def test_a_layer_with_an_even_part_is_judged_on_prompts_and_its_weights_are_shown() -> None:
    small, large = (judged(Layer(Convention(), *weights(A, u12, 0.0))) for u12 in (0.01, 1.0))
    assert (small.outcome, large.outcome) == ("agrees", "contradicts")
    for report in (small, large):
        assert report.exact is None
        assert report.read is not None
        assert report.read.distance < 1e-12
        assert "of its answers is even in the labels: no step has it" in str(report)
        assert "preconditioner A, for yhat = s^T A x_q, and the even part:" in str(report)
    undivided = judged(Layer(Convention(), *weights(A / N, 0.01, 0.0)))
    assert undivided.outcome == "contradicts"
    assert "your weights match under 'no 1/N'" in str(undivided)


def test_least_squares_is_no_step_and_is_recognised_as_least_squares() -> None:
    for claim in ("fixed-point", "preconditioned-gradient-step"):
        report = judged(least_squares, claim=claim)
        assert (report.outcome, report.read, report.lengths) == ("contradicts", None, None)
        assert report.layers[0].squares["least squares"][0] < 1e-20
        assert "no layer of linear attention" in str(report)
        assert "with caps; allowed 0.05" in str(report)


def bent(share: float, preconditioner: Array = A) -> Callable[..., Any]:
    """A step times 1 + share tanh(q_1): E tanh^2 of a standard normal is 0.394."""
    step = step_with(preconditioner)

    def model(xs: Array, ys: Array, q: Array) -> Any:
        return step(xs, ys, q) * (1 + share * np.tanh(q[:, 0]))

    model.batched = True  # type: ignore[attr-defined]
    return model


@pytest.mark.parametrize("share, outcome", [(0.01, "agrees"), (0.07, "inconclusive"), (0.5, "contradicts")])
def test_a_model_that_is_nearly_the_step_is_judged_on_fresh_prompts(share: float, outcome: str) -> None:
    for claim in ("fixed-point", "preconditioned-gradient-step"):
        report = judged(bent(share), claim=claim)
        assert report.exact is None
        assert report.outcome == report.sampled.outcome == outcome
        assert ("give more with --prompts" in str(report)) == (outcome == "inconclusive")


def test_a_model_that_is_nearly_another_step_is_a_step_and_not_the_predicted_one() -> None:
    other = bent(0.01, np.array([[0.2, 0.1], [-0.3, 0.7]]))
    assert judged(other, claim="preconditioned-gradient-step").outcome == "agrees"
    assert judged(other).outcome == "contradicts"


@pytest.mark.parametrize("scale, task", [(1.0, 1.0), (2.0, 0.5), (0.3, 4.0)])
def test_the_exact_risks_are_those_of_the_predictors_on_the_prompts(scale: float, task: float) -> None:
    """N = 8, d = 2: means of 20,000 squares with finite fourth moments, within five standard errors."""
    eye = np.eye(2)
    law = {"covariance": scale * eye, "task_covariance": task * eye, "context_length": 8, "noise_variance": 0.2}
    report = judge_model(step_with(eye), law, prompts=20000)
    assert set(report.exact_risks) == {"the predicted step", "zero", "least squares", "Bayes"}
    for name, exact in report.exact_risks.items():
        mean, error = report.errors[name]
        assert abs(mean - exact) < 5 * error, name
    assert "infinite" in str(judge_model(step_with(eye), {**law, "context_length": 3}, prompts=50))
    assert set(judged(step_with(eye), prompts=50).exact_risks) == {"the predicted step", "zero"}


def test_the_sampled_statement_is_about_squares_in_units_of_the_step() -> None:
    """E (f - g)^2/E g^2 of the step times 1.3 plus nothing else is 0.09; an even part keeps it from being exact."""
    model = step_with(1.3 * A)

    def even(xs: Array, ys: Array, q: Array) -> Any:
        return model(xs, ys, q) + 1e-6 * q[:, 0]

    even.batched = True  # type: ignore[attr-defined]
    report = judged(even, within=0.5, prompts=20000)
    # the standard error of a mean of squares with kurtosis below 100 is at most 10/sqrt(20000) of it; five of them
    assert report.sampled.mean == pytest.approx(0.09, rel=0.35)
    assert report.sampled.lowest < 0.09 < report.sampled.highest
    assert report.outcome == "agrees"


@pytest.mark.parametrize(
    "sampled, outcome",
    [
        (Sampled(0.5, 0.2, 0.8, 0.0, 1.0, 0.05), "agrees"),
        (Sampled(5.0, 1.1, 1.3, 0.9, 1.0, 0.05), "contradicts"),
        (Sampled(0.9, 0.2, 1.1, 0.0, 1.0, 0.05), "inconclusive"),
        (Sampled(1.1, 0.2, 0.8, 0.3, 1.0, 0.05), "inconclusive"),
        (Sampled(0.9, 0.2, 0.8, 0.06, 1.0, 0.05), "inconclusive"),
    ],
)
def test_agreement_needs_interval_mean_and_what_lies_beyond_the_caps(sampled: Sampled, outcome: str) -> None:
    assert sampled.outcome == outcome


def test_a_rare_wild_answer_is_never_agreement() -> None:
    """The predicted step, but 1000 where the query is beyond 3: 0.3 % of the prompts, which a cap would hide."""
    step = step_with(A)

    def wild(xs: Array, ys: Array, q: Array) -> Any:
        return np.where(np.abs(q[:, 0]) > 3, 1000.0, step(xs, ys, q))

    wild.batched = True  # type: ignore[attr-defined]
    report = judged(wild)
    assert report.outcome != "agrees"
    assert report.sampled.beyond > 0.5
    assert CAP > 1


def test_layers_are_shown_one_by_one_and_the_last_is_judged() -> None:
    step = step_with(A)

    def layers(xs: Array, ys: Array, q: Array) -> Any:
        return np.stack([0 * q[:, 0], step(xs, ys, q)], 1)

    layers.batched = True  # type: ignore[attr-defined]
    report = judged(layers)
    assert report.outcome == "agrees"
    assert [one.layer for one in report.layers] == ["after layer 1", "after layer 2"]
    assert [one.squares["zero"][0] > 0 for one in report.layers] == [False, True]
    assert report.layers[0].alignment["cosine"] is None
    assert "after layer 1  after layer 2" in str(report)


def test_the_report_is_strict_json_and_shows_in_notebooks() -> None:
    report = judged(least_squares, prompts=50)
    plain = json.loads(json.dumps(report.as_plain(), allow_nan=False))
    assert plain["preconditioner"] is None
    assert plain["form"]["is_linear_attention"] is False
    assert "<pre" in report._repr_html_()
    assert str(report) in report._repr_markdown_()


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"claim": "test-risk"}, "a model of your own is judged against fixed-point, preconditioned-gradient-step"),
        ({"claim": "fixed-pont"}, "fixed-point"),
        ({"within": 0.0}, "--within needs a number between 0 and 1"),
        ({"prompts": 1}, "--prompts needs a whole number from 2"),
        ({"convention": "nope"}, "no convention is called 'nope'"),
        ({"sparsity": 3}, "has no parameter 'sparsity'"),
        ({"claim": "model-selection", "convention": "ACDS"}, "a convention is of one layer's weights"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as said:
        iclcheck.check_model(step_with(A), **{**LAW, **options})
    assert "\n" not in str(said.value)


def test_one_door_takes_functions_modules_files_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    W_PV, W_KQ = weights(A)
    np.savez(tmp_path / "weights.npz", W_PV=W_PV, W_KQ=W_KQ)
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    law = {**LAW, "prompts": 50}
    assert iclcheck.check_model(step_with(A), **law).exit_status == 0
    assert iclcheck.check_model(Layer(Convention(), W_PV, W_KQ), **law).exit_status == 0
    assert iclcheck.check_model("mine.py:half", claim="preconditioned-gradient-step", **law).exit_status == 0
    assert iclcheck.check_model("weights.npz", **LAW).exit_status == 0
    assert iclcheck.check_model(Path("weights.npz"), convention="no-1/N", **LAW).exit_status == 1
    small: dict[str, Any] = {
        "claim": "model-selection",
        "dimension": 2,
        "sparsity": 1,
        "noise_variance": 0.1,
        "prompts": 20,
    }
    assert iclcheck.check_model(lambda xs, ys, q: 0.0, **small).exit_status in (1, 3)
    with pytest.raises(UsageError, match="weights in a file are judged against fixed-point"):
        iclcheck.check_model("weights.npz", claim="preconditioned-gradient-step", **LAW)
    with pytest.raises(UsageError, match="got the type ndarray; arrays are judged by check_weights"):
        iclcheck.check_model(W_PV, **LAW)


def test_effective_weights_are_read_or_refused_in_python() -> None:
    found = iclcheck.effective_weights(step_with(A), dimension=2, context_length=N)
    np.testing.assert_allclose(found.preconditioner, A, rtol=1e-13)
    with pytest.raises(NotLinearAttentionError, match="least_squares is no layer of linear attention"):
        iclcheck.effective_weights(least_squares, dimension=2, context_length=N)


MINE = """
import numpy as np

def half(xs, ys, x_query):
    return ys @ xs @ x_query / (2 * len(xs))

def breaks(xs, ys, x_query):
    raise RuntimeError("no")
"""


def test_the_command_judges_a_function_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    isotropic = ["--set", "covariance=[[1, 0], [0, 1]]", "--set", "context_length=3"]  # A* = 3/(3 + 2 + 1) I
    for claim in ("fixed-point", "preconditioned-gradient-step"):
        assert main(["check", claim, "--model", "mine.py:half", *isotropic, "--prompts", "50", "--seed", "3"]) == 0
    assert "mine.py:half is one step" in capsys.readouterr().out
    assert main(["check", "fixed-point", "--model", "mine.py:half", *isotropic, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["divides"] == "1/N"
    refusals = {
        ("mine.py:breaks", ()): "RuntimeError: no (mine.py, line 8)",
        ("mine.py:half", ("--heads", "2")): "--heads belongs to a file",
        ("mine.py:half", ("--name", "W_PV=x")): "--name belongs to a file",
        ("mine.py:nothing", ()): "mine.py has no nothing",
    }
    for (model, options), reason in refusals.items():
        assert main(["check", "fixed-point", "--model", model, *isotropic, *options]) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1
    assert main(["check", "preconditioned-gradient-step", "--model", "weights.npz", *isotropic]) == 2
    assert "judges functions; weights in a file are judged by" in capsys.readouterr().err


def test_the_example_of_the_page_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that does not depend on the last digit: verdict, preconditioner, the names of the tables."""
    page = (Path(__file__).parents[2] / "docs" / "users_models.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# mine\.py\n(.*?)```", page, flags=re.S)
    ((command, output),) = re.findall(r"```console\n\$ iclcheck (.*?)\n(.*?)```", page, flags=re.S)
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert main(shlex.split(command)) == 0
    said, shown = capsys.readouterr().out.splitlines(), output.splitlines()
    assert said[0] == shown[0]
    assert said[2:6] == shown[2:6]
    assert [line[:36] for line in said[6:]] == [line[:36] for line in shown[6:]]
