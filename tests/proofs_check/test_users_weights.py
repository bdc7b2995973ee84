"""The verdict on weights that a user brings: what agrees, what contradicts, and which convention is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import iclcheck
from iclcheck import Convention
from iclcheck.numerics.one_layer.observables import Blocks, weights_from_blocks
from iclcheck.numerics.users_models.conventions import NORMS
from iclcheck.proofs_check.claims.settings import generator, random_covariance
from iclcheck.proofs_check.claims.users_weights import WeightsReport, judge_weights
from iclcheck.proofs_check.command_line import main

Array = NDArray[np.float64]
Weights = tuple[Array, Array]
N = 5
NOISE = 0.3
DIMENSIONS = pytest.mark.parametrize("d", [1, 2, 3])
ROUNDING = 1e-12  # relative; the formulas take some hundred operations on well-conditioned 3 x 3 matrices


def law_of(d: int) -> dict[str, Any]:
    """Lambda and Psi that do not commute, and noise: condition numbers up to 3."""
    draw = generator("test of users' weights", d)
    return {
        "covariance": random_covariance(draw, d, 3.0).tolist(),
        "context_length": N,
        "task_covariance": random_covariance(draw, d, 3.0).tolist(),
        "noise_variance": NOISE,
    }


def noiseless(d: int) -> dict[str, Any]:
    return {"covariance": law_of(d)["covariance"], "context_length": N}


def preconditioner(law: dict[str, Any]) -> Array:
    return np.array(iclcheck.predict("fixed-point", **law)["preconditioner"])


def layer(U: Any, u: float = 1.0, u12: Any = 0.0, u21: Any = 0.0) -> Weights:
    """W_PV and W_KQ with these blocks, and numbers that must not matter where no block is."""
    d = len(U)
    W_PV, W_KQ = np.full((d + 1, d + 1), 7.0), np.full((d + 1, d + 1), -3.0)
    W_PV[-1, :-1], W_PV[-1, -1] = u12, u
    W_KQ[:-1, :-1], W_KQ[-1, :-1] = U, u21
    return W_PV, W_KQ


def judged(
    weights: Weights, law: dict[str, Any], within: float = 0.05, convention: Convention | str = "iclcheck"
) -> WeightsReport:
    return judge_weights({"W_PV": weights[0], "W_KQ": weights[1]}, law, within=within, convention=convention)


def direction(d: int) -> Array:
    """A random matrix of Frobenius norm 1, not symmetric."""
    matrix = generator("direction", d).normal(size=(d, d))
    return np.asarray(matrix / np.linalg.norm(matrix))


@DIMENSIONS
def test_the_predicted_weights_agree_however_small_the_margin(d: int) -> None:
    law = law_of(d)
    predicted = iclcheck.predict("fixed-point", **law)
    report = judged((np.array(predicted["value_weights"]), np.array(predicted["key_query_weights"])), law, ROUNDING)
    assert (report.outcome, report.exit_status) == ("agrees", 0)
    assert report.leak == 0
    assert abs(report.balance) < ROUNDING
    assert abs(report.excess_risk) < ROUNDING * report.minimal_risk
    assert report.better_fit == ()


@DIMENSIONS
def test_three_percent_off_fails_at_two_and_passes_at_five(d: int) -> None:
    law = law_of(d)
    A = preconditioner(law)
    size = np.linalg.norm(A)
    for wrong in (1.03 * A, 0.97 * A, A + 0.03 * size * direction(d)):
        tight, loose = judged(layer(wrong), law, 0.02), judged(layer(wrong), law, 0.05)
        assert tight.distance == loose.distance == pytest.approx(0.03, rel=1e-9)
        assert (tight.outcome, tight.exit_status) == ("contradicts", 1)
        assert (loose.outcome, loose.exit_status) == ("agrees", 0)
        assert loose.excess_risk > 0


@DIMENSIONS
@pytest.mark.parametrize("c", [3.0, 1e-4, -1.0, -250.0])
def test_scale_and_common_sign_change_nothing(d: int, c: float) -> None:
    """(c W_PV, W_KQ/c) is the same function, also for negative c; here all blocks are different from zero."""
    law = law_of(d)
    draw = generator("scale", d)
    W_PV, W_KQ = layer(draw.normal(size=(d, d)), 0.7, draw.normal(size=d), draw.normal(size=d))
    first, second = judged((W_PV, W_KQ), law), judged((c * W_PV, W_KQ / c), law)
    assert second.outcome == first.outcome
    for name in ("distance", "leak", "excess_risk", "minimal_risk"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), rel=ROUNDING), name
    np.testing.assert_allclose(second.preconditioner, first.preconditioner, rtol=ROUNDING)
    flipped = judged((-W_PV, W_KQ), law)
    assert flipped.distance != pytest.approx(first.distance)  # the control: one sign alone is another function


@DIMENSIONS
def test_a_leak_counts_beyond_one_dimension(d: int) -> None:
    """u U + u12 u21^T = A* exactly, with |u12| |u21| = 0.04 |A*|; at d = 1 the two terms are one number."""
    law = law_of(d)
    A = preconditioner(law)
    draw = generator("leak", d)
    u12, u21 = draw.normal(size=d), draw.normal(size=d)
    u12 *= 0.04 * np.linalg.norm(A) / (np.linalg.norm(u12) * np.linalg.norm(u21))
    weights = layer(A - np.outer(u12, u21), 1.0, u12, u21)
    tight, loose = judged(weights, law, 0.03), judged(weights, law, 0.05)
    assert loose.distance < ROUNDING
    assert loose.leak == pytest.approx(0.04, rel=1e-9)
    assert loose.outcome == "agrees"
    assert tight.outcome == ("agrees" if d == 1 else "contradicts")
    assert ("part of A for d = 1" in str(tight)) == (d == 1)
    # One of the two alone is no leak, and moves A not at all.
    assert judged(layer(A, 1.0, 0.0, u21), law, 1e-9).outcome == "agrees"


CONVENTIONS: dict[str, Callable[[dict[str, Any]], Array]] = {
    "no 1/N": lambda law: preconditioner(law) / N,
    "1/(N+1) in place of 1/N": lambda law: preconditioner(law) * (N + 1) / N,
    "1/N over the context and the opposite sign": lambda law: -preconditioner(law),
    "no 1/N and the opposite sign": lambda law: -preconditioner(law) / N,
    "1/(N+1) in place of 1/N and the opposite sign": lambda law: -preconditioner(law) * (N + 1) / N,
    "trained on inputs 2 x": lambda law: preconditioner(scaled(law, 2.0)),
    "trained on inputs x / 2": lambda law: preconditioner(scaled(law, 0.5)),
    "trained on inputs sqrt(d) x": lambda law: preconditioner(scaled(law, 3**0.5)),
    "trained on inputs x / sqrt(d)": lambda law: preconditioner(scaled(law, 3**-0.5)),
    "the inverse (Gamma itself called the preconditioner)": lambda law: np.asarray(np.linalg.inv(preconditioner(law))),
}


def scaled(law: dict[str, Any], factor: float) -> dict[str, Any]:
    return {**law, "covariance": (factor**2 * np.array(law["covariance"])).tolist()}


@pytest.mark.parametrize("make", [law_of, noiseless])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_made_in_another_convention_are_named_by_it(convention: str, make: Any) -> None:
    """d = 3 and N = 5, where no two conventions are the same; the gauge of the weights does not matter."""
    law = make(3)
    W_PV, W_KQ = layer(CONVENTIONS[convention](law))
    report = judged((-0.2 * W_PV, W_KQ / -0.2), law)
    assert report.outcome == "contradicts"
    assert report.better_fit[0].convention == convention
    assert report.better_fit[0].distance < ROUNDING
    assert all(other.distance > 1e-3 for other in report.better_fit[1:])
    assert f"your weights match under '{convention}' (distance" in str(report)


def test_weights_of_no_convention_are_given_none() -> None:
    """Right ones, untrained ones, and ones that are off by 1, 3 and 10 times |A*| in a random direction."""
    law = law_of(3)
    A = preconditioner(law)
    off = np.linalg.norm(A) * direction(3)
    for U in (A, 0 * A, A + off, A + 3 * off, A + 10 * off):
        assert judged(layer(U), law).better_fit == ()


def test_conventions_that_are_the_same_for_a_law_are_all_named() -> None:
    """Without noise 2 x is a factor 1/4, which at N = 4 leaving out 1/N is too."""
    law = {**noiseless(2), "context_length": 4}
    report = judged(layer(preconditioner(law) / 4), law)
    assert [fit.convention for fit in report.better_fit[:2]] == ["no 1/N", "trained on inputs 2 x"]


EVERY = [
    Convention(normalisation, query, sign, score, tokens, input_scale=scale)
    for normalisation in ("1/N", "1/(N+1)", "none")
    for query in ("inside", "masked")
    for sign in (1, -1)
    for score in ("keys first", "queries first")
    for tokens in ("columns", "rows")
    for scale in (1.0, 2.0)
]


def same_function_in(convention: Convention, law: dict[str, Any]) -> Weights:
    """The minimum for the inputs of the convention, with a small even part, as the convention writes it."""
    A = preconditioner(scaled(law, convention.input_scale))
    u12, u21 = np.zeros(len(A)), np.zeros(len(A))
    u12[0] = 0.01  # so that W_PV has a side; |u12| |u21| = 0
    return convention.written(*weights_of(A, u12, u21), N)


def weights_of(A: Array, u12: Array, u21: Array) -> Weights:
    """Weights with zeros where no block is, so that every transpose has the same entries."""
    return weights_from_blocks(Blocks(u12, np.array(1.0), A, u21))


@pytest.mark.parametrize("convention", EVERY, ids=repr)
def test_one_function_is_recognised_in_every_convention_that_it_is_saved_in(convention: Convention) -> None:
    law = law_of(3)
    report = judged(same_function_in(convention, law), law, 1e-9, convention)
    assert report.outcome == "agrees"
    assert report.distance < ROUNDING
    assert (report.better_fit, report.wrong_factor) == ((), None)
    assert f"read in the convention: {convention}" in str(report)


@pytest.mark.parametrize("convention", EVERY, ids=repr)
def test_a_wrongly_stated_convention_is_contradicted_and_the_right_one_named(convention: Convention) -> None:
    """Stated is what differs in the normalisation; the verdict stays, whatever the weights would match."""
    law = law_of(3)
    weights = same_function_in(convention, law)
    right = NORMS[convention.normalisation]
    others: Any = {"1/N", "none", "1/(N+1)"} - {convention.normalisation}
    for wrong in others:
        report = judged(weights, law, 1e-6, replace(convention, normalisation=wrong))
        assert (report.outcome, report.exit_status) == ("contradicts", 1)
        assert next(fit.convention for fit in report.better_fit if fit.matches) == right
        assert f"your weights match under '{right}' (distance" in str(report)
        assert report.distance > 0.1


def test_a_wrong_sign_and_wrong_sides_are_named_too() -> None:
    law = law_of(3)
    draw = generator("sides", 0)
    A = preconditioner(law)
    # 0.02 |A*| of an antisymmetric part and of u12: within 5 %, and no transpose leaves the blocks
    turn = draw.normal(size=(3, 3))
    U = A + 0.02 * np.linalg.norm(A) * (turn - turn.T) / np.linalg.norm(turn - turn.T)
    weights = weights_of(U, np.array([0.01, 0.0, 0.0]), np.zeros(3))
    flipped = judged(weights, law, 0.025, Convention(sign=-1))
    assert flipped.better_fit[0].convention == "1/N over the context and the opposite sign"
    assert [fit.convention for fit in judged(weights, law, 0.025).also_agree] == [
        "W_KQ transposed", "W_PV transposed", "W_KQ transposed and W_PV transposed",
    ]  # fmt: skip
    lopsided = weights_of(A + np.outer([0.5, 0, 0], [0, 0.5, 0]), np.zeros(3), np.array([0.2, 0.0, 0.0]))
    stated = judged(lopsided, law, 0.05)
    assert stated.outcome == "contradicts"
    assert stated.better_fit == ()


@DIMENSIONS
def test_what_leaves_the_map_unchanged_is_reported_as_not_identifiable(d: int) -> None:
    law = law_of(d)
    A = preconditioner(law)
    A = (A + A.T) / 2  # exactly symmetric
    zero = np.zeros(d)
    idle = judged(weights_of(A, zero, zero), law)
    assert idle.not_identifiable == (
        "query masked from keys and values or not (same map)",
        "factor 1/2 in the loss (same minimum)",
        "scale between W_PV and W_KQ (same map)",
        "W_KQ transposed or not (same blocks)",
        "W_PV transposed or not (same blocks)",
    )
    for convention in (Convention(query="masked"), Convention(loss_factor=1.0), Convention(score="queries first")):
        other = judged(weights_of(A, zero, zero), law, 0.05, convention)
        assert replace(other, convention=idle.convention) == idle
    live = judged(weights_of(A, np.full(d, 1e-300), zero), law)  # exactly: however small
    assert live.not_identifiable[0].endswith(
        "(no part of the weights; as u12 is not 0 it changes the map, judged as inside)"
    )
    assert "W_PV transposed or not (same blocks)" not in live.not_identifiable


def test_the_mask_changes_the_risk_of_an_even_part_and_nothing_else() -> None:
    law = law_of(3)
    weights = weights_of(preconditioner(law), np.array([0.3, 0.0, 0.0]), np.array([0.0, 0.2, 0.0]))
    inside, masked = (judged(weights, law, 0.05, Convention(query=query)) for query in ("inside", "masked"))
    assert masked.even_part < inside.even_part
    assert masked.excess_risk < inside.excess_risk
    assert (masked.distance, masked.leak, masked.minimal_risk) == (inside.distance, inside.leak, inside.minimal_risk)


@DIMENSIONS
@pytest.mark.parametrize("factor", [1.37, 0.6, 2.2, -1.7])
def test_a_wrong_factor_that_no_convention_explains_is_named(d: int, factor: float) -> None:
    law = law_of(d)
    report = judged(layer(factor * preconditioner(law)), law)
    assert report.outcome == "contradicts"
    assert not any(fit.matches for fit in report.better_fit)
    assert report.wrong_factor == pytest.approx(factor, rel=ROUNDING)
    assert f"a wrong overall factor: your weights are {factor:.4g} times the prediction" in str(report)


def test_a_factor_is_named_only_where_it_explains_the_weights() -> None:
    law = law_of(3)
    A = preconditioner(law)
    off = np.linalg.norm(A) * direction(3)
    assert judged(layer(1.37 * (A + 0.04 * off)), law).wrong_factor == pytest.approx(1.37, rel=0.05)
    assert judged(layer(1.37 * (A + 0.3 * off)), law).wrong_factor is None
    assert judged(layer(0 * A), law).wrong_factor is None
    assert judged(layer(A / N), law).wrong_factor is None  # that is a convention, and named as one


def test_two_normalisations_that_the_margin_does_not_tell_apart_are_both_listed() -> None:
    """At N = 50 1/(N+1) is 2 % off: the verdict "agrees" at 5 % says that it could not tell."""
    law = {**noiseless(2), "context_length": 50}
    report = judged(layer(preconditioner(law)), law)
    assert report.outcome == "agrees"
    assert "1/(N+1) in place of 1/N" in [fit.convention for fit in report.also_agree]
    (line,) = [line for line in str(report).splitlines() if line.startswith("not told apart at 0.05")]
    assert "'1/(N+1) in place of 1/N' (0.0196)" in line
    tight = judged(layer(preconditioner(law)), law, 0.01)
    assert {fit.convention for fit in tight.also_agree} <= {"W_KQ transposed", "W_PV transposed"}


def test_weights_trained_on_uniform_inputs_of_the_same_covariance_are_named() -> None:
    eta = iclcheck.predict("uniform-covariates", dimension=3, context_length=2)["learning_rate"]
    law = {"covariance": (np.eye(3) / 3).tolist(), "context_length": 2}
    report = judged(layer(eta * np.eye(3)), law)
    assert report.outcome == "contradicts"
    assert report.better_fit[0].convention == "trained on x uniform in a cube, with the same covariance"
    assert report.better_fit[0].matches


def test_a_notebook_shows_the_words_of_the_report_as_text() -> None:
    report = judged(layer(preconditioner(law_of(2))), law_of(2))
    assert "agrees</span>" in report._repr_html_()
    assert "<pre" in report._repr_html_()
    assert "&lt;" not in str(report)
    assert str(report) in report._repr_markdown_()


@DIMENSIONS
def test_the_excess_risk_is_twice_what_the_population_loss_says(d: int) -> None:
    """For Psi = I and no noise; the loss of `population-loss` has a factor 1/2, risks have none."""
    law = noiseless(d)
    draw = generator("excess", d)
    W_PV, W_KQ = layer(draw.normal(size=(d, d)), 0.7, draw.normal(size=d), draw.normal(size=d))
    loss = iclcheck.predict("population-loss", **law, value_weights=W_PV, key_query_weights=W_KQ)["loss"]
    least = iclcheck.predict("fixed-point", **law)["loss"]
    report = judged((W_PV, W_KQ), law)
    assert report.minimal_risk == pytest.approx(2 * least, rel=ROUNDING)
    assert report.excess_risk == pytest.approx(2 * (loss - least), rel=ROUNDING)


@DIMENSIONS
def test_no_weights_do_better_than_the_minimum(d: int) -> None:
    """The excess risk of 200 random layers under a general law, from nearly nothing to far off."""
    law = law_of(d)
    draw = generator("no better", d)
    A = preconditioner(law)
    for scale in np.geomspace(1e-6, 3.0, 200):
        U = A + scale * draw.normal(size=(d, d))
        report = judged(layer(U, 1.0, scale * draw.normal(size=d), scale * draw.normal(size=d)), law)
        assert report.excess_risk > -ROUNDING * report.minimal_risk, scale
        assert scale < 1e-3 or report.excess_risk > 0


def test_the_excess_risk_at_zero_weights_is_what_the_prediction_gains() -> None:
    """The zero layer predicts 0 and has the risk tr(Lambda Psi)."""
    law = law_of(3)
    report = judged(layer(np.zeros((3, 3)), 0.0), law)
    trace = float(np.trace(np.array(law["covariance"]) @ np.array(law["task_covariance"])))
    assert report.excess_risk + report.minimal_risk == pytest.approx(trace, rel=ROUNDING)
    assert (report.distance, report.outcome) == (1.0, "contradicts")


def test_the_function_takes_lists_arrays_and_torch_parameters() -> None:
    law = law_of(2)
    W_PV, W_KQ = layer(preconditioner(law))
    as_lists = iclcheck.check_weights(W_PV.tolist(), W_KQ.tolist(), **law)
    as_arrays = iclcheck.check_weights(W_PV, W_KQ, **law)
    tensors = [torch.nn.Parameter(torch.tensor(array)) for array in (W_PV, W_KQ)]
    assert as_lists == as_arrays == iclcheck.check_weights(*tensors, **law)
    halves = [tensor.detach().bfloat16() for tensor in tensors]
    assert iclcheck.check_weights(*halves, **law, within=0.02).outcome == "agrees"  # 8 bits: 2^-8 an entry


@pytest.mark.parametrize(
    "W_PV, reason",
    [
        ([[1.0, 2.0], [3.0]], "rows of equal length"),
        ([["a", 0.0], [0.0, 1.0]], "numbers"),
        ([[float("nan"), 0.0], [0.0, 1.0]], "NaN"),
        ([[1.0, 0.0], [0.0, 1.0]], r"\(3, 3\) for d = 2, got \(2, 2\)"),
        ([[1e200] * 3] * 3, "double precision"),
    ],
)
def test_unusable_weights_are_refused_with_the_reason(W_PV: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        iclcheck.check_weights(W_PV, 1e200 * np.eye(3), **law_of(2))
    assert "\n" not in str(refusal.value)
    assert type(refusal.value).__module__.startswith("iclcheck.")


def test_the_command_reports_what_the_function_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    law = law_of(2)
    W_PV, W_KQ = layer(preconditioner(law) / N)
    report = judged((W_PV, W_KQ), law, 0.02)
    file = tmp_path / "weights.npz"
    np.savez(file, value=W_PV, W_KQ=W_KQ)
    given = [part for name, value in law.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    command = ["check", "fixed-point", "--model", str(file), "--name", "W_PV=value", "--within", "0.02", *given]
    assert main([*command, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {"model": str(file), **json.loads(json.dumps(report.as_plain()))}
    assert found["better_fit"][0]["convention"] == "no 1/N"
    assert found["not_identifiable"]
    assert main(command) == 1
    assert capsys.readouterr().out == f"{report}\n"
    assert main([*command, "--convention", "no-1/N"]) == 0
    assert "read in the convention: no 1/N, query inside" in capsys.readouterr().out
    assert main([*command, "--convention", "no-1N"]) == 2
    assert "did you mean 'no-1/N'?" in capsys.readouterr().err
    assert main(["check", "fixed-point", "--convention", "ACDS"]) == 2
    assert "--convention describes weights of your own" in capsys.readouterr().err


def test_the_command_reads_the_file_of_a_published_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """allparam (layers, heads, 2, d, d) with P = 0, Q = -A*: minus the entry is the prediction."""
    law = noiseless(2)
    both = np.stack([np.zeros((2, 2)), -preconditioner(law)])
    torch.save({"allparam": torch.tensor(both[None, None])}, tmp_path / "model.pt")
    given = [part for name, value in law.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    command = ["check", "fixed-point", "--model", str(tmp_path / "model.pt"), *given]
    assert main([*command, "--convention", "ACDS"]) == 0
    assert main([*command, "--convention", "ACDS,plus"]) == 1
    said = capsys.readouterr().out
    assert "your weights match under '1/N over the context and the opposite sign'" in said
    assert main(command) == 2
    assert "need the weights W_PV in" in capsys.readouterr().err
