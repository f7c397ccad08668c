"""A plan as one HTML file, in a browser: nothing is loaded, nothing runs, everything can be reached with the
keyboard, read in the dark and on a phone."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.browser import ensure_browser
from support.sample_plans import HOSTILE, always, huge, planned, rich

from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.views import html
from lifecycle_as_code.views.html.bars import bars

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

PHONE, DESK = 360, 1280

WIDEST = "[document.documentElement.scrollWidth, window.innerWidth]"

OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"

FOREIGN = "document.querySelectorAll('script, img, iframe, object, embed, link, form, video, audio').length"

HANDLERS = """[...document.querySelectorAll('*')].filter(each =>
  [...each.attributes].some(a => a.name.startsWith('on') || /^(javascript|data|https?):/i.test(a.value.trim())
  && !(each.tagName === 'svg' && a.name === 'xmlns'))).map(each => each.outerHTML)"""

CONTRASTS = """() => {
  const parsed = text => (text.match(/[\\d.]+/g) || []).map(Number)
  const light = ([r, g, b]) => {
    const of = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
    return 0.2126 * of(r) + 0.7152 * of(g) + 0.0722 * of(b)
  }
  const behind = each => {
    for (let at = each; at; at = at.parentElement) {
      const box = at.tagName === 'g' && at.querySelector(':scope > rect')
      const fill = parsed(box ? getComputedStyle(box).fill : getComputedStyle(at).backgroundColor)
      if (fill.length === 3 || fill[3] === 1) return fill
      if (fill[3] > 0) throw new Error('half transparent')
    }
    return [255, 255, 255]
  }
  const found = []
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const each = walk.currentNode.parentElement
    if (!walk.currentNode.data.trim() || ['STYLE', 'title'].includes(each.tagName)) continue
    const style = getComputedStyle(each)
    const ink = light(parsed(each.tagName === 'text' ? style.fill : style.color)), page = light(behind(each))
    const ratio = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05)
    found.push([ratio, each.className.baseVal ?? each.className, walk.currentNode.data.trim()])
  }
  return found
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests in here."""
    path, line = ensure_browser()
    assert path, line
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, with all that it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Browser, directory: Path, plan: Plan, width: int = DESK, **settings: Any
) -> Iterator[Seen]:
    """The plan's page, in a window of that width."""
    file = directory / "plan.html"
    file.write_text(html.plan(plan))
    context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
    seen = Seen(context.new_page())
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
    seen.page.goto(file.as_uri())
    try:
        yield seen
    finally:
        context.close()
    assert seen.requests == [file.as_uri()], "nothing is loaded but the file itself"
    assert seen.complaints == []


