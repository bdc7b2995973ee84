"""The verbs that need no measurement: their JSON, their text, and the functions that they share names with."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iclcheck
from iclcheck.proofs_check.claims.claim import Claim, Quantity
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line import main

COVARIANCE = [[1.0, 0.3], [0.3, 0.6]]
LAW: dict[str, Any] = {"covariance": COVARIANCE, "context_length": 5}
NOISY: dict[str, Any] = {**LAW, "task_covariance": [[2.0, -0.4], [-0.4, 0.5]], "noise_variance": 0.3}
WEIGHTS = {
    "value_weights": [[0.0] * 3, [0.0] * 3, [0.1, -0.2, 0.7]],
    "key_query_weights": [[0.5, 0.1, 0.0], [0.2, 0.4, 0.0], [0.3, 0.0, 0.0]],
}
START = {"value_gain_0": -0.4, "key_query_0": [[0.1, 0.3], [-0.2, 0.5]]}
# For every claim: parameters, and the shape of each quantity that DESIGN promises.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "fixed-point": (
        NOISY,
        {"preconditioner": (2, 2), "loss": (), "value_weights": (3, 3), "key_query_weights": (3, 3)},
    ),
    "critical-points": (
        {"covariance": [[1.0, 0.0], [0.0, 1.0]], "context_length": 5},
        {"points": (5,), "complete": (), "searched": ()},
    ),
    "baseline-risks": (
        {"dimension": 3, "lengths": [0, 2, 5], "noise_variance": 0.1},
        {
            **dict.fromkeys(("lengths", "zero", "averaging", "one_step", "rates", "least_squares"), (3,)),
            "least_squares_infinite": (),
        },
    ),
    "ridge-risk": (
        {"dimension": 3, "lengths": [0, 2, 5], "noise_variance": 0.1},
        {"lengths": (3,), "ridge": (3,), "of_noise": (3,), "penalty": (), "best_penalty": ()},
    ),
    "decoder-parameters": ({"width": 8, "layers": 2}, dict.fromkeys(("parameters", "of_a_layer", "unused_tokens"), ())),
    "audit-parameters": (
        {},
        dict.fromkeys(("reported", "parameters", "with_unused_tokens", "largest_gpt_2"), ()),
    ),
    "mesa-learning-rate": (
        {"dimension": 3, "length": 6},
        {"learning_rate": (), "loss": (), "optimum_loss": (), "two_heads_loss": (), "zero_loss": ()},
    ),
    "mesa-trained-layer": (
        {"dimension": 3, "length": 6},
        {"first_block": (), "second_block": (), "loss": (), "gradient_step_loss": (), "optimum_loss": ()},
    ),
    "audit-mesa-one-step": (
        {"dimension": 3, "length": 6},
        {"first_block": (), "second_block": (), "loss": (), "gradient_step_loss": (), "optimum_loss": ()},
    ),
    "scan-joint-flow": (
        {"contexts": [[0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.3, 0.2]]},
        {"acceleration": (1, 4), "queries": (1,), "overlaps": (2, 2), "pull": (2,), "reparametrised_pull": (2,)},
    ),
    "scan-trained": (
        {"contexts": [[0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.3, 0.2]], "length": 9, "momentum": 0.5, "steps": 4},
        {
            "class_vectors": (2, 4),
            "class_vector_coefficients": (2, 4),
            "force": (1, 4),
            "limit_force": (1, 4),
            "force_coefficients": (1, 4),
            "queries": (1,),
            "time": (),
            "early_attention": (1, 4),
        },
    ),
    "fixed-point-any-start": (
        NOISY,
        {"preconditioner": (2, 2), "loss": (), "leaking_preconditioner": (2, 2), "leaking_loss": ()},
    ),
    "nonlinear-targets": (
        {"dimension": 3, "context_length": 5, "link": "sine", "noise_variance": 0.2, "task_law": "sphere"},
        {"learning_rate": (), "risk": ()},
    ),
    "population-loss": ({**LAW, **WEIGHTS}, {"loss": ()}),
    "gradient-flow": (
        {**NOISY, **START, "time": 1.5},
        {"value_gain": (), "key_query": (2, 2), "loss": ()},
    ),
    "gradient-flow-limit": ({**NOISY, **START}, {"value_gain": (), "key_query": (2, 2)}),
    "conservation-law": (
        {**NOISY, **WEIGHTS, "learning_rate": 0.1, "weight_decay": 0.01, "time": 2.0},
        {"conserved": (), "after_one_step": (), "at_time": ()},
    ),
    "pl-inequality": (
        {**LAW, "scale": 0.5, "theta": [[1.0, 0.2], [0.0, -0.5]]},
        {"printed_constant": (), "derived_constant": ()},
    ),
    "preconditioned-gradient-step": (
        {**NOISY, "X": [[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]], "y": [1.0, 2.0, 3.0], "x_query": [1.0, -1.0]},
        {"prediction": ()},
    ),
    "random-context-length": (
        {"covariance": COVARIANCE, "context_lengths": [2, 5, 9]},
        {"preconditioner": (2, 2)},
    ),
    "random-covariance": ({"dimension": 3, "context_length": 5, "test_length": 8}, {"gain": (), "risk": ()}),
    "relu-attention": ({"dimension": 2, "context_length": 5}, {"gain": ()}),
    "mesa-compressed-depth": (
        {"value_projection": [[1.0, 0.2], [0.0, 3.0]], "key_query": [[2.0, 0.0], [1.0, 2.0]]},
        {
            "value_multiple": (),
            "key_query_multiple": (),
            "outside_value": (),
            "outside_key_query": (),
            "layer_coefficients": (3,),
        },
    ),
    "mesa-probing": (
        {"features": [[2.0, 0.1], [0.1, 1.0]], "target": [1.0, 0.3], "target_square": 1.0, "dimension": 2},
        {"weights": (2,), "error": (), "numbers": (), "numbers_without_rotations": ()},
    ),
    "test-risk": (
        {
            **NOISY,
            "test_length": 9,
            "test_covariance": [[2.0, 0.0], [0.0, 0.5]],
            "test_noise_variance": 0.0,
            "test_task_covariance": [[1.0, 0.0], [0.0, 0.0]],
            "test_query_covariance": [[1.0, -2.0], [-2.0, 4.0]],
        },
        {"risk": ()},
    ),
    "uniform-covariates": (
        {"dimension": 2, "context_length": 5, "half_width": 1.5},
        {"learning_rate": (), "risk": ()},
    ),
}
PROMPT: dict[str, Any] = {"X": [[1.0, 0.0]], "y": [1.0], "x_query": [0.0, 1.0]}
VARIANCES: dict[str, Any] = {
    "dimension": 2, "context_length": 9, "test_length": 5, "scale": 4.0, "x_query": [1.0, -0.5], "task": [2.0, 1.0],
}  # fmt: skip
HEADS: dict[str, Any] = {**LAW, "value_gains": [0.0, 1.0], "key_queries": [[[1.0, 0.0], [0.0, -1.0]]] * 2}
OF_VARIANCES: dict[str, tuple[int, ...]] = {
    "gain": (),
    "risk": (),
    "limit_risk": (),
    "mean_prediction": (),
    "limit_prediction": (),
}
OF_HEADS: dict[str, tuple[int, ...]] = {
    "value_gain_slopes": (2,), "key_query_slopes": (2, 2, 2), "loss": (), "minimal_loss": (), "preconditioner": (2, 2),
    "continuum_dimension": (),
}  # fmt: skip
SHAPES |= {
    "least-squares-hessian": ({"X": [[1.0, 2.0], [0.0, 1.0]]}, {"hessian": (2, 2)}),
    "audit-acds-hessian": ({"X": [[1.0, 2.0], [0.0, 1.0]]}, {"printed": (2, 2), "hessian": (2, 2)}),
    "attention-hessian-inertia": (PROMPT, {"negative": (), "positive": (), "zero": ()}),
    "audit-zfb-hessian": (PROMPT, {"printed_at_least": (), "negative": ()}),
    "exponential-variances": (VARIANCES, OF_VARIANCES),
    "audit-zfb-failure": (VARIANCES, {**OF_VARIANCES, "printed_limit": ()}),
    "audit-zfb-figure": (VARIANCES, OF_VARIANCES),
    "merged-heads-fixed-points": (HEADS, OF_HEADS),
    "audit-zsls-fixed-points": (HEADS, OF_HEADS),
}
SHAPES |= {
    "scan-frequency": (
        {"probabilities": [0.3, 0.2], "logits": [0.1, 0.0], "token": 1, "logit": 0.2},
        {"clock": (), "largest_clock": (), "logits": (2,), "gains": (2,), "shares": (2,), "relative_gains": (2, 2)},
    ),
    "scan-discriminative": (
        {
            "contexts": [[0.0, 0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.4, 0.0, 0.6]],
            "h": 0.2,
            "queries": [0, 1],
            "attention_rate": 2.0,
        },
        {"queries": (2,), "forces": (2, 5), "signs": (2, 5), "xi": (2,), "sufficient": (2,)},
    ),
}
SEQUENCE = [[1.0, 0.5], [-0.3, 0.8], [0.2, -0.4]]
SHAPES |= {
    "covariate-shift": (
        {"dimension": 3, "examples": 4, "input_scale": 4.0, "noise_variance": 0.5, "variance": 2.0},
        {"effective_noise": (), "bayes_risk": (), "layer_risk": ()},
    ),
    "mesa-gradient-step": (
        {"sequence": SEQUENCE, "learning_rate": 0.3, "initial_weights": [[1.0, 0.0], [0.5, 2.0]]},
        {"predictions": (3, 2), "value_weights": (6, 6), "key_query_weights": (6, 6)},
    ),
    "mesa-preconditioning": (
        {
            "sequence": SEQUENCE,
            "regulariser": 2.0,
            "steps": 3,
            "iteration": "richardson",
            "spectrum_bounds": [0.4, 4.0],
        },
        {
            "predictions": (3, 2),
            "error_bound": (3,),
            "least_squares": (3, 2),
            "residual_bound": (),
            "step_sizes": (4,),
            "spectrum_bounds": (2,),
        },
    ),
    "mesa-partial-observation": (
        {"transition": [[0.6, -0.8], [0.8, 0.6]], "observation": [[1.0, 0.5]], "delays": 3, "noise_variance": 0.1},
        {"next_step_map": (1, 3), "residual_covariance": (1, 1), "exists": (), "rank": ()},
    ),
    "audit-mesa-richardson": (
        {"moment": [[1.0, 0.0], [0.0, 0.25]], "regulariser": 2.0, "state": [1.0, 1.0], "steps": 60},
        {"printed": (2,), "corrected": (2,), "printed_limit": (2,), "eigenvalues": (2,)},
    ),
}
MIXTURE: dict[str, Any] = {"X": [[1.0, 0.5], [0.2, -1.0]], "y": [1.0, 0.3], "x_query": [1.0, 2.0], "sparsity": 1}
SHAPES |= {
    "mixture-noiseless-limit": (
        {**MIXTURE, "X": [["1/3", 0.5], [0.2, -1.0]]},
        dict.fromkeys(("dense_posterior", "prediction", "supports_left", "identified"), ()),
    ),
    "mixture-posterior": ({**MIXTURE, "noise_variance": 1e-8}, {"dense_posterior": (), "prediction": ()}),
}
PAIRS: dict[str, Any] = {"keys": [[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]], "values": [[1.0], [0.0], [-1.0]]}
FORGETTING = {**PAIRS, "regulariser": 2.0, "forget": [1.0, 0.5, 0.9]}
GATED = {**PAIRS, "penalty": [1.0, 0.5], "forget": 0.9, "input_gate": [0.5, 1.0, 2.0]}
SHAPES |= {
    "mesa-layer": (FORGETTING, {"weights": (3, 1, 2)}),
    "audit-mesa-limit": (FORGETTING, {"printed": (3, 1, 2), "weights": (3, 1, 2)}),
    "mesanet-layer": (GATED, {"weights": (3, 1, 2)}),
    "audit-mn-objective": (GATED, {"printed": (3, 1, 2), "weights": (3, 1, 2)}),
}
SCAN: dict[str, Any] = {
    "classes": 4, "vocabulary": 60, "common_probability": 0.35, "distinct_profile": [1.0, 2.0, 3.0],
}  # fmt: skip
SCAN_AT = {**SCAN, "eta_Y": 1.0, "eta_Z": 0.5, "time": 20.0}
SHAPES |= {
    "snap": (
        SCAN_AT,
        {
            **dict.fromkeys(("common_attention", "common_logit", "decoder_logit", "drive", "strength"), ()),
            **dict.fromkeys(("strength_at_small_overlap", "gain", "overlap", "entropy", "entropy_of_distinct"), ()),
            **dict.fromkeys(("slowing_time", "late_exponent"), ()),
            **dict.fromkeys(("distinct_attention", "distinct_logits"), (3,)),
        },
    ),
    "audit-snap-bound": (
        SCAN_AT,
        dict.fromkeys(("printed_strength", "strength", "printed_bound_on_gain", "gain", "C0"), ()),
    ),
    "audit-snap-common-token": (SCAN, {"printed": (), "ratio": ()}),
    "scan-learning-rates": (
        SCAN_AT,
        {
            **dict.fromkeys(("drive", "elasticity_eta_Y", "elasticity_eta_Z", "elasticity_both"), ()),
            **dict.fromkeys(("crossing_time", "slowing_time", "entropy", "entropy_of_distinct"), ()),
        },
    ),
}
SHAPES |= {
    "scan-text": (
        {"windows": [[0, 1, 0, 2, 1], [0, 1, 1, 2, 0]], "vocabulary_size": 3, "time": 0.001, "attention_rate": 2.0},
        {"attention_logits": (3, 3), "logits_within": (3,), "start_entropy": (), "entropy_drop": ()},
    ),
}
SHAPES |= {
    "class-selection": (
        {"log_bayes_factors": [0.0, 2.0], "dense_predictions": [1.0, 2.0], "sparse_predictions": [0.5, 0.0]},
        {
            "dense_posterior": (2,),
            "mixture_prediction": (2,),
            "expected_slope": (),
            "slope": (),
            "largest_departure": (),
        },
    ),
}
SHAPES |= {
    "selection-boundary": (
        {"dimension": 5, "sparsity": 1, "examples": 10, "noise_variance": 0.5},
        {"dense_posterior": (6,), "log_odds": (6,), "boundary_lower": (), "boundary_upper": ()},
    ),
}
LINEAR_MIXTURE: dict[str, Any] = {"dimension": 2, "sparsity": 1, "length": 3, "noise_variance": 0.1, "prompts": 100}
BY_CLASS = tuple(f"{name}_{law}" for law in ("dense", "sparse") for name in ("oracle_risk", "price", "price_error"))
SHAPES |= {
    "oracle-never-beaten": (
        {"risk": 1.5, "oracle_risk": 1.0},
        dict.fromkeys(("excess", "distance", "cross_term"), ()),
    ),
    **dict.fromkeys(("model-selection", "mixture-weight"), (LINEAR_MIXTURE, dict.fromkeys(BY_CLASS, (3,)))),
}
DECODER: dict[str, Any] = {"classes": 30, "frequency": 4, "learning_rate": 0.5, "time": 20.0}
SHAPES |= {
    "scan-decoder": (
        DECODER,
        {
            **dict.fromkeys(("h", "error", "lead", "gamma", "gamma_integral", "largest_gamma"), ()),
            **dict.fromkeys(("time_of_largest_gamma", "transition_time"), ()),
        },
    ),
}
OVERLAPPING = {**DECODER, "overlap": 0.3}
LEADS: dict[str, tuple[int, ...]] = {"own_lead": (), "class_lead": ()}
SHAPES |= {
    "scan-equal-overlaps": (
        OVERLAPPING,
        {
            **LEADS,
            **dict.fromkeys(("error", "force", "reparametrised_force", "class_limit", "early_ratio", "late_ratio"), ()),
        },
    ),
    "audit-scan-remark": (OVERLAPPING, {**LEADS, "printed_own_lead": (), "printed_class_lead": ()}),
}
WAVES: dict[str, Any] = {
    "x": [0.3, -1.0], "y": [0.5, -1.2], "x_query": 0.8, "slope_variance": 1.0, "amplitude_variance": 2.0,
    "lowest": 1.0, "highest": 4.0, "linear_probability": 0.5, "noise_variance": 0.5,
}  # fmt: skip
SHAPES |= {
    "out-of-distribution": (
        {"inputs": [[0.3, -1.0], [1.2, 0.4], [-0.5, 0.7]], "dense_variance": 1.0, "noise_variance": 0.1, "nonzeros": 1,
         "sparse_variance": 1.0},
        dict.fromkeys(("risk_on_dense", "risk_on_sparse", "bias_ratio"), ()),
    ),
    "linear-sinusoid-posterior": (
        WAVES, dict.fromkeys(("linear_posterior", "prediction", "quadrature_error"), ()),
    ),
}  # fmt: skip
EVERY_CLAIM = pytest.mark.parametrize("claim", sorted(SHAPES))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The strict JSON that a verb prints; nothing may be on stderr."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    assert main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def settings(parameters: dict[str, Any]) -> list[str]:
    return [part for name, value in parameters.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def test_every_claim_is_tested_here() -> None:
    assert set(SHAPES) == set(iclcheck.claims())


@EVERY_CLAIM
def test_predict_prints_claim_parameters_and_quantities(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    parameters, shapes = SHAPES[claim]
    found = told(capsys, "predict", claim, *settings(parameters))
    assert list(found) == ["claim", "parameters", "quantities"]
    assert found["claim"] == claim
    assert parameters.items() <= found["parameters"].items()
    assert {name: np.shape(value) for name, value in found["quantities"].items()} == shapes
    known = {parameter.name for parameter in all_claims()[claim].parameters}
    assert set(found["parameters"]) == known


@EVERY_CLAIM
def test_predict_and_the_function_of_that_name_give_the_same_numbers(
    claim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters, _ = SHAPES[claim]
    assert told(capsys, "predict", claim, *settings(parameters))["quantities"] == iclcheck.predict(claim, **parameters)


@EVERY_CLAIM
def test_what_predict_prints_can_be_given_back_to_it(
    claim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told(capsys, "predict", claim, *settings(SHAPES[claim][0]))
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps(first["parameters"]))
    assert told(capsys, "predict", claim, "--parameters", str(file)) == first


def test_parameters_come_from_files_standard_input_and_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All ways agree, and --set wins over --parameters; a mark at the start of a file is no matter."""
    (tmp_path / "covariance.json").write_text(json.dumps(COVARIANCE))
    (tmp_path / "all.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({**LAW, "context_length": 99}).encode())
    expected = told(capsys, "predict", "fixed-point", *settings(LAW))["quantities"]
    from_file: tuple[str, ...] = ("--set", f"covariance=@{tmp_path}/covariance.json", "--set", "context_length=5")
    over_file = ("--parameters", f"{tmp_path}/all.json", "--set", "context_length=5")
    for given in (from_file, over_file):
        assert told(capsys, "predict", "fixed-point", *given)["quantities"] == expected
    from_input: tuple[str, ...] = ("--set", "covariance=@-", "--set", "context_length=5")
    for given in (("--parameters", "-"), from_input):
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(LAW if given[1] == "-" else COVARIANCE)))
        assert told(capsys, "predict", "fixed-point", *given)["quantities"] == expected


