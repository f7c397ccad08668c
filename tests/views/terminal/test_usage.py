"""What `lac usage` prints, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace

from lifecycle_as_code.model.usage import Usage, UsageLoss, UsageRow
from lifecycle_as_code.views import json as json_view
from lifecycle_as_code.views.terminal.usage import usage
from lifecycle_as_code.views.text import Paint

AT = 1_795_000_000_000
FRAUD = UsageRow("fraud", 12_345, 10, 2, 1.24, 118.6, 20_000, 0, 0)
CHAT = UsageRow("chat", 900, 9, 0, 35.0, 410.5, 0, 81_000, 7_200)
NONE = UsageRow("", 3, 0, 0, 0.1, 0.1, 0, 0, 0)
LOSS = UsageLoss("fraud", "lac_usage", 1_000, AT + 1000, AT + 5000)
ITEM = Usage("endpoint", AT, AT + 86_400_000, rows=(FRAUD, CHAT, NONE), losses=(LOSS,))


def test_a_table_with_its_sum_and_what_was_lost() -> None:
    assert usage(ITEM).splitlines() == [
        "Usage by endpoint  from 2026-11-18 11:06:40 UTC to 2026-11-19 11:06:40 UTC",
        "",
        "endpoint  requests     errors  p50 ms  p95 ms    rows  tokens in  tokens out",
        "fraud       12,345  12 (0.1%)     1.2     119  20,000          0           0",
        "chat           900   9 (1.0%)    35.0     410       0     81,000       7,200",
        "(none)           3          0     0.1     0.1       0          0           0",
        "total       13,248  21 (0.2%)                  20,000     81,000       7,200",
        "",
        "Lost: the store was unreachable or full for too long, or a replica was killed",
        "  fraud: 1,000 rows of lac_usage lost between 2026-11-18 11:06:41 UTC and 2026-11-18 11:06:45 UTC",
    ]


def test_bars_stand_beside_the_requests_where_there_is_room() -> None:
    drawn = usage(ITEM, width=110, bars=True)
    assert drawn.splitlines()[2:7] == [
        "endpoint  requests                           errors  p50 ms  p95 ms    rows  tokens in  tokens out",
        "fraud       12,345  ████████████████████  12 (0.1%)     1.2     119  20,000          0           0",
        "chat           900  █▌                     9 (1.0%)    35.0     410       0     81,000       7,200",
        "(none)           3  ▏                             0     0.1     0.1       0          0           0",
        "total       13,248                        21 (0.2%)                  20,000     81,000       7,200",
    ]
    assert usage(ITEM, width=90, bars=True) == usage(ITEM)


def test_one_group_needs_no_sum_and_columns_of_zeros_are_not_shown() -> None:
    item = Usage("status", AT, AT, "fraud", (UsageRow("200", 4, 0, 0, 1.0, 2.0, 0, 0, 0),))
    assert usage(item).splitlines()[2:] == [
        "status  requests  errors  p50 ms  p95 ms",
        "200            4       0     1.0     2.0",
    ]
    assert usage(item).startswith("Usage of fraud by status")


def test_nothing_is_said_plainly() -> None:
    assert usage(replace(ITEM, rows=(), losses=())).splitlines()[1:] == ["", "No requests."]


def test_hostile_names_repaint_nothing_and_long_ones_are_shortened() -> None:
    item = replace(ITEM, rows=(replace(FRAUD, key="a\x1b[31m\n" + "x" * 200),))
    lines = usage(item, width=80).splitlines()
    assert all(len(line) <= 80 for line in lines[2:4])
    assert "\x1b" not in usage(item, width=80)


def test_colours_are_for_terminals() -> None:
    assert "\x1b[31m12 (0.1%)" in usage(ITEM, Paint(True))
    assert "\x1b[33m 9 (1.0%)" in usage(ITEM, Paint(True))


def test_many_groups_are_cut_off_with_their_number() -> None:
    item = replace(ITEM, by="principal", rows=tuple(replace(CHAT, key=f"u{n}") for n in range(60)))
    assert usage(item).splitlines()[-4].startswith("… and 10 more")


def test_of_many_hours_the_last_are_shown() -> None:
    item = replace(ITEM, by="hour", rows=tuple(replace(CHAT, key=f"hour {n:02d}") for n in range(60)))
    lines = usage(item).splitlines()
    assert (lines[3][:7], lines[-4]) == ("hour 10", "… and 10 earlier")


def test_programs_get_everything() -> None:
    document = json.loads(json_view.usage(ITEM))
    assert document["rows"][0] == {
        "key": "fraud",
        "requests": 12_345,
        "client_errors": 10,
        "server_errors": 2,
        "p50_ms": 1.24,
        "p95_ms": 118.6,
        "rows": 20_000,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    assert document["losses"][0]["lost"] == 1_000
    assert document["format_version"]
    assert document["by"] == "endpoint"