def test_the_page_says_everything_that_a_reviewer_judges_by(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, rich()) as seen:
        page = seen.page
        page.evaluate(OPEN_ALL)
        assert page.title() == "Stack payments, environment prod: plan"
        assert page.locator("h1").inner_text() == "Plan: 1 to create, 3 to update, 1 to delete"
        badges = page.locator(".badges .tag").all_inner_texts()
        assert badges[:4] == ["1 denied", "1 warned", "1 waived", "signature breaking"]
        sections = page.locator("main > section > h2").all_inner_texts()
        assert [re.split(r"\s", text)[0] for text in sections] == [
            *("Policies", "Changes", "Blast", "Chosen", "Let", "Warnings", "Steps")
        ]
        denial = page.locator(".verdict").first.inner_text()
        for said in ("denied", "champion-must-be-better", 'signature != "breaking"', "policies.yaml:3"):
            assert said in denial
        metrics = page.locator(".metrics").first.locator("tbody tr")
        assert metrics.nth(0).locator("th, td").all_inner_texts()[:5] == [
            *("auc_holdout", "0.9101", "0.9088", "-0.0013", "▼ worse")
        ]
        assert page.locator(".metrics").count() == 1, "the endpoint's is the same, and told once"
        assert page.locator("svg.lac-graph text", has_text="checkout").count() == 1
        assert "2026-11-30" in page.locator(".verdict", has_text="soak-time").inner_text()
        assert "stack shop" in page.locator("#reach").inner_text()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_screen(browser: Browser, tmp_path: Path, width: int) -> None:
    with opened(browser, tmp_path, rich(), width) as seen:
        seen.page.evaluate(OPEN_ALL)
        assert seen.page.evaluate(WIDEST) == [width, width]
        trend = seen.page.locator(".metrics .trend.bad").first.bounding_box()
        assert trend
        assert trend["x"] + 40 < width, "whether it is worse is seen without scrolling"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1."""
    with opened(browser, tmp_path, rich(), color_scheme=scheme) as seen:
        seen.page.evaluate(OPEN_ALL)
        found = seen.page.evaluate(CONTRASTS)
        assert len(found) > 200
        assert [each for each in found if each[0] < 4.5] == []
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is (scheme == "light")


def test_the_keyboard_reaches_and_opens_everything(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, rich()) as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = false)")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = 0
        for _ in range(200):
            page.keyboard.press("Tab")
            active = page.evaluate("document.activeElement.tagName")
            if active == "BODY":
                break
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid" or (
                active == "INPUT"
            )
            if active == "SUMMARY":
                reached += 1
                page.keyboard.press("Enter")
                assert page.evaluate("document.activeElement.parentElement.open")
                page.keyboard.press("Enter")
                assert not page.evaluate("document.activeElement.parentElement.open")
        assert reached == page.locator("summary").count() == 6


def test_the_filter_works_with_the_keyboard_and_without_a_script(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, rich(), java_script_enabled=False) as seen:
        page = seen.page

        def visible() -> list[str]:
            return [each.inner_text() for each in page.locator(".change h3:visible .name").all()]

        assert len(visible()) == 5
        page.locator("#show-all").focus()
        assert page.locator("label:has(#show-all)").evaluate("each => getComputedStyle(each).outlineStyle")
        page.keyboard.press("ArrowRight")
        assert visible() == ["fraud/champion", "fraud-scoring"], "what is to be looked at"
        page.keyboard.press("ArrowRight")
        assert visible() == ["fraud/5"], "what is created"
        page.locator("label", has_text="delete").click()
        assert visible() == ["interns/registered_model/fraud"]


def test_parts_have_headings_names_and_tables_have_heads(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, rich()) as seen:
        page = seen.page
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("th:not([scope])").count() == 0
        assert page.locator("table:not(:has(thead th[scope=col]))").count() == 0
        assert page.locator("section[aria-labelledby]").count() == 7
        assert page.locator("[tabindex='0']:not([aria-label])").count() == 0
        links = page.evaluate("[...document.querySelectorAll('a')].map(e => e.getAttribute('href'))")
        assert all(page.locator(link).count() == 1 for link in links)


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_word_of_a_user_runs_or_breaks_the_page(browser: Browser, tmp_path: Path, word: str) -> None:
    with opened(browser, tmp_path, rich(always(word)), PHONE) as seen:
        page = seen.page
        page.evaluate(OPEN_ALL)
        assert page.evaluate(WIDEST) == [PHONE, PHONE]
        assert page.evaluate(FOREIGN) == 0
        assert page.evaluate(HANDLERS) == []
        assert page.title().endswith(": plan")
        assert page.locator("main > section").count() == 7
        assert not re.search("[\u202e\u2066\u200d\x1b\x00\x07]", page.content())


def test_the_file_is_bound_to_its_own_styles_and_nothing_else() -> None:
    text = html.plan(rich())
    text.encode("ascii")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    styles = [sha256(each.encode()).digest() for each in re.findall(r"<style>(.*?)</style>", text, re.S)]
    hashes = " ".join(f"&#39;sha256-{b64encode(digest).decode()}&#39;" for digest in styles)
    assert policy[1] == (
        f"default-src &#39;none&#39;; style-src {hashes}; base-uri &#39;none&#39;; form-action &#39;none&#39;"
    )
    assert not re.search(r"\sstyle=|<script|url\(|@import", text)
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]


class Balanced(HTMLParser):
    """Refuses an element that ends where another one is open."""

    VOID = frozenset({"meta", "br", "input", "rect", "line", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize(
    "plan", [pytest.param(rich(), id="rich"), pytest.param(planned(), id="nothing to do")]
)
def test_every_element_ends_where_it_should(plan: Plan) -> None:
    parser = Balanced()
    parser.feed(html.plan(plan))
    parser.close()
    assert parser.open == []


def test_of_very_many_changes_the_first_are_shown_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MOST_CHANGES", 20)
    text = html.plan(huge(50, 100_000))
    assert text.count('<details class="change') == 20
    assert "and 30 more changes" in text
    assert len(text) < 200_000, "long values are cut"
    monkeypatch.setattr(html, "MOST_CHANGES", 2)
    crowded = html.plan(replace(rich(), changes=(*huge(5).changes, *rich().changes)))
    assert crowded.count('<details class="change update urgent"') == 2, "what is to be looked at is shown"


@pytest.mark.parametrize(
    ("before", "after", "drawn"),
    [
        (1.0, 2.0, [("was", 0.0, 48.0), ("is", 0.0, 96.0)]),
        (None, 3.0, [("is", 0.0, 96.0)]),
        (-1.0, 1.0, [("was", 0.0, 48.0), ("is", 48.0, 48.0)]),
        (-2.0, -1.0, [("was", 0.0, 96.0), ("is", 48.0, 48.0)]),
        (1e308, -1e308, [("was", 48.0, 48.0), ("is", 0.0, 48.0)]),
        (1.0, 0.0, [("was", 0.0, 96.0), ("is", 0.0, 1.0)]),
        (0.0, 0.0, []),
        (None, None, []),
        (float("inf"), 1.0, []),
        (float("nan"), 1.0, []),
    ],
)
def test_bars_start_at_zero_and_share_a_scale(
    before: float | None, after: float | None, drawn: list[tuple[str, float, float]]
) -> None:
    found = re.findall(r'class="(was|is)" x="([^"]+)" y="\d" width="([^"]+)"', bars(before, after))
    assert [(name, float(x), float(width)) for name, x, width in found] == drawn
