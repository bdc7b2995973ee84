"""Functions and torch modules that users bring: what they are asked, and how they are refused."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iclcheck.numerics.decoders.decoder import Decoder, DecoderShape
from iclcheck.numerics.users_models.functions import UsersCodeError, loaded, of_function, of_module, predictor

XS = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
YS = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def weighted(xs: Any, ys: Any, x_query: Any) -> Any:
    """A number to which every entry of the arguments contributes."""
    return (ys @ xs) @ x_query + len(ys)


def batched(xs: Any, ys: Any, x_query: Any) -> Any:
    return np.einsum("bn,bnd,bd->b", ys, xs, x_query) + xs.shape[1]


batched.batched = True  # type: ignore[attr-defined]


def expected() -> Tensor:
    rows = [[(YS[b, :n] @ XS[b, :n]) @ XS[b, n] + n for n in range(4)] for b in range(3)]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("function", [weighted, batched])
def test_a_function_is_asked_at_every_prefix_of_every_prompt(function: Any) -> None:
    """Each entry is a sum of at most 7 products: rounding below 1e-14."""
    torch.testing.assert_close(of_function(function, "f")(XS, YS), expected(), rtol=0, atol=1e-14)


def test_a_function_gets_float64_arrays_of_its_own() -> None:
    def spoils(xs: Any, ys: Any, x_query: Any) -> float:
        assert xs.dtype == ys.dtype == x_query.dtype == np.float64
        xs[:], ys[:], x_query[:] = 7, 7, 7
        return 0.0

    xs, ys = XS.clone(), YS.clone()
    of_function(spoils, "spoils")(xs, ys)
    assert torch.equal(xs, XS)
    assert torch.equal(ys, YS)


@pytest.mark.parametrize(
    "answer", [1, 1.0, np.float32(1), np.ones(()), np.ones(1), [1.0], torch.ones(1, requires_grad=True)]
)
def test_one_number_of_any_kind_is_an_answer(answer: Any) -> None:
    assert torch.equal(of_function(lambda *_: answer, "f")(XS, YS), torch.ones(3, 4, dtype=torch.float64))


class Raises:
    """A callable without a name of its own."""

    def __call__(self, xs: Any, ys: Any, x_query: Any) -> float:
        raise SystemExit("I leave")


@pytest.mark.parametrize(
    "function, reason",
    [
        (lambda xs, ys, x: 1 / len(ys), r"f fails after 0 examples: ZeroDivisionError: division by zero \(test_users"),
        (lambda xs, ys: 0.0, "f fails after 0 examples: TypeError"),
        (Raises(), "SystemExit: I leave"),
        (lambda xs, ys, x: x, r"one number from f, got the shape \(2,\) after 0 examples"),
        (lambda xs, ys, x: np.zeros(0), r"got the shape \(0,\)"),
        (lambda xs, ys, x: None, "finite predictions from f, got nan|fails"),
        (lambda xs, ys, x: "one", "f fails after 0 examples: ValueError"),
        (lambda xs, ys, x: 1j, "f fails|finite"),
        (lambda xs, ys, x: np.log(-1.0 if len(ys) == 2 else 1.0), "got nan in 3 of 3 prompts after 2 examples|Warning"),
        (lambda xs, ys, x: np.inf * len(ys), "finite predictions from f, got"),
        (lambda xs, ys, x: np.array(1 + 2j), "f fails after 0 examples: TypeError: need real numbers, got complex"),
        (lambda xs, ys, x: torch.ones(1, dtype=torch.complex64), "need real numbers, got complex"),
        (lambda xs, ys, x: -1e170, r"predictions of at most 1e\+60 in size from f, got -1e\+170 in 3 of 3 prompts"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_its_place(function: Any, reason: str) -> None:
    with pytest.raises(UsersCodeError, match=reason) as refusal:
        of_function(function, "f")(XS, YS)
    assert "\n" not in str(refusal.value)


def test_a_batch_needs_an_answer_for_each_prompt() -> None:
    def short(xs: Any, ys: Any, x_query: Any) -> Any:
        return np.zeros(2)

    short.batched = True  # type: ignore[attr-defined]
    with pytest.raises(UsersCodeError, match=r"one number for each of 3 prompts from f, got the shape \(2,\)"):
        of_function(short, "f")(XS, YS)


def test_a_module_is_asked_once_for_all_prefixes_in_its_own_precision() -> None:
    model = Decoder(DecoderShape(2, 4, 8, 1, 2)).train()
    found = predictor(model, "model")(XS, YS)
    assert not model.training
    assert found.dtype == torch.float64
    with torch.no_grad():
        torch.testing.assert_close(found, model(XS.float(), YS.float()).double(), rtol=0, atol=0)


def test_a_module_whose_first_parameter_is_an_integer_gets_numbers_that_are_not_rounded() -> None:
    """A table of indices, or packed weights: no precision to compute in."""
    module = Module(lambda xs, ys: ys)
    module.table = torch.nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    torch.testing.assert_close(of_module(module, "m")(XS, YS), YS.float().double(), rtol=0, atol=0)


class Module(torch.nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, xs: Tensor, ys: Tensor) -> Any:
        return self.answer(xs, ys)


@pytest.mark.parametrize(
    "answer, reason",
    [
        (lambda xs, ys: ys[:, :1], r"predictions of the shape \(3, 4\) from m, got \(3, 1\)"),
        (lambda xs, ys: (ys,), "got tuple"),
        (lambda xs, ys: ys * torch.nan, "finite predictions from m"),
        (lambda xs, ys: xs @ ys, r"m fails on xs \(3, 4, 2\): RuntimeError"),
        (lambda xs, ys: ys + 0j, "need real predictions from m, got complex"),
        (lambda xs, ys: ys.double() - 1e170, r"predictions of at most 1e\+60 in size from m, got -1e\+170"),
    ],
)
def test_a_module_of_another_kind_is_refused(answer: Any, reason: str) -> None:
    with pytest.raises(UsersCodeError, match=reason):
        of_module(Module(answer), "m")(XS, YS)


# Code by its name

CODE = """
from dataclasses import dataclass
import {neighbour}
@dataclass
class Settings:
    size: int = 1
