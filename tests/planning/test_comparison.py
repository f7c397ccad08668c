"""What the ends of `lac diff A B` mean, and what differs between them. Pure."""

from __future__ import annotations

import pytest
from support.sample_kinds import ModelAlias, RegisteredModel

from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.planning.comparison import Side, compare_states, parse_side

ENVIRONMENTS = frozenset({"prod", "staging", "live"})


@pytest.mark.parametrize(
    ("text", "meant", "told"),
    [
        ("manifests", Side("manifests"), "manifests"),
        ("recorded", Side("recorded"), "recorded"),
        ("live", Side("live"), "live"),
        ("now", Side("live"), "live"),
        ("live:prod", Side("live", "prod"), "live of prod"),
        ("prod", Side("manifests", "prod"), "manifests of prod"),
        ("1970-01-01T00:00:01Z", Side("at", at_ms=1000), "1970-01-01T00:00:01+00:00"),
        ("1970-01-02", Side("at", at_ms=86_400_000), "1970-01-02T00:00:00+00:00"),
        ("1970-01-01T01:00+01:00", Side("at", at_ms=0), "1970-01-01T00:00:00+00:00"),
        ("4f0c1d", Side("apply", "4f0c1d"), "after apply 4f0c1d"),
        ("p.plan:after", Side("planned", "p.plan"), "after plan p.plan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_word_means_one_side(text: str, meant: Side, told: str) -> None:
    assert parse_side(text, ENVIRONMENTS, is_file=False) == meant
    assert str(meant) == told


@pytest.mark.parametrize(
    ("first", "live"),
    [
        (Side("manifests", "prod"), Side("live", "prod")),
        (Side("recorded"), Side("live")),
        (Side("plan", "p.plan"), Side("live")),
        (Side("apply", "4f0c1d"), Side("live")),
        (Side("at", at_ms=1000), Side("live")),
    ],
    ids=str,
)
def test_what_is_live_is_asked_where_the_first_side_is(first: Side, live: Side) -> None:
    assert first.live() == live


def test_a_file_comes_before_any_other_meaning() -> None:
    assert parse_side("prod", ENVIRONMENTS, is_file=True) == Side("plan", "prod")


@pytest.mark.parametrize(
    "text", ["", "nowhere", "live:nowhere", "4f0c1", "4f0c1d2e3", ":after", "2026-13-01", "@champion"]
)
def test_a_word_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names nothing that can be compared"):
        parse_side(text, ENVIRONMENTS, is_file=False)


def test_what_differs_is_told_from_the_one_side_to_the_other() -> None:
    kept, gone, made = (RegisteredModel(name=name) for name in ("kept", "gone", "made"))
    was, moved = (ModelAlias(model="kept", alias="a", version=version) for version in (1, 2))
    changes = compare_states(
        {x.address: x for x in (kept, gone, was)}, {x.address: x for x in (kept, made, moved)}
    )
    assert [(c.address, c.action) for c in changes] == [
        (was.address, Action.UPDATE),
        (gone.address, Action.DELETE),
        (made.address, Action.CREATE),
    ]
    assert [(f.name, f.before, f.after) for f in changes[0].fields] == [("version", 1, 2)]
    assert compare_states({kept.address: kept}, {kept.address: kept}) == ()
