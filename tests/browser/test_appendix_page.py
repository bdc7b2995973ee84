"""The appendix in Debian's Chromium: no script, phone and desktop, light and dark, by keyboard."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.appendix import judging
from iclcheck.proofs_check.appendix.document import gather
from iclcheck.proofs_check.appendix.html import to_html
from iclcheck.proofs_check.certificates import making
from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.records.store import RecordStore

pytestmark = pytest.mark.slow

MEASURED = ("mesa-partial-observation", "audit-mn-objective")
CLAIMS = (*MEASURED, "population-loss", "fixed-point", "mesanet-layer", "mixture-posterior")
OUTSIDE = """[...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".wide") && !one.closest(".skip") && one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 100))"""
CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(x => x / 255)
      .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  const page = light(getComputedStyle(document.documentElement).backgroundColor === "rgba(0, 0, 0, 0)"
      ? getComputedStyle(document.body).backgroundColor : getComputedStyle(document.documentElement).backgroundColor);
  const texts = "p, a, td, th, dt, dd, h1, h2, h3, .mark, .checked, caption, summary";
  return Math.min(...[...document.querySelectorAll(texts)]
      .map(one => light(getComputedStyle(one).color))
      .map(text => (Math.max(text, page) + .05) / (Math.min(text, page) + .05)));
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch, RecordStore(folder / "records.sqlite") as store:
        patch.setattr(making, "DEFAULT_FOLDER", folder / "certificates")
        patch.setattr(judging, "DEFAULT_FOLDER", folder / "judged")
        check_claims([find(name) for name in MEASURED], Budget(), store, workers=1)
        document = gather([find(name) for name in CLAIMS], Budget(), store)
    (folder / "appendix.html").write_text(to_html(document, "ab" * 32), encoding="utf-8")
    return folder / "appendix.html"


@pytest.mark.parametrize("width", [320, 360, 414, 768, 1200])
def test_the_page_never_scrolls_sideways(browser: Any, page: Path, width: int) -> None:
    browser.open(page, width=width, height=800)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OUTSIDE) == []


def test_wide_parts_scroll_in_themselves_and_by_the_keyboard(browser: Any, page: Path) -> None:
    browser.open(page, width=360, height=800)
    wide = '[...document.querySelectorAll(".wide")].filter(one => one.scrollWidth > one.clientWidth)'
    assert browser.value(f"{wide}.length") > 3
    assert browser.value(f"{wide}.every(one => one.tabIndex === 0 && one.getAttribute('aria-label'))")
    browser.value(f"{wide}[0].focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    browser.value("new Promise(done => setTimeout(done, 500))")
    assert browser.value(f"{wide}[0] === document.activeElement")


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_in_dark(browser: Any, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    (lightness,) = browser.value(
        "[getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number).reduce((a, b) => a + b)]"
    )
    assert (lightness < 200) == dark
    assert browser.value(CONTRAST) >= 4.5  # what WCAG 2 asks of text


def test_formulas_are_set_and_not_shown_as_source(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.value("document.querySelectorAll('math').length") > 30
    assert browser.value("document.querySelectorAll('code.latex').length") == 0
    # A fraction is higher than a letter where MathML is understood.
    high = "document.querySelector('mfrac').getBoundingClientRect().height"
    assert browser.value(f"{high} > 1.4 * document.querySelector('mi').getBoundingClientRect().height")


def test_tab_reaches_the_skip_link_first_and_every_claim(browser: Any, page: Path) -> None:
    browser.open(page)
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("document.activeElement.getBoundingClientRect().left >= 0")  # it is seen now
    browser.press("Enter")
    assert browser.value("location.hash") == "#main"
    reached = set()
    for _ in range(len(CLAIMS) + 3):
        browser.press("Tab")
        reached.add(browser.value("document.activeElement.getAttribute('href')"))
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {f"#claim-{name}" for name in CLAIMS} <= reached


def test_headings_and_landmarks_lead_through_the_page(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.value("['header', 'nav', 'main'].map(one => document.querySelectorAll(one).length)") == [1, 1, 1]
    assert browser.value("document.documentElement.lang") == "en"
    levels = browser.value("[...document.querySelectorAll('h1, h2, h3, h4')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = browser.value("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    targets = browser.value("[...document.querySelectorAll('a')].map(one => one.getAttribute('href').slice(1))")
    assert set(targets) <= set(ids)


def test_states_have_a_sign_and_a_word_beside_their_colour(browser: Any, page: Path) -> None:
    browser.open(page)
    signs = browser.value("[...document.querySelectorAll('svg .sign')].map(one => one.textContent)")
    assert len(signs) == len(CLAIMS)
    assert set(signs) == {"✓", "✗", "–"}  # ✗: the claim that corrects the audit is not measured here
    titles = browser.value("[...document.querySelectorAll('svg title')].map(one => one.textContent)")
    assert "mesa-partial-observation: agrees" in titles
    assert "fixed-point: not measured" in titles
