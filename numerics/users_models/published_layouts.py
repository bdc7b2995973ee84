r"""One layer's two matrices out of a file that is laid out as a published code lays it out.

Layouts, by name, with the arrays that a file of it holds and what they make (D = d + 1, h the width of a head)
    merged        W_PV (D, D), W_KQ (D, D)
    allparam      allparam (layers, heads, 2, d, d): P and Q; W_PV = diag(P, 1), W_KQ = diag(Q, 0)
    key-query     value.weight (D, D) = W_PV, KQ.weight (D, D) = W_KQ
    projections   query.weight (h, D), key.weight (h, D), value.weight (D, D): W_KQ = W_Q^T W_K, W_PV = W_V
    haiku         query/w, key/w, value/w (D, h), linear/w (h, D): W_KQ = W_Q W_K^T, W_PV = W_V W_O
Main statements
    an array is found by the end of its name ("module.query.weight"), if exactly one in the file ends so
    only one layer with one head is read; more are refused, since no one matrix is theirs
    what side and sign the matrices have is the convention's matter, not the layout's
References
    allparam: the code of [ahn2023transformers]; haiku: that of [vonoswald2023transformers]; key-query and projections:
    that of [zhang2025training]. As read in November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .stored_arrays import StoredArray, stored_arrays
from .weights_errors import WeightsFileError
from .weights_files import finite

Array = NDArray[np.float64]
Pair = tuple[Array, Array]
LARGEST_SIDE = 4096  # of a matrix; a layer of d covariates has d + 1
_SEPARATORS = "./"

ARRAYS: Mapping[str, Sequence[str]] = {
    "merged": ("W_PV", "W_KQ"),
    "allparam": ("allparam",),
    "key-query": ("value.weight", "KQ.weight"),
    "projections": ("query.weight", "key.weight", "value.weight"),
    "haiku": ("query/w", "key/w", "value/w", "linear/w"),
}


def read_layer(path: str | Path, layout: str, names: Mapping[str, str] | None = None) -> Pair:
    """W_PV and W_KQ (d+1, d+1) from a file in that layout, in float64.

    `names` maps an array of the layout to its name in the file. Raises WeightsFileError.
    """
    path, given = Path(path), dict(names or {})
    needed = ARRAYS[layout]
    for name in given:
        if name not in needed:
            raise WeightsFileError(f"the layout {layout} has {', '.join(needed)}, got a name for {name}")
    with stored_arrays(path) as stored:
        arrays = {own: _read(own, given.get(own), stored, path, layout) for own in needed}
    return _ASSEMBLED[layout](arrays, path)


def _read(own: str, given: str | None, stored: Mapping[str, StoredArray], path: Path, layout: str) -> Array:
    name = given if given is not None else _found(own, list(stored), path, layout)
    if name not in stored:
        raise WeightsFileError(f"need {name} in {path}, which holds {_listed(list(stored))}; check --name {own}=NAME")
    shape = stored[name].shape
    if len(shape) not in (2, 5) or 0 in shape or max(shape) > LARGEST_SIDE or np.prod(shape, dtype=object) > 2**25:
        raise WeightsFileError(
            f"{name} in {path} must be a matrix with sides of at most {LARGEST_SIDE}, got the shape {shape}"
        )
    return finite(np.asarray(stored[name].read(), dtype=np.float64), name, path)


def _found(own: str, present: Sequence[str], path: Path, layout: str) -> str:
    """The one name that is `own`, or ends with it after a separator."""
    if own in present:
        return own
    spellings = {own, own.replace("/", ".")}
    ends = [name for name in present if any(_ends(name, spelling) for spelling in spellings)]
    if len(ends) != 1:
        which = "none" if not ends else f"{len(ends)}, {_listed(ends)}"
        raise WeightsFileError(
            f"need one array named ...{own} of the layout {layout} in {path}, found {which}; it holds "
            f"{_listed(list(present))}; say which with --name {own}=NAME"
        )
    return ends[0]


def _ends(name: str, spelling: str) -> bool:
    return name == spelling or (name.endswith(spelling) and name[-len(spelling) - 1] in _SEPARATORS)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:20])
    return (shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")) or "no arrays"


def _merged(arrays: Mapping[str, Array], path: Path) -> Pair:
    return arrays["W_PV"], arrays["W_KQ"]


def _allparam(arrays: Mapping[str, Array], path: Path) -> Pair:
    """diag(P, 1) and diag(Q, 0), as the published code puts them together."""
    both = arrays["allparam"]
    if both.ndim != 5 or both.shape[2] != 2 or both.shape[3] != both.shape[4]:
        raise WeightsFileError(f"allparam in {path} must have the shape (layers, heads, 2, d, d), got {both.shape}")
    if both.shape[:2] != (1, 1):
        raise WeightsFileError(
            f"need one layer with one head in {path}, got {both.shape[0]} layers of {both.shape[1]} heads; "
            "several layers are a function: give --model file.py:function"
        )
    d = both.shape[-1]
    W_PV, W_KQ = np.zeros((2, d + 1, d + 1))
    W_PV[:d, :d], W_PV[d, d], W_KQ[:d, :d] = both[0, 0, 0], 1.0, both[0, 0, 1]
    return W_PV, W_KQ


def _key_query(arrays: Mapping[str, Array], path: Path) -> Pair:
    return arrays["value.weight"], arrays["KQ.weight"]


def _projections(arrays: Mapping[str, Array], path: Path) -> Pair:
    return arrays["value.weight"], _product(arrays["query.weight"].T, arrays["key.weight"], "query and key", path)


def _haiku(arrays: Mapping[str, Array], path: Path) -> Pair:
    value = _product(arrays["value/w"], arrays["linear/w"], "value/w and linear/w", path)
    return value, _product(arrays["query/w"], arrays["key/w"].T, "query/w and key/w", path)


def _product(left: Array, right: Array, what: str, path: Path) -> Array:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise WeightsFileError(
            f"{what} in {path} do not fit together, got sides {left.shape} and {right.shape}; save one head alone"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused
        return finite(left @ right, f"the product of {what}", path)


_ASSEMBLED: Mapping[str, Callable[[Mapping[str, Array], Path], Pair]] = {
    "merged": _merged,
    "allparam": _allparam,
    "key-query": _key_query,
    "projections": _projections,
    "haiku": _haiku,
}
