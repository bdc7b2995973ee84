"""Conventions: what they are, what they change, and the published layouts beside forward passes of their own."""

import dataclasses
import doctest
import json
import pickle
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from iclcheck.numerics.one_layer.reference import attend
from iclcheck.numerics.users_models import conventions
from iclcheck.numerics.users_models.conventions import OURS, PRESETS, Convention, ConventionError, named_convention
from iclcheck.numerics.users_models.published_layouts import ARRAYS, read_layer
from iclcheck.numerics.users_models.weights_errors import WeightsFileError

Array = NDArray[np.float64]
d, N = 3, 4
ROUNDING = 1e-13  # relative: sums of some hundred products of numbers of size 1
DRAW = np.random.default_rng(1)
E = np.vstack([DRAW.normal(size=(d + 1, N + 1))])
E[d, N] = 0
W_PV, W_KQ = DRAW.normal(size=(2, d + 1, d + 1))
SIGNS: tuple[Literal[1, -1], ...] = (1, -1)
CHANGES_THE_MAP = [
    Convention(normalisation, "inside", sign, score, tokens)
    for normalisation, sign, score, tokens in product(
        get_args(conventions.Normalisation), SIGNS, get_args(conventions.Score), get_args(conventions.Tokens)
    )
]


def answer(convention: Convention, value: Array, key_query: Array) -> float:
    """yhat of a layer that is written in a convention, token by token, as the module's first lines say it."""
    norm = {"1/N": 1 / N, "1/(N+1)": 1 / (N + 1), "none": 1.0}[convention.normalisation]
    query, total = E[:, N], 0.0
    for j in range(N + 1 if convention.query == "inside" else N):
        z = E[:, j]
        label = (value @ z if convention.tokens == "columns" else z @ value)[d]
        score = z @ key_query @ query if convention.score == "keys first" else query @ key_query @ z
        total += label * score
    return float(convention.sign * norm * total)


def ours(value: Array, key_query: Array, masked: bool = False) -> float:
    """Our layer on the same prompt; the query's own column is taken off where it is masked."""
    inside = attend(E, N, value, key_query)[d, N]
    return float(inside - (value @ E[:, N])[d] * (E[:, N] @ key_query @ E[:, N]) / N if masked else inside)


@pytest.mark.parametrize("convention", CHANGES_THE_MAP, ids=repr)
@pytest.mark.parametrize("query", ["inside", "masked"])
def test_canonical_weights_are_the_same_function(convention: Convention, query: Any) -> None:
    convention = dataclasses.replace(convention, query=query)
    found = ours(*convention.canonical(W_PV, W_KQ, N), masked=query == "masked")
    assert found == pytest.approx(answer(convention, W_PV, W_KQ), rel=ROUNDING)


@pytest.mark.parametrize("convention", CHANGES_THE_MAP, ids=repr)
def test_the_way_there_and_back_is_the_identity(convention: Convention) -> None:
    there = convention.written(W_PV, W_KQ, N)
    np.testing.assert_allclose(convention.canonical(*there, N), (W_PV, W_KQ), rtol=1e-15)
    if convention.factor(N) == 1 and convention.score == "keys first" and convention.tokens == "columns":
        assert convention == OURS
    else:
        assert answer(convention, W_PV, W_KQ) != pytest.approx(answer(OURS, W_PV, W_KQ))  # it changes the map


def test_a_convention_is_data_that_cannot_be_changed() -> None:
    one = Convention("none", sign=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.sign = 1  # type: ignore[misc]
    assert one == Convention(**json.loads(json.dumps(dataclasses.asdict(one)))) == pickle.loads(pickle.dumps(one))
    assert len({one, Convention("none", sign=-1), OURS}) == 2
    assert eval(repr(one), {"Convention": Convention}) == one
    assert str(one) == "no 1/N, query inside, prediction with a minus sign"


@pytest.mark.parametrize(
    "wrong, reason",
    [
        ({"normalisation": "N"}, r"normalisation .* one of 1/N, 1/\(N\+1\), none, got 'N'"),
        ({"sign": 0}, "sign .* one of 1, -1, got 0"),
        ({"input_scale": 0}, "input_scale .* above 0, got 0"),
        ({"input_scale": float("nan")}, "above 0, got nan"),
        ({"loss_factor": "half"}, "above 0, got 'half'"),
        ({"layout": "json"}, "layout .* got 'json'"),
    ],
)
def test_what_is_no_convention_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConventionError, match=reason):
        Convention(**wrong)


def test_names_are_presets_changed_by_words() -> None:
    assert named_convention("iclcheck") == named_convention("ZFB") == OURS
    assert named_convention("ACDS") is PRESETS["ACDS"]
    assert named_convention("no-1/N, minus,masked,rows,queries-first,inputs=0.5") == Convention(
        "none", "masked", -1, "queries first", "rows", input_scale=0.5
    )
    with pytest.raises(ConventionError, match=r"no convention is called 'ACD'; did you mean 'ACDS'\?"):
        named_convention("ACD")
    with pytest.raises(ConventionError, match="inputs= needs a number above 0, got 'x'"):
        named_convention("inputs=x")
    with pytest.raises(ConventionError, match="no convention is called 'ZFB'"):
        named_convention("minus,ZFB")  # a preset would undo the words before it


