r"""Plain data: what passes between the packages and what a record is made of.

Plain data is null, true, false, an integer, a finite float, a string, a list of plain data,
or a mapping from strings to plain data.

Main statements
    plain_copy(x)       equals what JSON gives back after writing and reading x
    canonical_json(x)   one text per value, so that its sha256 is a key made from content
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def plain_copy(value: Any, where: str = "value") -> Any:
    """A copy of `value` made of plain data only; tuples become lists, NumPy's float64 a float.

    Raises TypeError for anything that is not plain data, ValueError for NaN and infinities;
    `where` is the name under which the message speaks of the value.

    >>> plain_copy({"gain": (1, 2.5)})
    {'gain': [1, 2.5]}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _finite(float(value), where)
    if isinstance(value, list | tuple):
        return [plain_copy(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_text_key(key, where): plain_copy(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(
        f"{where} must be plain data (null, bool, int, finite float, str, list or mapping of these), "
        f"got {type(value).__name__}; convert it first, e.g. with .item() or .tolist()"
    )


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ValueError(
            f"{where} must be finite because a record is strict JSON, got {value}; "
            "record null, or the count of such values, in its place"
        )
    return value


def _text_key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the names in {where} must be strings, got {key!r}; use str({key!r}) as the name")
    return key


def canonical_json(value: Any) -> str:
    """The text of plain data with sorted names and no spaces; equal data give equal texts.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    return plain_json(plain_copy(value))


def plain_json(plain: Any) -> str:
    """`canonical_json` of what is plain data already, which need not be copied."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_hash(text: str) -> str:
    """The sha256 of a text: `content_hash` of data whose canonical JSON it is."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(value: Any) -> str:
    """The sha256 (64 hexadecimal digits) of the canonical JSON of plain data.

    >>> content_hash({"d": 2})[:12]
    '1b8adba507ea'
    """
    return text_hash(canonical_json(value))
