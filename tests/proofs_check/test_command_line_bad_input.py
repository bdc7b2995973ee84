"""Bad input of every kind: exit status 2, one sentence on stderr with reason and mend, nothing written."""

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from iclcheck.proofs_check.command_line import main

EYE = "[[1, 0], [0, 1]]"
LAW = ("--set", f"covariance={EYE}", "--set", "context_length=4")


WRONG_KIND = {
    **dict.fromkeys(("key", "measurement", "measuring_path", "created"), "x"),
    **{"parameters": {}, "values": {}, "environment": 5, "seconds": 1.0, "sha256": "x"},
}


class Touches:
    """A pickle of this runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and other files, good and bad; a test that leaves another file here fails."""
    here = tmp_path_factory.mktemp("weights")
    value, key_query = np.diag([0.0, 0.0, 0.9]), np.diag([0.6, 0.6, 0.0])
    good = {"W_PV": value, "W_KQ": key_query}
    with_nan = value.copy()
    with_nan[0, 0] = np.nan
    arrays: dict[str, dict[str, Any]] = {
        "good": good,
        "renamed": {"layer.value": value, "layer.kq": key_query},
        "nan": {**good, "W_PV": with_nan},
        "three": {"W_PV": np.eye(4), "W_KQ": np.eye(4)},
        "unpadded": {"W_PV": np.eye(2), "W_KQ": np.eye(2)},
        "rectangular": {**good, "W_PV": np.ones((2, 3))},
        "turned": {**good, "W_PV": np.ones((3, 2))},
        "flat": {**good, "W_PV": np.ones(9)},
        "stacked": {"W_PV": value[None], "W_KQ": key_query[None]},
        "whole": {**good, "W_PV": np.eye(3, dtype=int)},
        "complex": {**good, "W_PV": 1j * value},
        "huge": {"W_PV": 1e200 * value, "W_KQ": 1e200 * key_query},
        "objects": {**good, "W_PV": np.array([Touches()], dtype=object)},
    }
    for name, one in arrays.items():
        np.savez(here / f"{name}.npz", **one)
    safetensors.numpy.save_file(good, here / "good.safetensors")
    safetensors.numpy.save_file(arrays["rectangular"], here / "rectangular.safetensors")
    torch.save({name: torch.tensor(array) for name, array in good.items()}, here / "good.pt")
    torch.save({**good, "W_PV": Touches()}, here / "code.pt")
    torch.save(torch.nn.Linear(2, 2), here / "module.pt")
    (here / "bare.pkl").write_bytes(pickle.dumps(Touches()))
    (here / "cut.npz").write_bytes((here / "good.npz").read_bytes()[:100])
    (here / "cut.pt").write_bytes((here / "good.pt").read_bytes()[:100])
    (here / "npz.pt").write_bytes((here / "good.npz").read_bytes())
    (here / "empty.npz").touch()
    (here / "text.json").write_text("hello")
    (here / "latin.json").write_bytes(b'{"covariance": "\xff"}')
    (here / "list.json").write_text("[1]")
    (here / "twice.json").write_text('{"context_length": 3, "context_length": 4}')
    (here / "file").write_text("x")
    (here / "deep.json").write_text("[" * 100_000)
    (here / "number.json").write_text('{"format": "iclcheck records 1", "records": 3}')
    (here / "kinds.json").write_text(json.dumps({"format": "iclcheck records 1", "records": [WRONG_KIND]}))
    for name in ("pipe", "pipe.json"):
        os.mkfifo(here / name)
    for name in ("notrecords", "directory/records.sqlite"):
        (here / name).mkdir(parents=True)
    (here / "notrecords" / "records.sqlite").write_text("x")
    return here


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def predict(claim: str, *settings: str) -> tuple[str, ...]:
    return ("predict", claim, *(part for setting in settings for part in ("--set", setting)))