def leaves(value: Any) -> list[Any]:
    """The numbers, words and nulls of plain data, in order."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


@EVERY_CLAIM
def test_the_text_of_predict_holds_all_that_its_json_holds(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Word for word and in order: numbers to twelve digits, and null where there is none."""
    parameters, _ = SHAPES[claim]
    quantities = told(capsys, "predict", claim, *settings(parameters))["quantities"]
    assert main(["predict", claim, *settings(parameters)]) == 0
    text, rest = capsys.readouterr().out, 0
    for leaf in leaves(quantities):
        word = "null" if leaf is None else f"{leaf:.12g}" if isinstance(leaf, float) else str(leaf)
        rest = text.find(word, rest) + len(word)
        assert rest >= len(word), f"{word!r} is not in what is left of the text"


def test_the_text_of_predict_holds_the_numbers_of_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    quantities = told(capsys, "predict", "fixed-point", *settings(NOISY))["quantities"]
    assert main(["predict", "fixed-point", *settings(NOISY)]) == 0
    lines = capsys.readouterr().out.splitlines()
    blocks = {line.partition(":")[0]: place for place, line in enumerate(lines) if ":" in line}
    assert list(blocks) == list(quantities)
    assert float(lines[blocks["loss"]].split()[1]) == pytest.approx(quantities["loss"], rel=1e-11)
    for name in ("preconditioner", "value_weights", "key_query_weights"):
        first = blocks[name] + 1
        rows = lines[first : first + len(quantities[name])]
        numbers = np.array([row.split() for row in rows], dtype=float)
        np.testing.assert_allclose(numbers, quantities[name], rtol=1e-11, atol=0)
        assert len({len(row) for row in rows}) == 1  # aligned