def test_the_examples_of_the_page_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.S))
    test = doctest.DocTestParser().get_doctest(blocks, {}, "conventions.md", "docs/conventions.md", 0)
    assert len(test.examples) == 3
    assert doctest.DocTestRunner().run(test).failed == 0
    for name in PRESETS:
        assert f"`{name}`" in page
    for field in dataclasses.fields(Convention):
        assert f"| `{field.name}` |" in page


# The published codes: their forward passes, in our own words, on tokens as rows Z = E^T.

P, Q = DRAW.normal(size=(2, d, d))
WQ, WK, WO = DRAW.normal(size=(3, 2, d + 1))
WV = DRAW.normal(size=(d + 1, d + 1))


def acds(Z: Array) -> float:
    """Both matrices act on columns, the last token is no value, 1/N; the error is output + y."""
    value, key_query = np.zeros((2, d + 1, d + 1))
    value[:d, :d], value[d, d], key_query[:d, :d] = P, 1, Q
    attention = Z @ key_query @ Z.T
    attention[:, N] = 0
    return float(-(attention @ (Z @ value.T))[N, d] / N)


def zsls(Z: Array) -> float:
    """torch's linear layers, every token among keys and values, no factor."""
    return float(((Z @ WQ.T) @ (Z @ WK.T).T @ (Z @ WV.T))[N, d])


def zsls_merged(Z: Array) -> float:
    return float((Z @ (Z @ WV.T).T @ (Z @ W_PV.T))[N, d])


def vo22(Z: Array) -> float:
    """Haiku's linear layers (inputs x outputs), keys and values without the query, no factor, read with a minus."""
    context = Z[:N]
    return float(-((Z @ WQ.T) @ (context @ WK.T).T @ (context @ WV[:, :2]) @ WO)[N, d])


CODES: dict[str, tuple[Callable[[Array], float], dict[str, Array]]] = {
    "ACDS": (acds, {"allparam": np.array([[[P, Q]]])}),
    "ZSLS": (zsls, {"query.weight": WQ, "key.weight": WK, "value.weight": WV}),
    "ZSLS-merged": (zsls_merged, {"KQ.weight": WV, "value.weight": W_PV}),
    "VO22": (vo22, {"query/w": WQ.T, "key/w": WK.T, "value/w": WV[:, :2], "linear/w": WO}),
}


@pytest.mark.parametrize("prefix", ["", "module.", "Transformer/attention/"])
@pytest.mark.parametrize("name", CODES)
def test_the_file_of_a_published_code_is_the_function_of_that_code(tmp_path: Path, name: str, prefix: str) -> None:
    forward, arrays = CODES[name]
    named: dict[str, Any] = {f"{prefix}{own}".replace("/", "."): array for own, array in arrays.items()}
    np.savez(tmp_path / "model.npz", bias=np.zeros(2), **named)
    convention = PRESETS[name]
    weights = convention.canonical(*read_layer(tmp_path / "model.npz", convention.layout), N)
    assert ours(*weights, masked=convention.query == "masked") == pytest.approx(forward(E.T), rel=ROUNDING)


@pytest.mark.parametrize(
    "layout, arrays, reason",
    [
        ("allparam", {"allparam": np.zeros((2, 1, 2, d, d))}, "one layer with one head .* 2 layers of 1 heads"),
        ("allparam", {"allparam": np.zeros((1, 1, 2, d, d + 1))}, r"must have the shape \(layers, heads, 2, d, d\)"),
        ("allparam", {"W_PV": W_PV}, r"need one array named \.\.\.allparam .* found none; it holds W_PV"),
        ("key-query", {"a.KQ.weight": WV, "value.weight": WV, "b.KQ.weight": WV}, "found 2, a.KQ.weight, b.KQ.weight"),
        ("projections", {"query.weight": WQ, "key.weight": WV, "value.weight": WV}, "query and key .* do not fit"),
        ("key-query", {"KQ.weight": np.zeros(3), "value.weight": WV}, r"must be a matrix .* got the shape \(3,\)"),
        ("key-query", {"KQ.weight": WV, "value.weight": np.zeros((5000, 2))}, "sides of at most 4096"),
        ("key-query", {"KQ.weight": WV, "value.weight": WV * np.nan}, "must be finite"),
        ("projections", {"query.weight": 1e200 * WQ, "key.weight": 1e200 * WK, "value.weight": WV}, "must be finite"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, layout: str, arrays: dict[str, Any], reason: str) -> None:
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(WeightsFileError, match=reason) as refusal:
        read_layer(tmp_path / "model.npz", layout)
    assert "\n" not in str(refusal.value)


def test_an_array_of_another_name_is_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", first=WV, **{"value.weight": W_PV})
    found = read_layer(tmp_path / "model.npz", "key-query", {"KQ.weight": "first"})
    np.testing.assert_array_equal(found, (W_PV, WV))
    with pytest.raises(
        WeightsFileError, match=r"the layout key-query has value.weight, KQ.weight, got a name for W_PV"
    ):
        read_layer(tmp_path / "model.npz", "key-query", {"W_PV": "first"})
    assert set(ARRAYS) == set(get_args(conventions.Layout))
