"""Parameters of `predict` and of checks of a user's weights: read, completed, and refused with a reason."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .claim import Parameter


class UsageError(ValueError):
    """Wrong usage or unusable input: one sentence with the reason and the mend; exit status 2."""


def complete(identifier: str, known: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters with defaults filled in. Raises UsageError for unknown or missing names."""
    names = [parameter.name for parameter in known]
    for name in given:
        if name not in names:
            raise UsageError(f"{identifier} has no parameter {quoted(name)}; {nearest(name, names)}")
    missing = [parameter.name for parameter in known if parameter.required and parameter.name not in given]
    if missing:
        first = missing[0]
        raise UsageError(f"{identifier} needs {', '.join(missing)}; give each like --set {first}=VALUE")
    defaults = {parameter.name: parameter.default for parameter in known if not parameter.required}
    return {**defaults, **given}


def nearest(name: str, names: Iterable[str]) -> str:
    """Which known name was probably meant, and which there are."""
    known = list(names)
    return guess(name, known) + f"known: {', '.join(known)}"


def guess(name: str, names: Iterable[str]) -> str:
    """The question after the name that was probably meant, with a space behind it; nothing where none is near.

    >>> guess("fixedpoint", ["test-risk", "fixed-point"])
    "did you mean 'fixed-point'? "
    """
    known, meant = list(names), name.lower()
    holding = [one for one in known if meant and meant in one]
    whole = [one for one in holding if len(meant) > 3]  # a word left out is likelier than another word
    close = whole or difflib.get_close_matches(meant, known, n=1) or holding
    return f"did you mean {close[0]!r}? " if close else ""


def quoted(text: str) -> str:
    """What a user wrote, in quotes and cut after sixty characters."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def finite_quantities(
    identifier: str, predict: Callable[[Mapping[str, Any]], dict[str, Any]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """What `predict` gives. Raises UsageError where that leaves the range of double precision."""
    with np.errstate(all="ignore"):
        try:
            found = predict(parameters)
        except (ArithmeticError, np.linalg.LinAlgError):
            found = {"": math.nan}
    if holds_no_number(found):
        raise UsageError(
            f"the numbers of {identifier} leave the range of double precision at these parameters; "
            "rescale the inputs so that their sizes are nearer to 1"
        )
    return found


def holds_no_number(value: Any) -> bool:
    """Whether NaN or an infinity is anywhere in plain data."""
    if isinstance(value, Mapping):
        return any(holds_no_number(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(holds_no_number(part) for part in value)
    return isinstance(value, float) and not math.isfinite(value)


def read_settings(settings: Sequence[str], parameters: str | None, words: Iterable[str] = ()) -> dict[str, Any]:
    """All parameters from --parameters FILE|- and --set k=v; the latter win. Raises UsageError.

    words: names whose values may stand without quotes.
    """
    found: dict[str, Any] = {}
    if parameters is not None:
        what = "standard input" if parameters == "-" else f"the file {parameters}"
        mend = 'write one JSON object like {"context_length": 20}'
        loaded = parse_json(read_text(parameters, "--parameters"), what, mend)
        if not isinstance(loaded, dict):
            raise UsageError(f"{what} needs to hold all parameters together; {mend}")
        found.update(loaded)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set needs NAME=VALUE, got {quoted(setting)}; write --set context_length=20")
        source = read_text(text[1:], f"--set {name}=@FILE") if text.startswith("@") else text
        mend = "write a number such as 0.5, or nested lists, [[1, 0], [0, 1]]"
        if name.strip() in words and WORD.fullmatch(source):
            found[name.strip()] = source
            continue
        found[name.strip()] = parse_json(source, f"the value of {name}", mend)
    return found


WORD = re.compile("[A-Za-z][A-Za-z0-9_-]*")


def read_text(path: str, option: str) -> str:
    """The text of a file, or of standard input for "-"."""
    if not path:
        raise UsageError(f"{option} needs the name of a file, got none; - is standard input")
    try:
        if path != "-":
            return Path(path).read_text(encoding="utf-8-sig")  # some editors put a mark first
        if sys.stdin is None:
            raise UsageError(f"{option} cannot read standard input, which is closed; name a file")
        return sys.stdin.read()
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise UsageError(f"{option} cannot read {quoted(path)} ({reason}); give a readable JSON file")


DEEPEST = 16  # brackets inside brackets; a matrix has two


def parse_json(text: str, what: str, mend: str) -> Any:
    """Strict JSON of finite numbers: no NaN, no Infinity, nothing beyond double precision, no name twice."""

    def finite(number: Callable[[str], Any]) -> Callable[[str], Any]:
        def read(literal: str) -> Any:
            if not math.isfinite(float(literal)):
                shown = quoted(literal)[1:-1]
                raise UsageError(f"{what} cannot hold {shown}; give finite numbers, below 1.8e308 in size")
            return number(literal)

        return read

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, count in Counter(name for name, _ in pairs).items():
            if count > 1:
                raise UsageError(f"{what} gives {quoted(name)} {count} times; give it once")
        return dict(pairs)

    try:
        value = json.loads(
            text,
            parse_constant=finite(float),
            parse_float=finite(float),
            parse_int=finite(int),
            object_pairs_hook=once,
        )
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos}"
        raise UsageError(f"{what} cannot be read as JSON ({where}); {mend}") from None
    except RecursionError:
        raise UsageError(f"{what} is nested too deeply; {mend}") from None
    if is_deeper(value, DEEPEST):
        raise UsageError(f"{what} is nested too deeply; {mend}")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie inside each other more than `levels` times."""
    layer = [value]
    for _ in range(levels + 1):
        lists = [part for part in layer if isinstance(part, list)]
        lists += [list(part.values()) for part in layer if isinstance(part, dict)]
        layer = [inner for part in lists for inner in part]
    return bool(layer)
