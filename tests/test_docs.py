"""The documentation holds together: links lead somewhere, and no page, picture or public name is forgotten."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import iclcheck
import iclcheck.own

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    """A page without its blocks of code, in which brackets are no links."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Those that are written, and those of headings: lower case, words joined by hyphens, other signs dropped."""
    text = text_of(page)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def broken_links(page: Path) -> list[str]:
    """Links to files that are not there, or to headings that they do not have."""
    found = []
    for link in LINK.findall(text_of(page)):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading: two\n[a](page.md#one-heading-two) [b](page.md#three) [c](none.md) [d](#one)\n")
    assert broken_links(page) == ["page.md#three", "none.md", "#one"]


def test_the_index_names_every_page() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages - listed == set()


def test_the_gallery_shows_every_picture_with_its_page_and_its_command() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    entries = re.findall(
        r"^!\[[^\]]+\]\(pictures/([^)]+)\)\n\n.*\]\(([^)]+)\), `python (benchmarks/\S+\.py)[^`]*`$", text, re.M
    )
    assert {picture for picture, _, _ in entries} == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    for picture, page, program in entries:
        assert f"pictures/{picture}" in (ROOT / "docs" / page).read_text(encoding="utf-8"), picture
        stem = Path(picture).stem
        assert stem in (ROOT / program).read_text(encoding="utf-8"), (picture, program)


def shown_calls() -> dict[str, str]:
    """Name -> what stands in its brackets on the page of the interface."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    return dict(re.findall(r"`([A-Za-z_]+)\(([^`]*)\)`", text))


@pytest.mark.parametrize("module", [iclcheck, iclcheck.own], ids=lambda module: module.__name__)
def test_the_page_of_the_interface_has_every_public_name_with_its_parameters(module: object) -> None:
    calls = shown_calls()
    for name in module.__all__:  # type: ignore[attr-defined]
        thing = getattr(module, name)
        if not callable(thing):
            assert name == "__version__" or f"`{name}`" in (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
            continue
        known, named = inspect.signature(thing).parameters, set()
        for part in re.split(r", | or ", calls[name]):
            word, _, value = part.lstrip("*").partition("=")
            if word and word != "...":
                assert word in known, f"{name} has no parameter {word}"
                assert not value or ast.literal_eval(value) == known[word].default, (name, word)
                named.add(word)
        assert {one.name for one in known.values() if one.default is one.empty} <= named, name
