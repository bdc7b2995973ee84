"""Random tables, attention logits and decoders at which the claims on attention are measured, and rounding of forces.

Tables are drawn here, from names, so that the verbs that only derive and predict need no torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..claims.exact_checks import Row
from ..claims.settings import FloatArray, generator

EPS = float(np.finfo(np.float64).eps)
# Of a force relative to the same sums of absolute values: a class vector takes some M + 10 roundings, a logit M more,
# its exponential |w| M, a gradient and its products 2 M; with M <= 14 and |w| <= 5 below 250 on either side.
FORCE_ROUNDINGS = 1000


def random_table(name: str, seed: int, classes: int, vocabulary: int, queries: int, common: int) -> dict[str, Any]:
    """P(l|n), plain: the first common token in every class, as nothing moves without overlap, the further ones in some.

    All other tokens are dealt out, each to one class.
    """
    draw = generator(name, seed)
    weights = np.zeros((classes, vocabulary))
    occurs = draw.uniform(size=(classes, common)) < 0.7
    occurs[:, 0] = True
    weights[:, :common] = draw.uniform(0.1, 1.1, size=(classes, common)) * occurs
    for token in range(common, vocabulary):
        weights[token % classes, token] = draw.uniform(0.1, 1.1)
    shares = draw.uniform(0.5, 1.5, size=classes)
    return {
        "contexts": (weights / weights.sum(1, keepdims=True)).tolist(),
        "queries": [n % queries for n in range(classes)],
        "probabilities": (shares / shares.sum()).tolist(),
    }


def arrays_of(table: dict[str, Any]) -> tuple[FloatArray, list[int], FloatArray]:
    """P(l|n), the rows of Z of the classes, and P(n)."""
    queries = sorted(set(table["queries"]))
    return (
        np.array(table["contexts"]),
        [queries.index(query) for query in table["queries"]],
        np.array(table["probabilities"]),
    )


def all_columns(decoder: FloatArray, vocabulary: int) -> FloatArray:
    """Y (M, M) from its kept columns (M, K + 1): the last one stands for every token that is never predicted."""
    kept = decoder.shape[1]
    return np.concatenate([decoder, np.repeat(decoder[:, -1:], vocabulary - kept, axis=1)], axis=1)


def sizes_of_forces(values: dict[str, Any]) -> FloatArray:
    """The sums of eta p f (|Y| (e + alpha) + (f.|Y| (e + alpha)) f) over the classes of each query, (Q, M)."""
    total = np.zeros((max(values["rows"]) + 1, len(values["classes"][0]["f"])))
    for row, letters in zip(values["rows"], values["classes"], strict=True):
        f = letters["f"][:, 0]
        handed = np.abs(letters["Y"]) @ (letters["e"] + letters["alpha"])[:, 0]
        total[row] += letters["eta"] * letters["p"] * f * (handed + (f @ handed) * f)
    return total


def row_of_forces(measured: Any, predicted: FloatArray, sizes: FloatArray, roundings: float = FORCE_ROUNDINGS) -> Row:
    """The largest difference beside what rounding allows there, in units of the largest force.

    The layer subtracts the largest logit of a row, through which the rounding of all its tokens reaches one of them.
    """
    found = np.array(measured)
    unit = float(np.abs(found).max())
    difference, allowed = np.abs(found - predicted), roundings * EPS * (sizes + sizes.sum(1, keepdims=True))
    place = np.unravel_index(np.argmax(difference / allowed), allowed.shape)
    return float(difference[place]) / unit, float(allowed[place]) / unit