def fixed_point(covariance: str = EYE, context_length: str = "4", *more: str) -> tuple[str, ...]:
    return predict("fixed-point", f"covariance={covariance}", f"context_length={context_length}", *more)


def model(file: str, *more: str) -> tuple[str, ...]:
    return ("check", "fixed-point", "--model", file, *LAW, *more)


LOSS = ("covariance=[[1]]", "context_length=4", "value_weights=[[0, 0], [0, 1]]")
STEP = ("covariance=[[1, 0], [0, 1]]", "context_length=4")

# Each row: arguments, and words that the sentence on stderr must hold.
TABLE: list[tuple[tuple[str, ...], list[str]]] = [
    # covariances
    (fixed_point("[[1, 2], [0, 1]]"), ["covariance", "symmetric", "(C + C^T)/2"]),
    (fixed_point("[[1, 2], [2, 1]]"), ["covariance", "eigenvalue -1", "positive definite"]),
    (fixed_point("[[1, 1], [1, 1]]"), ["covariance", "eigenvalue 0", "positive definite"]),
    (fixed_point("[[0]]"), ["covariance", "positive definite"]),
    (fixed_point("[[1, 0.9999999999999999], [0.9999999999999999, 1]]"), ["covariance", "eigenvalue"]),
    (fixed_point("[[1e-12, 0], [0, 1e12]]"), ["covariance", "eigenvalue"]),
    (fixed_point("[[NaN]]"), ["the value of covariance", "NaN", "finite"]),
    (fixed_point("[[Infinity]]"), ["the value of covariance", "Infinity", "finite"]),
    (fixed_point("[[-Infinity]]"), ["the value of covariance", "-Infinity", "finite"]),
    (fixed_point("[[1e400]]"), ["the value of covariance", "1e400", "finite"]),
    (fixed_point(f"[[1{'0' * 400}]]"), ["the value of covariance", "finite"]),
    (fixed_point(f"[[1{'0' * 5000}]]"), ["the value of covariance", "finite"]),
    (fixed_point("[[1e308, 0], [0, 1e308]]"), ["fixed-point", "double precision", "rescale"]),
    (fixed_point("[[1e-320]]"), ["fixed-point", "double precision", "rescale"]),
    (fixed_point("[[1, 0], [0]]"), ["covariance", "rows of equal length"]),
    (fixed_point("[[1, 0, 0], [0, 1, 0]]"), ["covariance", "square", "(2, 3)"]),
    (fixed_point("[[[1]]]"), ["covariance", "square"]),
    (fixed_point('[["1"]]'), ["covariance", "numbers"]),
    (fixed_point("[[true]]"), ["covariance", "true/false"]),
    (fixed_point("[[null]]"), ["covariance"]),
    (fixed_point("[]"), ["covariance", "square", "(0,)"]),
    (fixed_point("[[]]"), ["covariance", "square", "(1, 0)"]),
    (fixed_point("1"), ["covariance", "square", "[[2.0]] for d = 1"]),
    (fixed_point('{"a": 1}'), ["covariance", "numbers"]),
    (fixed_point("[" * 30 + "]" * 30), ["the value of covariance", "nested too deeply"]),
    (fixed_point("[" * 500 + "]" * 500), ["the value of covariance", "nested too deeply"]),
    (fixed_point("[" * 100_000 + "]" * 100_000), ["the value of covariance", "nested too deeply"]),
    # whole numbers, variances, the second covariance
    *((fixed_point(EYE, N), ["context_length", "whole number", "at least 1"]) for N in ("0", "-1", "2.5")),
    *((fixed_point(EYE, N), ["context_length", "whole number"]) for N in ('"3"', "true", "null", "[4]")),
    (fixed_point(EYE, "1e400"), ["the value of context_length", "1e400"]),
    (fixed_point(EYE, f"1{'0' * 400}"), ["the value of context_length", "finite"]),
    (fixed_point(EYE, "4", "noise_variance=-1"), ["noise_variance", "at least 0", "-1"]),
    (fixed_point(EYE, "4", "noise_variance=[1]"), ["noise_variance", "one number"]),
    (fixed_point(EYE, "4", "noise_variance=1e308"), ["fixed-point", "double precision"]),
    (fixed_point(EYE, "4", "task_covariance=[[1]]"), ["task_covariance", "(2, 2)", "(1, 1)"]),
    (fixed_point(EYE, "4", "task_covariance=[[0, 0], [0, 0]]"), ["task_covariance", "zero"]),
    (fixed_point(EYE, "4", "task_covariance=[[1, 2], [2, 1]]"), ["task_covariance", "eigenvalue -1"]),
    (fixed_point(EYE, "4", "task_covariance=[[1, 0], [1, 1]]"), ["task_covariance", "symmetric"]),
    # the other claims
    (predict("population-loss", *LOSS), ["population-loss needs key_query_weights", "--set"]),
    (predict("population-loss", *LOSS, "key_query_weights=[[1]]"), ["key_query_weights", "(2, 2)", "(1, 1)"]),
    (predict("population-loss", *LOSS, "key_query_weights=[[1, 2], [3]]"), ["key_query_weights", "rows"]),
    (
        predict("population-loss", *LOSS, "key_query_weights=[[1e200, 0], [0, 0]]"),
        ["population-loss", "double precision"],
    ),
    (predict("preconditioned-gradient-step", *STEP), ["needs X, y, x_query"]),
    (
        predict("preconditioned-gradient-step", *STEP, "X=[[1, 2, 3]]", "y=[1]", "x_query=[1, 1]"),
        ["X needs", "(1, 3)"],
    ),
    (
        predict("preconditioned-gradient-step", *STEP, "X=[]", "y=[]", "x_query=[1, 1]"),
        ["X needs", "at least one"],
    ),
    (
        predict("preconditioned-gradient-step", *STEP, "X=[[1, 2]]", "y=[1, 2]", "x_query=[1, 1]"),
        ["y needs", "(2,)"],
    ),
    (
        predict("preconditioned-gradient-step", *STEP, "X=[[1, 2]]", "y=[1]", "x_query=[1]"),
        ["x_query needs", "(1,)"],
    ),
    (predict("random-context-length", "covariance=[[1]]", "context_lengths=[]"), ["context_lengths", "list"]),
    (predict("random-context-length", "covariance=[[1]]", "context_lengths=4"), ["context_lengths", "list"]),
    (
        predict("random-context-length", "covariance=[[1]]", "context_lengths=[4, 0]"),
        ["each of context_lengths", "at least 1"],
    ),
    (
        predict("random-context-length", "covariance=[[1]]", "context_length=4"),
        ["no parameter 'context_length'", "did you mean 'context_lengths'?"],
    ),
    (
        predict("uniform-covariates", "dimension=0", "context_length=4"),
        ["dimension", "whole number", "at least 1"],
    ),
    (
        predict("uniform-covariates", "dimension=2", "context_length=4", "half_width=0"),
        ["half_width", "above 0"],
    ),
    (
        predict("uniform-covariates", "dimension=2", "context_length=4", "half_width=1e200"),
        ["uniform-covariates", "double precision"],
    ),
    # how parameters are given
    (("predict", "fixed-point"), ["needs covariance, context_length", "--set covariance=VALUE"]),
    (("predict", "fixed-point", "--set", "covariance"), ["--set needs NAME=VALUE", "'covariance'"]),
    (("predict", "fixed-point", "--set", "=1"), ["--set needs NAME=VALUE"]),
    (("predict", "fixed-point", "--set", "covariance="), ["the value of covariance", "JSON"]),
    (("predict", "fixed-point", "--set", "covariance=[[1]"), ["the value of covariance", "JSON", "character"]),
    (("predict", "fixed-point", "--set", "covariance=@"), ["--set covariance=@FILE", "name of a file"]),
    (("predict", "fixed-point", "--set", "covariance=@none.json"), ["'none.json'", "No such file"]),
    (("predict", "fixed-point", "--set", "covariance=@."), ["'.'", "directory"]),
    (("predict", "fixed-point", "--set", "covariance=@text.json"), ["the value of covariance", "JSON"]),
    (("predict", "fixed-point", "--set", "covarience=[[1]]"), ["did you mean 'covariance'?"]),
    (("predict", "fixed-point", "--parameters", "none.json"), ["'none.json'", "No such file"]),
    (("predict", "fixed-point", "--parameters", "."), ["'.'", "directory"]),
    (("predict", "fixed-point", "--parameters", ""), ["--parameters", "name of a file"]),
    (("predict", "fixed-point", "--parameters", "x" * 5000), ["File name too long"]),
    (("predict", "fixed-point", "--parameters", "latin.json"), ["latin.json", "UTF-8"]),
    (("predict", "fixed-point", "--parameters", "text.json"), ["the file text.json", "JSON object"]),
    (("predict", "fixed-point", "--parameters", "list.json"), ["the file list.json", "JSON object"]),
    (("predict", "fixed-point", "--parameters", "twice.json"), ["'context_length' 2 times"]),
    # claims, verbs and options that there are not
    *(
        ((verb, "zzz"), ["no claim 'zzz'", "iclcheck list names all"])
        for verb in ("show", "derive", "predict", "check")
    ),
    (("check", "fixed-point", "zzz"), ["no claim 'zzz'"]),
    (("check", "zzz", *model("good.npz")[2:]), ["no claim 'zzz'"]),
    (("lst",), ["no such command 'lst'", "did you mean 'list'?", "see iclcheck --help"]),
    (("--foo",), ["no such option: --foo", "see iclcheck --help"]),
    (("list", "--foo"), ["no such option: --foo", "see iclcheck list --help"]),
    (("list", "x"), ["unexpected extra argument", "see iclcheck list --help"]),
    (("show",), ["missing argument 'CLAIM'", "see iclcheck show --help"]),
    (("predict", "fixed-point", "--set"), ["--set", "requires an argument"]),
    (("predict", "fixed-point", "--sett", "x=1"), ["--sett", "--set", "see iclcheck predict --help"]),
    # how to measure
    (("check", "--profile", "foo"), ["--profile", "quick or full", "'foo'"]),
    (("check", "--device", "foo"), ["--device", "auto, cpu or cuda", "'foo'"]),
    *((("check", "--workers", workers), ["--workers", "at least 1", workers]) for workers in ("0", "-1")),
    (("check", "--workers", "2.5"), ["--workers", "integer", "see iclcheck check --help"]),
    (("check", "--seed", "abc"), ["--seed", "integer", "see iclcheck check --help"]),
    (("check", "--record", "file"), ["--record needs a folder", "file is a file"]),
    (("check", "--record", "file/inside"), ["file/inside", "Not a directory", "--record DIR"]),
    (("check", "--record", "notrecords"), ["notrecords/records.sqlite exists", "--resume"]),
    (("check", "--record", "notrecords", "--resume"), ["notrecords/records.sqlite", "another kind"]),
    (("check", "--record", "directory", "--resume"), ["directory/records.sqlite", "got a directory"]),
    (("check", "--resume"), ["--resume", "--record DIR"]),
    (("appendix",), ["no records", "iclcheck check"]),
    (("appendix", "none"), ["no records in none", "iclcheck check"]),
    (("appendix", "file"), ["file", "another kind"]),
    (("appendix", "notrecords"), ["notrecords/records.sqlite", "another kind"]),
    (("appendix", "--profile", "foo"), ["--profile", "quick or full"]),
    *((("appendix", one), [one, "no regular file"]) for one in ("pipe", "/dev/null")),
    *(((verb, "fixedpoint"), ["did you mean 'fixed-point'"]) for verb in ("status", "cite")),
    *(((verb, "--records", "none"), ["no records in none", "name a store"]) for verb in ("status", "cite")),
    *(((verb, "--records", "."), ["no records in .", "name a store"]) for verb in ("status", "cite")),
    *((("status", "--records", one), [one, "another kind"]) for one in ("file", "good.npz")),
    *((("status", "--records", one), [one, "no regular file"]) for one in ("pipe", "pipe.json", "/dev/null")),
    (("status", "--records", "directory"), ["directory/records.sqlite", "got a directory"]),
    (("status", "--records", "notrecords"), ["notrecords/records.sqlite", "another kind"]),
    *(
        (("cite", "--records", f"{one}.json"), [f"{one}.json", "export it again"])
        for one in ("text", "latin", "list", "twice", "deep", "number")
    ),
    (("cite", "--records", "kinds.json"), ["'environment'", "measure again"]),
    (("status", "--profile", "foo"), ["--profile", "quick or full"]),
    (("status", "--device", "tpu"), ["--device", "auto, cpu or cuda"]),
    (("status", "--seed", "a"), ["seed", "integer"]),
    # weights
    (model("none.npz"), ["none.npz", "No such file"]),
    (model("."), ["directory"]),
    (model("pipe"), ["pipe", "no regular file"]),
    (model("/dev/null"), ["no regular file"]),
    (model("empty.npz"), ["empty.npz is empty", "save"]),
    (model("file"), ["file", "none of them", "safetensors"]),
    (model("cut.npz"), ["cut.npz is damaged"]),
    (model("cut.pt"), ["cut.pt is damaged"]),
    (model("npz.pt"), ["npz.pt", "rename"]),
    (model("bare.pkl"), ["bare.pkl", "system", "state_dict"]),
    (model("code.pt"), ["code.pt", "system", "state_dict"]),
    (model("module.pt"), ["module.pt", "torch.nn", "state_dict"]),
    (model("objects.npz"), ["objects.npz", "object"]),
    (model("nan.npz"), ["W_PV in nan.npz", "finite", "1 of 9"]),
    (model("three.npz"), ["W_PV", "(3, 3) for d = 2, got (4, 4)", "d = 3"]),
    (model("unpadded.npz"), ["W_PV", "got (2, 2)", "pad"]),
    (model("rectangular.npz"), ["W_PV", "got (2, 3)", "square"]),
    (model("turned.npz"), ["W_PV", "got (3, 2)", "square"]),
    (model("rectangular.safetensors"), ["W_PV", "got (2, 3)", "square"]),
    (model("flat.npz"), ["W_PV", "got (9,)", "full matrix"]),
    (model("stacked.npz"), ["W_PV", "got (1, 3, 3)", "W[0]"]),
    (model("whole.npz"), ["W_PV", "int64", "astype(float)"]),
    (model("complex.npz"), ["W_PV", "complex128", "astype(float)"]),
    (model("huge.npz"), ["double precision", "diverged"]),
    (model("renamed.npz"), ["W_PV", "layer.kq, layer.value", "--name W_PV="]),
    (model("good.npz", "--name", "W_PV"), ["--name needs W_PV=NAME"]),
    (model("good.npz", "--name", "foo=bar"), ["--name needs W_PV=NAME", "'foo=bar'"]),
    (model("good.npz", "--name", "W_PV=other"), ["other", "W_KQ, W_PV"]),
    *((model("good.npz", "--within", within), ["--within", "above 0"]) for within in ("0", "-1", "nan", "inf")),
    (model("good.npz", "--within", "5%"), ["--within", "number", "see iclcheck check --help"]),
    (model("good.npz", "--set", "foo=1"), ["no parameter 'foo'", "known: covariance"]),
    (("check", "fixed-point", "--model", "good.npz"), ["needs covariance, context_length"]),
    (("check", *model("good.npz")[2:]), ["--model", "iclcheck check fixed-point --model good.npz"]),
    (("check", "population-loss", *model("good.npz")[2:]), ["--model", "iclcheck check fixed-point"]),
    (("check", "population-loss", *model("good.npz")[1:]), ["--model", "iclcheck check fixed-point"]),
    # options that mean nothing with, or without, weights of one's own
    *(
        (("check", "fixed-point", option, value), [option, "add --model FILE"])
        for option, value in (
            ("--within", "0.1"),
            ("--within", "0"),
            ("--name", "W_PV=x"),
            ("--set", "context_length=3"),
            ("--parameters", "x"),
        )
    ),
    *(
        (model("good.npz", *option), [option[0], "--model makes none"])
        for option in (
            ("--record", "new"),
            ("--resume",),
            ("--profile", "quick"),
            ("--device", "cpu"),
            ("--seed", "0"),
            ("--workers", "2"),
        )
    ),
]


