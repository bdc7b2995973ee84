r"""Conventions of a layer of linear attention, as plain data, and the way from a user's weights to ours and back.

With prompts E = [[x_1 .. x_N, x_q], [y_1 .. y_N, 0]], one token a column z, a layer in some convention answers
    yhat = sign * norm * sum over tokens of (last entry of P z) (z^T Q z_q),     z_q = (x_q, 0).
Main statements
    ours          norm = 1/N over the context, the query among the tokens, sign +, z^T W_KQ z_q, W_PV z
    canonical     weights (W_PV, W_KQ) of ours that are the same function of (x_i, y_i, x_q)
    written       the way back: canonical(written(W)) = W
    neither of the two knows the query mask, the 1/2 of the loss or the scale of the inputs: the first belongs to the
    function and not to the weights, the second to training, the third to the law of the inputs
References
    [zhang2024trained, Eq. 3.3] is ours; [ahn2023transformers] masks the query, and its prediction has a minus sign;
    [vonoswald2023transformers] has no 1/N, a minus sign, and leaves the query out of keys and values;
    [mahankali2024one] has no 1/N; [zhang2025training] has none in its code. `docs/conventions.md` says what was read.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Normalisation = Literal["1/N", "1/(N+1)", "none"]
Query = Literal["inside", "masked"]
Score = Literal["keys first", "queries first"]
Tokens = Literal["columns", "rows"]
Layout = Literal["merged", "allparam", "key-query", "projections", "haiku"]


class ConventionError(ValueError):
    """A convention that does not exist, in one sentence with the names there are."""


@dataclass(frozen=True)
class Convention:
    """How a layer of linear attention is written down. The default is ours.

    normalisation  factor before the sum over tokens: "1/N" (N context tokens), "1/(N+1)", or "none"
    query          whether the query column is among keys and values: "inside" or "masked"
    sign           -1 where the prediction is minus the entry that the layer gives
    score          what stands on the left of the key-query matrix: z^T Q z_q, "keys first", or z_q^T Q z
    tokens         what the value matrix acts on: "columns", P z, or "rows", z^T P
    loss_factor    before the square in the loss; changes no minimum
    input_scale    c > 0 where the model's inputs are c x for x of the stated law, labels made from c x
    layout         how a file holds the matrices (`published_layouts`)

    Immutable, with a readable repr of what differs from ours:
    >>> Convention(normalisation="none", sign=-1)
    Convention(normalisation='none', sign=-1)
    >>> Convention()
    Convention()
    """

    normalisation: Normalisation = "1/N"
    query: Query = "inside"
    sign: Literal[1, -1] = 1
    score: Score = "keys first"
    tokens: Tokens = "columns"
    loss_factor: float = 0.5
    input_scale: float = 1.0
    layout: Layout = "merged"

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise ConventionError(
                    f"{name} of a convention is one of {', '.join(map(str, get_args(kind)))}, got "
                    f"{getattr(self, name)!r}"
                )
        for name in ("loss_factor", "input_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ConventionError(f"{name} of a convention is a finite number above 0, got {value!r}")

    def __repr__(self) -> str:
        ours = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return f"Convention({', '.join(f'{name}={value!r}' for name, value, default in ours if value != default)})"

    def factor(self, context_length: float) -> float:
        """canonical A over A as it is written: the sign, times N times the factor before the sum.

        >>> Convention("none").factor(4), Convention("1/(N+1)", sign=-1).factor(4)
        (4.0, -0.8)
        """
        N = float(context_length)
        return self.sign * {"1/N": 1.0, "none": N, "1/(N+1)": N / (N + 1)}[self.normalisation]

    def canonical(self, W_PV: Array, W_KQ: Array, context_length: float) -> tuple[Array, Array]:
        """Weights of ours, (d+1, d+1) each, that are the same function at this N as these in this convention."""
        value = W_PV.swapaxes(-1, -2) if self.tokens == "rows" else W_PV
        key_query = W_KQ.swapaxes(-1, -2) if self.score == "queries first" else W_KQ
        return value * self.factor(context_length), key_query

    def written(self, W_PV: Array, W_KQ: Array, context_length: float) -> tuple[Array, Array]:
        """Weights in this convention that are the same function at this N as ours."""
        value = W_PV / self.factor(context_length)
        return (
            value.swapaxes(-1, -2) if self.tokens == "rows" else value,
            W_KQ.swapaxes(-1, -2) if self.score == "queries first" else W_KQ,
        )

    def __str__(self) -> str:
        words = [NORMS[self.normalisation], f"query {'inside' if self.query == 'inside' else 'masked'}"]
        words += ["prediction with a minus sign"] if self.sign < 0 else []
        words += ["W_KQ as queries x keys"] if self.score == "queries first" else []
        words += ["W_PV for tokens as rows"] if self.tokens == "rows" else []
        words += [f"inputs {self.input_scale:g} x"] if self.input_scale != 1 else []
        return ", ".join(words)


_CHOICES: Mapping[str, object] = {
    "normalisation": Normalisation,
    "query": Query,
    "sign": Literal[1, -1],
    "score": Score,
    "tokens": Tokens,
    "layout": Layout,
}
NORMS: Mapping[Normalisation, str] = {
    "1/N": "1/N over the context",
    "none": "no 1/N",
    "1/(N+1)": "1/(N+1) in place of 1/N",
}

OURS = Convention()
PRESETS: Mapping[str, Convention] = MappingProxyType(
    {
        "iclcheck": OURS,
        "ZFB": OURS,
        "ACDS": Convention("1/N", "masked", -1, "queries first", loss_factor=1.0, layout="allparam"),
        "MHM": Convention("none"),
        "VO22": Convention("none", "masked", -1, "queries first", "rows", loss_factor=1.0, layout="haiku"),
        "ZSLS": Convention("none", score="queries first", loss_factor=1.0, layout="projections"),
        "ZSLS-merged": Convention("none", score="queries first", loss_factor=1.0, layout="key-query"),
    }
)
_WORDS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "1/N": {"normalisation": "1/N"},
        "1/(N+1)": {"normalisation": "1/(N+1)"},
        "no-1/N": {"normalisation": "none"},
        "inside": {"query": "inside"},
        "masked": {"query": "masked"},
        "plus": {"sign": 1},
        "minus": {"sign": -1},
        "keys-first": {"score": "keys first"},
        "queries-first": {"score": "queries first"},
        "columns": {"tokens": "columns"},
        "rows": {"tokens": "rows"},
        **{layout: {"layout": layout} for layout in get_args(Layout)},
    }
)


def named_convention(name: str) -> Convention:
    """What a comma-separated name says: a preset or ours, changed by single words; `inputs=2` is their scale.

    Raises ConventionError.

    >>> named_convention("VO22,1/N")
    Convention(query='masked', sign=-1, score='queries first', tokens='rows', loss_factor=1.0, layout='haiku')
    >>> named_convention("no-1/N,inputs=2").input_scale
    2.0
    """
    found = OURS
    for place, word in enumerate(part.strip() for part in name.split(",")):
        if word in PRESETS and place == 0:
            found = PRESETS[word]
        elif word in _WORDS:
            found = replace(found, **_WORDS[word])  # type: ignore[arg-type]
        elif word.startswith("inputs="):
            found = replace(found, input_scale=_scale(word.removeprefix("inputs=")))
        else:
            raise ConventionError(_unknown(word))
    return found


def _scale(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConventionError(f"inputs= needs a number above 0, got {text[:40]!r}; write inputs=2") from None


def _unknown(word: str) -> str:
    close = difflib.get_close_matches(word, [*PRESETS, *_WORDS], n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"no convention is called {word[:40]!r}; {meant}write one of {', '.join(PRESETS)}, then, by commas, any of "
        f"{', '.join(_WORDS)}, inputs=C"
    )