def mine(xs, ys, x_query):
    return {neighbour}.value
number = 3
_hidden = 4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with code in it; what was imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    (tmp_path / "sub").mkdir()
    for place, neighbour in ((tmp_path, "beside_it"), (tmp_path / "sub", "in_the_folder")):
        (place / f"{neighbour}.py").write_text("value = 5.0\n")
        (place / "my_code.py").write_text(CODE.format(neighbour=neighbour))
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("reference", ["my_code:mine", "my_code.py:mine", "sub/my_code.py:mine", "./my_code.py:mine"])
def test_a_function_is_found_by_its_module_or_its_file(folder: Path, reference: str) -> None:
    assert of_function(loaded(reference), reference)(XS, YS)[0, 0] == 5.0


def test_a_file_hides_no_module_of_its_name(folder: Path) -> None:
    (folder / "json.py").write_text("def f(xs, ys, x_query):\n    return 0.0\n")
    loaded("json.py:f")
    assert hasattr(sys.modules["json"], "dumps")


@pytest.mark.parametrize(
    "reference, reason",
    [
        ("my_code", "need package.module:function or file.py:function, got 'my_code'"),
        ("my_code:", "need package.module:function"),
        (":f", "need package.module:function"),
        ("my_code.py:f(x)", "need package.module:function"),
        ("my_code:none", "my_code has no none; it has Settings, beside_it, dataclass, mine, number"),
        ("my_code:number", "need a function, my_code:number is of the type int"),
        ("absent.py:f", "there is no file absent.py"),
        ("absent:f", "absent cannot be imported: ModuleNotFoundError"),
        ("wrong.py:f", "wrong.py cannot be imported: SyntaxError"),
        ("leaves:f", "leaves cannot be imported: SystemExit: 3"),
        ("..:f", "cannot be imported"),
    ],
)
def test_code_that_cannot_be_found_is_refused(folder: Path, reference: str, reason: str) -> None:
    with pytest.raises(UsersCodeError, match=reason) as refusal:
        loaded(reference)
    assert "\n" not in str(refusal.value)
