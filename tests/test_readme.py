"""What the README shows is what the commands print."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK_CHECK = (ROOT / "docs" / "quick_check.md").read_text(encoding="utf-8")


def console_blocks() -> list[tuple[str, str]]:
    """(command, output) of every console block."""
    blocks = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, flags=re.S)
    return [(command, output) for command, output in blocks]


def test_the_prediction_shown_is_the_prediction_printed(capsys: pytest.CaptureFixture[str]) -> None:
    command, output = console_blocks()[0]
    program, *arguments = shlex.split(command)
    assert program == "iclcheck"
    assert main(arguments) == 0
    assert capsys.readouterr().out == output


def test_the_python_examples_hold() -> None:
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    assert blocks.count(">>>") >= 3
    test = doctest.DocTestParser().get_doctest(blocks, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_table_of_claims_and_the_table_of_verdicts_name_every_claim_and_check() -> None:
    for claim in all_claims().values():
        assert f"| {claim.identifier} |" in README
        for check in claim.checks:
            assert f"   {check.name} " in QUICK_CHECK


def test_the_rows_of_the_readme_are_rows_of_the_whole_table() -> None:
    excerpt = README.partition("## What it prints")[2].partition("```\n")[2].partition("```")[0]
    rows = excerpt.splitlines()
    assert len(rows) > 10
    assert set(rows) <= set(QUICK_CHECK.splitlines())


def test_every_file_that_the_readme_names_exists() -> None:
    root = Path(__file__).parent.parent
    named = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`((?:tests|docs|evidence|benchmarks)/[^`]+)`", README)
    assert named
    for name in named:
        assert (root / name).exists(), name


def test_the_closed_form_shown_is_the_derived_one() -> None:
    # The formula of the first screen, as text: its terms are those of the derived inverse.
    inverse = repr(all_claims()["fixed-point"].derivation().results["inverse"])
    assert inverse == "Lambda + N^-1 Lambda + N^-1 sigma2 Psi^-1 + N^-1 tr(Lambda Psi) Psi^-1"
    assert "u U = ((1 + 1/N) Lambda + ((tr(Lambda Psi) + sigma^2)/N) Psi^-1)^-1" in README
    rate = str(all_claims()["uniform-covariates"].derivation().results["learning rate"])
    assert rate == "5*N/(lam*(5*N + 5*d - 1))"  # lam = a^2/3
    assert "eta = 15 N / (a^2 (5 N + 5 d - 1))" in README


def test_every_key_of_the_literature_has_its_reference() -> None:
    root = Path(__file__).parent.parent
    listed = set(re.findall(r"^\| ([a-z]+\d{4}[a-z]+) \|", (root / "docs/references.md").read_text(), flags=re.M))
    used = {
        key
        for side in ("theory", "numerics", "proofs_check")
        for file in (root / side).rglob("*.py")
        if file.name != "bibliography.py"  # it lists the works, and uses none
        for key in re.findall(r"\b[a-z]+(?:18|19|20)\d\d[a-z]+\b", file.read_text())
    }
    assert used == listed
