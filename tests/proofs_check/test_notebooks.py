"""What notebooks show of verdicts and derivations: their own words, as text."""

from dataclasses import replace

import pytest

import iclcheck
from iclcheck.proofs_check.notebooks import table_html, verdict_html, verdict_markdown
from iclcheck.proofs_check.verdicts.verdict import Verdict
from iclcheck.theory.algebra.derivations import plain_markdown

HOSTILE = '<script>alert("1")</script> & `code` ```\n$x_1$ | [a](b) ☃ \u202etfel'
VERDICT = Verdict("a check", "agrees", 1.0, 1.0, 0.1, 0.2, "units", 1e-6, 1e-3, "nothing", {})


@pytest.mark.parametrize("outcome", ["agrees", "contradicts", "inconclusive", HOSTILE])
def test_hostile_text_comes_out_as_text(outcome: str) -> None:
    shown = verdict_html(HOSTILE, outcome, HOSTILE)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in table_html([HOSTILE], [[HOSTILE]])
    heading, _, body = verdict_markdown(HOSTILE.replace("\n", " "), "agrees", HOSTILE).partition("\n\n")
    assert "<script" not in heading
    assert "\\`code\\`" in heading
    fence = body.partition("text\n")[0]
    assert len(fence) == 4
    assert body.count(fence) == 2


def test_a_verdict_shows_its_outcome_and_its_sentence() -> None:
    assert "agrees</span>" in VERDICT._repr_html_()
    assert str(VERDICT) in VERDICT._repr_markdown_()
    assert replace(VERDICT, outcome="contradicts")._repr_html_() != VERDICT._repr_html_()


def test_a_derivation_shows_each_step_as_a_formula_with_its_reason() -> None:
    derivation = iclcheck.derive("least-squares-hessian")
    shown = derivation._repr_markdown_()
    assert shown.count("$$") == 2 * (1 + len(derivation.steps))
    for number, step in enumerate(derivation.steps, start=1):
        assert f"{number}. {plain_markdown(step.name)}: " in shown
        assert f"$${step.latex}$$" in shown