def test_list_names_every_claim_with_its_level_and_title(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "list")["claims"]
    assert [entry["claim"] for entry in found] == list(iclcheck.claims())
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [(line.partition(" ")[0], " ".join(line.split()[1:])) for line in lines]
    levels = {one["claim"]: "refutation derived" if "corrected_by" in one else "derived" for one in found}
    assert said == [(one["claim"], f"{levels[one['claim']]} {one['title']}") for one in found]


@EVERY_CLAIM
def test_show_says_all_that_its_json_holds(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "show", claim)
    assert main(["show", claim]) == 0
    text = " ".join(capsys.readouterr().out.split())
    told_in_words = [found["title"], found["statement"], found["latex"], found["conventions"], found["domain"]]
    told_in_words += [*found["assumptions"], *found["sources"], *found["uses"], *found["checks"]]
    told_in_words += [f"{one['name']}: {one['description']}" for one in found["parameters"]]
    told_in_words += [f"{one['name']}: {one['description']}" for one in found["quantities"]]
    assert ("Quantities that predict gives" in text) == bool(found["quantities"])
    assert not [part for part in told_in_words if " ".join(part.split()) not in text]
    assert found["assumptions"]
    assert found["sources"]
    assert set(found["uses"]) <= set(iclcheck.claims())
    required = {one["name"] for one in found["parameters"] if one["required"]}
    assert required <= set(SHAPES[claim][0])


