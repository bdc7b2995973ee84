"""The formats of the appendix: what is text stays text, formulas are read or shown as they are, bytes do not vary."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from iclcheck.proofs_check.appendix import pdf
from iclcheck.proofs_check.appendix.document import Document
from iclcheck.proofs_check.appendix.entry import (
    AlteredStatements,
    ClaimEntry,
    PrintedSource,
    PrintedStatement,
    PrintedStep,
    Survivor,
)
from iclcheck.proofs_check.appendix.files import contents, write
from iclcheck.proofs_check.appendix.formulas import UnreadableFormulaError, in_lines, is_readable, read, width
from iclcheck.proofs_check.appendix.latex_text import escape
from iclcheck.proofs_check.appendix.mathml import to_mathml
from iclcheck.proofs_check.appendix.typst_math import to_typst
from iclcheck.proofs_check.appendix.typst_source import to_typst_source
from iclcheck.proofs_check.claims.audit import Audit
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.proofs_check.verdicts.verdict import Verdict

HOSTILE = (
    r"\input{/etc/passwd} \write18{rm -rf /} \end{document} %",
    "<script>alert(1)</script><img src=x onerror=alert(1)> &lt; &#60;",
    '#read("/etc/passwd") #eval("1") ] } $ x $ @claim <label> // no comment /* none */ `raw` \\u{41} "quoted"',
    "[a link](javascript:alert(1)) | a cell | ![](http://example.org/x.png) <!-- -->",
    "N" * 200,
    "emoji \N{GRINNING FACE}, to the left: \N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \N{RIGHT-TO-LEFT OVERRIDE}abc",
    "a line\nand\n\n# another\n\\par \x00\x1b[31m",
)
FORMULA = r"A^* = \frac{N}{N + d + 1} I"


def entry(name: str, text: str, latex: str = FORMULA, audit: Audit | None = None) -> ClaimEntry:
    """A claim whose every text is the given one."""
    statement = PrintedStatement(text, latex, text, (text, text), text, (PrintedSource(text, text),), (text,))
    steps = (PrintedStep(text, latex, text, text, True), PrintedStep("plain", FORMULA, "A rule.", "", False))
    verdict = Verdict(text, "agrees", 1.0, 1.0, 0.1, float("inf"), text, 1e-6, 1e-3, text, {})
    altered = AlteredStatements(3, 2, (Survivor(text, 0.1),), dict.fromkeys(("equal", "duplicate"), 1) | REST)
    return ClaimEntry(name, statement, steps, (text,), "0" * 64, text, audit, (verdict,), altered)


REST = {"rescaling": 0, "undefined": 0}


def document(texts: tuple[str, ...] = HOSTILE, latex: str = FORMULA) -> Document:
    audit = Audit(texts[0], texts[1], lambda: {texts[2]: texts[3]}, texts[-2], texts[4], texts[5])
    entries = [entry(f"claim {number} {text}", text, latex) for number, text in enumerate(texts)]
    sourced = replace(entries[0].statement, sources=(PrintedSource("zhang2024trained", "Theorem 4.1"),))
    audited = replace(entries[0], identifier="audit-of-ours", statement=sourced, audit=audit)
    return Document("0.1", Budget(), (*entries, audited))


@pytest.fixture(scope="module")
def hostile() -> dict[str, bytes]:
    return contents(document())


class Elements(HTMLParser):
    """The names of all elements with their attributes, and all text, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_text_is_text_in_html(hostile: dict[str, bytes]) -> None:
    page = Elements(hostile["appendix.html"].decode())
    assert not {"script", "img", "iframe", "object", "form", "input", "link", "base"} & set(page.names)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value or "" for name, value in page.attributes if name in ("href", "src")]
    assert all(link.startswith("#") for link in links)
    text = " ".join(" ".join(page.texts).split())
    for words in HOSTILE:
        assert " ".join(words.split()) in text


def test_the_page_needs_nothing_from_elsewhere_and_forbids_it(hostile: dict[str, bytes]) -> None:
    page = hostile["appendix.html"].decode()
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "@import" not in page
    assert "url(" not in page


