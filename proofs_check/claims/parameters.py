"""Parameters of `predict` and of checks of a user's weights: read, completed, and refused with a reason."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .claim import Parameter


class UsageError(ValueError):
    """Wrong usage or unusable input: one sentence with the reason and the mend; exit status 2."""


def complete(identifier: str, known: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters with defaults filled in. Raises UsageError for unknown or missing names."""
    names = [parameter.name for parameter in known]
    for name in given:
        if name not in names:
            raise UsageError(f"{identifier} has no parameter {name!r}; {nearest(name, names)}")
    missing = [parameter.name for parameter in known if parameter.required and parameter.name not in given]
    if missing:
        first = missing[0]
        raise UsageError(f"{identifier} needs {', '.join(missing)}; give each like --set {first}=VALUE")
    defaults = {parameter.name: parameter.default for parameter in known if not parameter.required}
    return {**defaults, **given}


def nearest(name: str, names: Iterable[str]) -> str:
    """Which known name was probably meant, and which there are."""
    listed = ", ".join(names)
    close = difflib.get_close_matches(name, list(names), n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {listed}"


def read_settings(settings: Sequence[str], parameters: str | None) -> dict[str, Any]:
    """All parameters from --parameters FILE|- and --set k=v; the latter win. Raises UsageError."""
    found: dict[str, Any] = {}
    if parameters is not None:
        loaded = parse_json(read_text(parameters, "--parameters"), f"the parameters in {parameters}")
        if not isinstance(loaded, dict):
            raise UsageError(f"the parameters in {parameters} need to be one JSON object; write {{\"context_length\": 20}}")
        found.update(loaded)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set needs NAME=VALUE, got {setting!r}; write --set context_length=20")
        source = read_text(text[1:], f"--set {name}") if text.startswith("@") else text
        found[name.strip()] = parse_json(source, f"the value of {name}")
    return found


def read_text(path: str, option: str) -> str:
    """The text of a file, or of standard input for "-"."""
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{option} cannot read {path!r} ({reason}); give a readable JSON file") from None


def parse_json(text: str, what: str) -> Any:
    """Strict JSON: NaN and Infinity are refused too."""

    def refuse(constant: str) -> Any:
        raise UsageError(f"{what} holds {constant}; give finite numbers")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise UsageError(f"{what} is no JSON ({error.msg} at character {error.pos}); write numbers or nested lists") from None
    except RecursionError:
        raise UsageError(f"{what} is nested too deeply; write numbers or nested lists") from None