def misnamed(claim: Claim) -> list[str]:
    """What a claim describes and does not give, or gives and does not describe; the order counts."""
    described = [one.name for one in claim.quantities]
    given = list(iclcheck.predict(claim.identifier, **SHAPES[claim.identifier][0]))
    return [] if described == given else sorted({*described} ^ {*given}) or described


DESCRIBED = [name for name, claim in all_claims().items() if claim.quantities]


@pytest.mark.parametrize("claim", DESCRIBED)
def test_described_quantities_are_those_that_predict_gives(claim: str) -> None:
    assert misnamed(all_claims()[claim]) == []


def test_a_wrong_name_of_a_quantity_is_noticed() -> None:
    """The control of the test above: a name misspelt, one left out, and two exchanged."""
    snap = all_claims()["snap"]
    first, second, *others = snap.quantities
    wrong = Quantity(first.name + "s", first.description)
    assert misnamed(replace(snap, quantities=(wrong, second, *others))) == [first.name, wrong.name]
    assert misnamed(replace(snap, quantities=(second, *others))) == [first.name]
    assert misnamed(replace(snap, quantities=(second, first, *others)))


def test_the_claims_of_scan_and_snap_describe_their_quantities() -> None:
    families = ("scan-", "snap", "audit-scan-", "audit-snap-")
    assert {name for name in all_claims() if name.startswith(families)} <= set(DESCRIBED)