def test_hostile_text_is_text_in_markdown(hostile: dict[str, bytes]) -> None:
    for name in ("appendix.md", "errata.md"):
        text = hostile[name].decode()
        assert not re.search(r"<(script|img|!--)", text)
        assert "](javascript" not in text
        assert "](http" not in text
        assert "\n# another" not in text


def test_a_formula_that_is_html_is_none_in_markdown_and_in_html() -> None:
    files = contents(document(("plain",) * 7, "a </math><script> b"))
    assert "<script" not in files["appendix.md"].decode()
    assert "<script" not in files["appendix.html"].decode()


def test_hostile_text_is_text_in_latex(hostile: dict[str, bytes]) -> None:
    for name in ("appendix.tex", "appendix-macros.tex"):
        text = hostile[name].decode()
        assert text.isascii()
        for command in (r"\input{", r"\write18", r"\par "):
            assert command not in text.replace(r"\input{appendix", "").replace(r"\input this", "")
    escaped = escape("".join(HOSTILE))
    assert escaped.isascii()
    assert "U+1F600" in escaped


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_hostile_text_is_text_in_the_pdf(hostile: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip("typst")
    (tmp_path / "a.pdf").write_bytes(hostile["appendix.pdf"])
    command = ["pdftotext", "-layout", str(tmp_path / "a.pdf"), "-"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    letters = "".join(shown.replace("\u200b", "").split())
    for words in ("<script>alert(1)</script>", '#read("/etc/passwd")', r"\input{/etc/passwd}", "N" * 100, "U+1F600"):
        assert "".join(words.split()) in letters
    assert "root:" not in letters


@pytest.mark.parametrize(
    "formula",
    [
        r"\input{/etc/passwd}", r"x \]\end{document}", r"\text{\input x}", "#eval(1)", "x $ y", r"</x>\script",
        r"\frac{1}", "{", "}", r"\left( x", r"\begin{pmatrix} 1", r"\unknown", "x_1_2", "a % b", "{" * 5000,
        r"\begin{tabular}{c} 1 \end{tabular}",
    ],
)  # fmt: skip
def test_a_formula_that_is_not_known_through_and_through_is_shown_as_text(formula: str) -> None:
    assert not is_readable(formula)
    assert to_mathml(formula).startswith('<code class="latex">')
    assert "<script" not in to_mathml(formula)
    assert to_typst(formula).startswith('#raw("')
    files = contents(document(("plain",) * 7, formula))
    assert r"\input{/etc" not in files["appendix.tex"].decode()
    assert r"\end{document}" not in files["appendix.tex"].decode()


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        (r"\frac{1}{2} x^{2}_i", ["<mfrac><mn>1</mn><mn>2</mn></mfrac>", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn>"]),
        (r"\sum_{i} a_i", ["<munder><mo>∑</mo><mi>i</mi></munder>"]),
        (r"\operatorname{tr}(\Lambda \Psi)", ["<mi>tr</mi>", "<mi>Λ</mi><mi>Ψ</mi>"]),
        (r"\mathbb{E} \hat{y}'", ["𝔼", '<mover accent="true"><mi>y</mi>', "′"]),
        (r"\left( \frac{a}{b} \right]", ['form="prefix" stretchy="true">(', 'form="postfix" stretchy="true">]']),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", ["<mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr>"]),
        (r"\text{a < b} < 1", ["<mtext>a &lt; b</mtext><mo>&lt;</mo>"]),
        ("x^23", ["<msup><mi>x</mi><mn>2</mn></msup><mn>3</mn>"]),
    ],
)
def test_formulas_become_mathml(formula: str, parts: list[str]) -> None:
    found = to_mathml(formula)
    ElementTree.fromstring(found)
    for part in parts:
        assert part in found


def test_long_sums_are_broken_before_signs_outside_of_brackets() -> None:
    term = r"\tfrac{1}{2} u^{2} \operatorname{tr}(\Lambda + \Psi)"
    lines = in_lines(read(" + ".join([term] * 8)), 30)
    assert len(lines) > 2
    assert all(width(line) <= 30 for line in lines)
    assert sum(len(line.parts) for line in lines) == len(read(" + ".join([term] * 8)).parts)  # type: ignore[union-attr]


def formulas_of_all_claims() -> Iterator[str]:
    for claim in all_claims().values():
        derivation = claim.derivation()
        yield derivation.statement.latex
        yield from (step.latex for step in derivation.steps)


@pytest.mark.slow
def test_every_formula_of_every_claim_is_read() -> None:
    unread = []
    for formula in formulas_of_all_claims():
        try:
            ElementTree.fromstring(to_mathml(formula))
            read(formula)
        except (UnreadableFormulaError, ElementTree.ParseError) as error:
            unread.append(str(error))
    assert not unread


# The other files


def test_the_manifest_has_what_the_specification_asks_for(hostile: dict[str, bytes]) -> None:
    crate = json.loads(hostile["ro-crate-metadata.json"])
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    by_id = {one["@id"]: one for one in crate["@graph"]}
    assert len(by_id) == len(crate["@graph"])
    assert all("@type" in one for one in crate["@graph"])
    descriptor = by_id["ro-crate-metadata.json"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    root = by_id["./"]
    assert root["@type"] == "Dataset"
    assert all(root[name] for name in ("name", "description", "datePublished", "license"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", root["datePublished"])
    files = {one["@id"] for one in root["hasPart"]}
    assert files == set(hostile) - {"ro-crate-metadata.json"}
    assert all(by_id[name]["@type"] == "File" for name in files)
    for identifier in references(crate["@graph"]):
        assert identifier in by_id or identifier == "https://w3id.org/ro/crate/1.1"


def references(part: object) -> Iterator[str]:
    """Every {"@id": ...} that refers to another entity."""
    if isinstance(part, dict):
        if set(part) == {"@id"}:
            yield part["@id"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_same_document_gives_the_same_bytes_in_every_format(hostile: dict[str, bytes]) -> None:
    assert contents(document()) == hostile
    source = to_typst_source(document(), "ab" * 32)
    assert b"CreationDate" not in pdf.to_pdf(source) or b"D:20000101" in pdf.to_pdf(source)


def test_without_typst_there_is_one_sentence_and_all_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    monkeypatch.setattr("iclcheck.proofs_check.command_line.writing.all_claims", lambda: {})
    monkeypatch.chdir(tmp_path)
    RecordStore(tmp_path / "records.sqlite").close()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "appendix.pdf").write_text("of before")
    assert main(["appendix", str(tmp_path), "--output", "out"]) == 3  # no claim, no verdict
    error = capsys.readouterr().err
    assert "typst is not installed" in error
    assert error.count("\n") == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == set(contents(document())) - {"appendix.pdf"}


def test_the_files_on_the_disk_are_the_contents(tmp_path: Path, hostile: dict[str, bytes]) -> None:
    assert {path.name: path.read_bytes() for path in write(document(), tmp_path)} == hostile


# In a paper

PAPER = r"""\documentclass{article}
\usepackage{amsmath,amssymb}
%s
\input{appendix-macros}
\begin{document}
See \claim{%s}, which %s, with digest \iclcheckdigest.
\appendix
\input{appendix}
\end{document}
"""


def typeset(
    folder: Path, files: dict[str, bytes], package: str, claim: str, value: str
) -> subprocess.CompletedProcess[str]:
    for name in ("appendix.tex", "appendix-macros.tex"):
        (folder / name).write_bytes(files[name])
    (folder / "paper.tex").write_text(PAPER % (package, claim, value))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    return done


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="TeX Live is not installed")
@pytest.mark.parametrize("package", ["", r"\usepackage{hyperref}"])
def test_the_appendix_compiles_in_a_paper_whose_numbers_are_macros(
    tmp_path: Path, hostile: dict[str, bytes], package: str
) -> None:
    done = typeset(tmp_path, hostile, package, "audit-of-ours", r"\claimvalue{audit-of-ours}{1 outcome}")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined references" not in done.stdout
    (tmp_path / "no").mkdir()
    done = typeset(tmp_path / "no", hostile, package, "audit-of-ours", r"\claimvalue{audit-of-ours}{99 measured}")
    assert "there is no value 99 measured" in done.stdout
    assert done.returncode != 0
