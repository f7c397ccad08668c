"""A plan as a pull request's comment: what it says, that nobody's name can be more than text, and that it
fits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from support.sample_plans import ALIAS, HOSTILE, always, changed, huge, planned, rich

from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.plan import Mode, Plan
from lifecycle_as_code.model.review import Outcome, Review, Verdict
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.views.markdown import drift, gfm
from lifecycle_as_code.views.markdown import plan as markdown
from lifecycle_as_code.views.markdown.draft import Draft, Section, Weight, fit
from lifecycle_as_code.views.text import safe

GFM = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

OURS = {"p", "strong", "em", "b", "br", "code", "pre", "blockquote", "ul", "ol", "li", "details", "summary"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}

REFERS = re.compile(r"(?:^|\W)@\w|#\d|\bGH-\d|://|\bwww\.", re.ASCII | re.IGNORECASE)
"""What GitHub turns into links, mentions and references, outside of code."""


@dataclass
class Page(HTMLParser):
    """What a reader gets: which elements there are, their texts, and the text that isn't code."""

    tags: list[str] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    stack: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {f"{name}={value}" for name, value in attrs}
        if tag == "br":
            return
        self.stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "details":
            self.depths.append(self.stack.count("details"))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.stack}:
            self.rows[-1][-1] += data
        if not {"code", "pre"} & {*self.stack}:
            self.running.append(data)


def read(text: str) -> Page:
    page = Page()
    page.feed(GFM.render(text))
    page.close()
    assert page.stack == []
    return page


def row(page: Page, first: str) -> list[str]:
    return next(cells for cells in page.rows if cells[0] == first)


def test_the_first_line_sums_it_up() -> None:
    first = markdown.plan(rich()).splitlines()[0]
    assert first == (
        "**Plan:** 1 to create, 3 to update, 1 to delete · **1 denied** · 1 warned · 1 waived"
        " · **signature breaking** · **no capacity for 1 endpoint** · 2 endpoints affected"
        " · 1 user gains access · 1 user loses access"
    )


def test_the_denial_comes_before_the_changes_with_policy_place_and_what_was_not_met() -> None:
    text = markdown.plan(rich())
    caution, _, rest = text.partition("| Action |")
    assert "> [!CAUTION]" in caution
    assert "`champion-must-be-better` for `model_alias.fraud/champion` at `models/fraud.yaml:18`" in caution
    assert "(policy: `policies.yaml:3`)" in caution
    assert '`signature != "breaking"`' in caution
    assert "champion-must-be-better" not in rest
    assert text.index("**warned**") < text.index("**waived**") < text.index("**passed**")


def test_a_waiver_says_why_and_until_when() -> None:
    text = markdown.plan(rich())
    assert "until the end of `2026-11-30` (`waivers.yaml:2`): fraud wave of 23 November" in text


def test_evidence_is_a_table_of_before_and_after_with_words_beside_the_arrows() -> None:
    page = read(markdown.plan(rich()))
    assert row(page, "auc_holdout") == ["auc_holdout", "", "0.9101", "0.9088", "-0.0013", "▼ worse"]
    assert row(page, "log_loss") == ["log_loss", "", "0.2134", "0.1987", "-0.0147", "▲ better"]
    data = "payments-2026-q2 (a1b2c3d4)"
    assert row(page, "auc") == ["auc", data, "0.9312", "0.9447", "+0.0135", "▲ better"]
    assert row(page, "calibration") == ["calibration", "", "NaN", "0.02", "", ""]
    assert row(page, "seed") == ["seed", '"7"', "–"]
    assert row(page, "run by") == ["run by", "maria", "jonas"]
    assert row(page, "flavor sklearn") == ["flavor sklearn", "1.5.2", "1.6.1"]
    assert not [cells for cells in page.rows if cells[0] == "MLflow"], "it doesn't differ"


def test_the_same_evidence_is_told_once() -> None:
    text = markdown.plan(rich())
    assert text.count("`auc_holdout`") == 1
    assert "served as champion`, the same as for `model_alias.fraud/champion`" in text
    assert text.count('input "device\\_age" (double) is gone') == 2, (
        "but what breaks is told wherever it does"
    )


def test_what_is_reached_is_a_table_with_whose_traffic_it_is() -> None:
    page = read(markdown.plan(rich()))
    mine = row(page, "serving_endpoint.fraud-scoring")
    assert mine[1:6] == ["champion", "90 %", "3 → 4", "follows @champion", "changes with this plan"]
    assert mine[6] == "model_alias.fraud/champion, serving_endpoint.fraud-scoring"
    assert row(page, "serving_endpoint.checkout")[5] == "changes when stack shop is applied"
    assert ["loses", "paula", "registered_model.fraud", "READ", "NO_PERMISSIONS"] in [
        cells[:5] for cells in page.rows
    ]
    assert [cells for cells in page.rows if "does not fit" in cells[-1]]


