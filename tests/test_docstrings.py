"""Every example in a docstring is run, and gives what it says."""

import doctest
import importlib
import types
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def module_names() -> list[str]:
    """All modules of the three packages; a new one is covered as soon as its file exists."""
    files = (file for side in ("theory", "numerics", "proofs_check") for file in (CHECKOUT / side).rglob("*.py"))
    names = (".".join(("iclcheck", *file.relative_to(CHECKOUT).with_suffix("").parts)) for file in files)
    return sorted(name.removesuffix(".__init__") for name in names)


@pytest.mark.parametrize("name", module_names())
def test_the_examples_of_a_module_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert outcome.failed == 0  # doctest has printed which


def test_a_wrong_example_is_found() -> None:
    module = types.ModuleType("wrong", "One and one.\n\n>>> 1 + 1\n3\n")
    assert doctest.testmod(module, optionflags=OPTIONS, verbose=False).failed == 1
