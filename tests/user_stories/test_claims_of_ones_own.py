"""Somebody states two claims: one that agrees, one that is wrong on purpose. The page docs/own_claims.md tells both."""

import re
from pathlib import Path

import pytest

from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.own.template import template

PAGE = (Path(__file__).parents[2] / "docs" / "own_claims.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.S)
FILES = [text for kind, text in BLOCKS if kind == "python" and "claim(\n" in text]
TABLES = [text for kind, text in BLOCKS if not kind]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(table: str) -> list[str]:
    """The lines of a table, without the time that it took."""
    return [line.rstrip() for line in table.splitlines() if line.strip() and not re.match(r"\d+ s; records", line)]


def test_the_page_shows_the_file_that_new_claim_writes() -> None:
    assert main(["new-claim", "averaging-risk"]) == 0
    assert Path("averaging_risk.py").read_text() == FILES[0]
    assert template("averaging-risk", Path("averaging_risk.py")) == FILES[0]


@pytest.mark.slow
def test_a_claim_that_holds_agrees_and_refuses_every_altered_statement(capsys: pytest.CaptureFixture[str]) -> None:
    Path("averaging_risk.py").write_text(FILES[0])
    assert main(["check", "--claims", "averaging_risk.py", "--device", "cpu", "--workers", "1"]) == 0
    assert rows(capsys.readouterr().out) == rows(TABLES[0])
    assert main(["controls", "--claims", "averaging_risk.py", "--device", "cpu"]) == 0


def test_a_formula_carried_over_to_another_law_is_contradicted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("signs.py").write_text(FILES[1])
    command = ["check", "--claims", "signs.py", "--device", "cpu", "--workers", "1"]
    assert main(command) == 1
    assert rows(capsys.readouterr().out) == rows(TABLES[1])
    Path("signs.py").write_text(FILES[1].replace("(d + 1)/N", "(d - 1)/N"))
    assert main(command) == 0
    assert "0 of" not in capsys.readouterr().out


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "python" and "claims_from" in text]
    Path("averaging_risk.py").write_text(FILES[0].replace("detect=0.02", "detect=0.3"))
    exec(compile(text, "own_claims.md", "exec"), {})
    assert capsys.readouterr().out == "0\n"