def test_every_change_is_a_row_and_a_part_that_opens() -> None:
    page = read(markdown.plan(rich()))
    changes = [cells for cells in page.rows if len(cells) == 3 and cells[0].startswith(("+", "~", "-"))]
    assert [cells[0] for cells in changes] == ["~ update", "~ update", "+ create", "- delete", "~ update"]
    assert page.tags.count("details") == 5 + len(
        ("policies", "reach", "choices", "guards", "warning", "steps", "records")
    )
    assert {*page.depths} == {1}, "no part is caught in another"


def test_texts_of_many_lines_are_diffs() -> None:
    text = markdown.plan(rich())
    assert "```diff\n Scores card payments.\n+\n+Owned by the risk team.\n" in text


def test_a_text_with_a_fence_of_its_own_stays_inside_ours() -> None:
    before, after = (
        RegisteredModel.model_construct(name="m", description=f"a\n```\n# b\n````\n{end}", tags={})
        for end in ("c", "d")
    )
    page = read(markdown.plan(planned(changed(before, after))))
    assert page.tags.count("pre") == 1
    assert {*page.depths} == {1}
    assert not {"h1", "hr"} & {*page.tags}


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_word_of_a_user_is_anything_but_text(word: str) -> None:
    plan = rich(always(word))
    text = markdown.plan(plan)
    page = read(text)
    assert {*page.tags} <= OURS | TABLES
    assert page.attributes <= {"class=language-diff", "style=text-align:right"}
    assert not [found for data in page.running if (found := REFERS.search(data))]
    assert {*page.depths} == {1}
    # no bar within a cell, so that each line has as many as its table's head
    for table in re.findall(r"(?:^\| .*\n?)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert not re.search("[\u202e\u2066\u200d\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.mark.parametrize("word", [w for w in HOSTILE if len(w) < 100], ids=str)
def test_a_hostile_word_is_still_readable(word: str) -> None:
    cells = [gfm.code(word), gfm.prose(word), gfm.html_code(word)]
    page = read(f"{gfm.table(['a', 'b', 'c'], [cells])}\n\n- {gfm.prose(word)}")
    inside, running, as_html = page.rows[1]
    assert inside.strip() == as_html.strip() == safe(word).strip()
    assert running.replace("\u200b", "").strip() == safe(word).replace("`", "").strip() or "`" in word
    assert page.tags.count("li") == 1


def test_words_between_backticks_are_code_in_running_text() -> None:
    assert gfm.prose("declare `a|b` *now*") == "declare <code>a&#124;b</code> \\*now\\*"
    assert gfm.prose("one ` alone") == "one \\` alone"


@pytest.mark.parametrize(
    ("plan", "first"),
    [
        pytest.param(planned(), "**No changes.** Live state matches the manifests", id="nothing"),
        pytest.param(
            planned(mode=Mode.DESTROY), "**No changes.** No objects need to be destroyed", id="gone"
        ),
    ],
)
def test_a_plan_without_changes_says_so_and_has_no_table(plan: Plan, first: str) -> None:
    text = markdown.plan(plan)
    assert text.splitlines()[0] == first
    assert "|" not in text


def test_what_it_failed_with_is_a_comment_too() -> None:
    problem = Diagnostic("unknown-field", "unknown field", "`x|y` of @bob", at=Source("a.yaml", 3, 5))
    text = markdown.problems([problem])
    assert text.startswith("**Failed:** 1 error")
    assert ["error", "a.yaml:3", "unknown field"] in read(text).rows
    assert not REFERS.search("".join(read(text).running))


def test_drift_tells_what_would_put_it_back_and_what_is_only_pending() -> None:
    plan = rich()
    drifted = [c for c in plan.changes if c.address in (ALIAS, Address("registered_model", ("fraud",)))]
    outside = replace(plan, changes=tuple(replace(c, reason="changed outside") for c in drifted))
    text = drift.drift(
        Drift(outside, plan, (Diagnostic("a-code", "a summary", "@bob"),), {ALIAS: 1_790_000_000_000})
    )
    assert text.startswith(
        "**Drift:** 2 objects changed outside lac · pending: 1 to create, 3 to update, 1 to delete\n\n"
        "Stack `payments`, environment `prod`\n\n"
    )
    page = read(text)
    assert row(page, "~ update")[1:] == [
        "registered_model.fraud",
        "description (text), tags.team risk (changed outside)",
    ]
    assert text.count("Last written 2026-09-21 14:13:20 UTC.") == 1
    assert [*re.findall("<summary>(.*?)</summary>", text)][2:] == [
        "Pending: in the manifests, not applied yet",
        "1 error",
        "1 warning",
    ]
    assert text.index("Pending: in") < text.index("`serving_endpoint.fraud-scoring`")
    assert not [found for data in page.running if (found := REFERS.search(data))]


def test_no_drift_says_so_even_where_the_manifests_cannot_be_planned() -> None:
    text = drift.drift(Drift(planned(), None))
    assert text == (
        "**No drift.** Live state matches the last apply"
        " · pending: unknown, because the manifests can't be planned\n\nStack `payments`, environment `prod`"
    )


def test_very_much_drift_fits() -> None:
    plan = huge(3_000)
    text = drift.drift(Drift(plan, plan))
    assert gfm.length(text) <= markdown.LIMIT
    assert text.startswith("**Drift:** 3,000 objects changed outside lac · pending: 3,000 to create")
    assert "`lac drift` prints everything." in text
    read(text)


SIZES = [pytest.param(huge(300), id="bodies"), pytest.param(huge(3_000, 10), id="rows")]


@pytest.mark.parametrize("plan", SIZES)
def test_a_huge_plan_fits_and_keeps_summary_and_denials(plan: Plan) -> None:
    text = markdown.plan(plan)
    assert 40_000 < gfm.length(text) <= markdown.LIMIT
    assert text.startswith(f"**Plan:** {len(plan.changes):,} to create")
    assert text.count("**denied** by `no-new-models`") == 2
    assert "**Truncated:**" in text
    assert "`lac show FILE`" in text
    page = read(text)
    assert {*page.depths} <= {1}
    assert {len(cells) for cells in page.rows if cells[0].startswith("+")} == {3}


@pytest.mark.parametrize("filler", SIZES)
def test_what_is_to_be_looked_at_outlasts_what_is_merely_created(filler: Plan) -> None:
    plan = rich()
    text = markdown.plan(replace(plan, changes=(*filler.changes, *plan.changes)))
    assert gfm.length(text) <= markdown.LIMIT
    assert "**Truncated:**" in text
    page = read(text)
    assert page.rows[1][1] == "model_alias.fraud/champion"
    assert row(page, "auc_holdout")[-1] == "▼ worse"
    assert row(page, "serving_endpoint.checkout")[5] == "changes when stack shop is applied"
    assert "latency-budget" in text
    assert "webhooks won't be called" in text
    assert text.count("<summary>+ create") < len(filler.changes)


def test_characters_beyond_the_basic_plane_count_twice() -> None:
    models = [
        RegisteredModel.model_construct(name=f"{n}", description="🂡" * 500, tags={}) for n in range(300)
    ]
    text = markdown.plan(planned(*(changed(None, model) for model in models)))
    assert len(text.encode("utf-16-le")) // 2 <= markdown.LIMIT
    assert len(text.encode()) < 262_144


def test_thousands_of_denials_leave_room_for_the_rest() -> None:
    address = Address("registered_model", ("m",))
    verdicts = tuple(
        Verdict(f"p{n}", address, Outcome.DENIED, ("f" * 900,) * 30, "m" * 5_000) for n in range(2_000)
    )
    text = markdown.plan(replace(rich(), review=Review(verdicts=verdicts)))
    assert gfm.length(text) <= markdown.LIMIT
    assert "2,000 policies deny this plan" in text
    assert re.search(r"> - and 1,9\d\d more\n", text)
    assert "model_alias.fraud/champion" in text


def test_a_row_that_matters_outlasts_a_body_that_does() -> None:
    table = ["| a |", "| - |", "| matters |", "| plain |"]
    part = Section("part", "b" * 500, Weight.HIGH)
    text = fit(Draft(["head"], table, [part], "HOW", [Weight.HIGH, Weight.LOW]), 300)
    assert "| matters |" in text
    assert "| plain |" not in text
    assert "<summary>part" in text
    assert "bbb" not in text


def test_the_longest_bodies_go_first_then_parts_then_rows() -> None:
    table = ["| a |", "| - |", *(f"| {n:03} |" for n in range(20))]
    parts = [Section("short", "s" * 50), Section("long", "l" * 5_000), Section("middling", "m" * 500)]
    draft = Draft(["head"], table, parts, "HOW")
    whole = fit(draft, 100_000)
    assert "Truncated" not in whole

    without_long = fit(draft, 2_000)
    assert "lll" not in without_long
    assert "mmm" in without_long
    assert "the content of 1 section. HOW" in without_long

    without_bodies = fit(draft, 630)
    assert "mmm" not in without_bodies
    assert "<summary>long" in without_bodies
    assert "| 019 |" in without_bodies

    rows_alone = fit(draft, 230)
    assert "<summary>" not in rows_alone
    assert "| 000 |" in rows_alone
    assert "| 019 |" not in rows_alone
    assert "3 sections, " in rows_alone
    for limit in range(150, 2_000, 7):
        assert len(fit(draft, limit)) <= limit