def label(arguments: tuple[str, ...]) -> str:
    return " ".join(part if len(part) < 60 else f"{part[:50]}..." for part in arguments)


@pytest.mark.parametrize("arguments, words", TABLE, ids=[label(row[0]) for row in TABLE])
def test_bad_input_is_refused_in_one_sentence(
    arguments: tuple[str, ...],
    words: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    assert refused(arguments, words, capsys) == 2
    assert contents(folder) == before


def refused(arguments: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """The exit status, after looking at what was said."""
    status = main(list(arguments))
    said = capsys.readouterr()
    assert said.out == "", said.out
    assert said.err.startswith("iclcheck: ")
    assert said.err.count("\n") == 1, said.err
    assert len(said.err) < 400, said.err
    assert "; " in said.err or "? " in said.err, f"a mend is missing: {said.err}"
    assert not [word for word in words if word not in said.err], said.err
    return status


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"covariance": [[NaN]]}', '{"context_length": 1e999}'])
def test_bad_parameters_on_standard_input_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert refused(("predict", "fixed-point", "--parameters", "-"), ["standard input"], capsys) == 2


def test_a_closed_standard_input_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert refused(("predict", "fixed-point", "--parameters", "-"), ["standard input"], capsys) == 2


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(("check", "--device", "cuda"), ["--device cuda", "--device cpu"], capsys) == 2


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_room(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "mkdir", no_room)
    assert refused(("check", "fixed-point", "--device", "cpu"), ["Permission denied", "--record"], capsys) == 2


def test_weights_that_run_code_did_not_run_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("bare.pkl", "code.pt", "objects.npz"):
        main(list(model(name)))
    assert not (folder / "was-run").exists()
    pickle.loads((folder / "bare.pkl").read_bytes())  # the control: the file does what it says
    assert (folder / "was-run").exists()
    (folder / "was-run").unlink()


@pytest.mark.parametrize("dimension", [1, 2, 200])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_large_dimensions_and_all_scales_are_fine(
    dimension: int, scale: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """A* = scale^-1 N/(N + d + 1) I, for the largest context length that anybody would type."""
    covariance = json.dumps((scale * np.eye(dimension)).tolist())
    for length in (20, 10**9):
        assert main([*fixed_point(covariance, str(length)), "--json"]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)["quantities"]["preconditioner"]
        expected = length / (length + dimension + 1) / scale * np.eye(dimension)
        np.testing.assert_allclose(found, expected, rtol=1e-13 * dimension, atol=0)
        assert said.err == ""


def test_a_population_loss_at_two_hundred_dimensions_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    """At W = 0 the loss is tr(Lambda)/2."""
    sizes = {"covariance": np.eye(200), "value_weights": np.zeros(2 * (201,)), "key_query_weights": np.eye(201)}
    settings = [f"{name}={json.dumps(matrix.tolist())}" for name, matrix in sizes.items()]
    assert main([*predict("population-loss", *settings, "context_length=7"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quantities"] == {"loss": 100.0}