@EVERY_CLAIM
def test_every_step_of_a_derivation_holds(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = told(capsys, "derive", claim)["steps"]
    outcomes = [step["check"] for step in steps]
    assert set(outcomes) <= {"holds", "none"}
    assert all(step["proof"] for step in steps if step["check"] == "none")
    assert main(["derive", claim]) == 0
    text = capsys.readouterr().out
    held = outcomes.count("holds")
    assert f"{held} of {held} equalities hold exactly" in text
    assert all(step["name"] in text for step in steps)


@EVERY_CLAIM
def test_derive_in_latex_prints_nothing_but_latex(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["derive", claim, "--latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"\begin{enumerate}"
    after = lines[lines.index(r"\end{enumerate}") + 1 :]
    assert any("hold exactly" in line for line in after)
    assert all(line.startswith("%") or not line for line in after)


def test_a_derivation_with_a_wrong_step_exits_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control of the test above: a failing step is counted, named and contradicts."""
    derivation = all_claims()["fixed-point"].derivation()
    step = next(step.name for step in derivation.steps if step.check is not None)
    monkeypatch.setattr(type(derivation), "failures", lambda self: [step])
    assert main(["derive", "fixed-point", "--json"]) == 1
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [one["name"] for one in steps if one["check"] == "failed"] == [step]
    assert main(["derive", "fixed-point"]) == 1
    assert f"FAILED: {step}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("fixedpoint", "fixed-point"),
        ("Fixed_Point", "fixed-point"),
        ("fixed-pont", "fixed-point"),
        ("POPULATION-LOSS", "population-loss"),
        ("gradient-step", "preconditioned-gradient-step"),
        ("uniform", "uniform-covariates"),
    ],
)
def test_a_mistyped_claim_is_guessed(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", typed]) == 2
    assert f"did you mean {meant!r}?" in capsys.readouterr().err


def test_the_public_names_are_those_of_the_docstring() -> None:
    assert dir(iclcheck) == sorted(iclcheck.__all__)
    assert all(hasattr(iclcheck, name) for name in iclcheck.__all__)
    with pytest.raises(AttributeError, match="predict"):
        iclcheck.predictt  # noqa: B018
    with pytest.raises(ValueError, match="did you mean 'fixed-point'"):
        iclcheck.derive("fixedpoint")


def test_a_claim_without_parameters_says_that_it_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "audit-parameters"]) == 0
    assert "Parameters of predict\n  none\n" in capsys.readouterr().out


def test_a_number_that_json_does_not_know_is_shown_as_one_that_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "decoder-parameters", "--set", "width=.5"]) == 2
    assert "write a number such as 0.5" in capsys.readouterr().err
