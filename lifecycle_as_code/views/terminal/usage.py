"""The usage of endpoints on a terminal: a table, with bars for the requests. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.usage import Usage, UsageRow
from ..text import PLAIN, Paint, cells, format_time, pad, pluralize, safe, shorten_middle

_MOST_ROWS = 50
_LEAST_KEY = 12
_BAR = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def usage(item: Usage, paint: Paint = PLAIN, *, width: int = 100, bars: bool = False) -> str:
    """The groups and their sum, then what was lost. `bars`: draw the requests, where there is room."""
    parts = [_head(item, paint)]
    parts += [_table(item, paint, width, bars)] if item.rows else ["No requests."]
    if losses := [*_losses(item, paint)]:
        parts.append("\n".join(losses))
    return "\n\n".join(parts)


def _head(item: Usage, paint: Paint) -> str:
    what = f"of {safe(item.endpoint)} " if item.endpoint else ""
    span = f"from {format_time(item.since_ms)} to {format_time(item.until_ms)}"
    return f"{paint(f'Usage {what}by {item.by}', 'strong')}  {paint(span, 'faint')}"


def _table(item: Usage, paint: Paint, width: int, bars: bool) -> str:
    # of hours the last ones, of other groups the largest
    timed = item.by in ("day", "hour")
    groups = item.rows[-_MOST_ROWS:] if timed else item.rows[:_MOST_ROWS]
    total = [
        sum(getattr(r, name) for r in item.rows) for name in ("rows", "prompt_tokens", "completion_tokens")
    ]
    heads = [item.by, "requests", "errors", "p50 ms", "p95 ms"]
    # columns that would hold zeros alone aren't shown
    extra = [n for n, number in enumerate(total) if number]
    heads += [("rows", "tokens in", "tokens out")[n] for n in extra]
    table = [heads, *(_cells(row, extra) for row in groups)]
    if len(item.rows) > 1:
        requests = sum(row.requests for row in item.rows)
        errors = sum(row.client_errors + row.server_errors for row in item.rows)
        sums = [f"{total[n]:,}" for n in extra]
        table.append(["total", f"{requests:,}", _share(errors, requests), "", "", *sums])
    widths = [max(cells(line[n]) for line in table) for n in range(len(heads))]
    rest = sum(size + 2 for size in widths[1:])
    draws = bars and widths[0] + rest + _BAR + 2 <= width
    widths[0] = min(widths[0], max(width - rest - (_BAR + 2) * draws, _LEAST_KEY))
    largest = max(row.requests for row in item.rows)
    lines = []
    for number, line in enumerate(table):
        row = groups[number - 1] if 0 < number <= len(groups) else None
        bar = ""
        if draws:
            filled = _draw(row.requests / largest) if row else ""
            bar = f"  {paint(filled, 'cyan')}{' ' * (_BAR - len(filled))}"
        texts = [text.rjust(size) for text, size in zip(line[1:], widths[1:], strict=True)]
        if row is not None and row.server_errors:
            texts[1] = paint(texts[1], "red")
        elif row is not None and row.client_errors:
            texts[1] = paint(texts[1], "yellow")
        key = pad(shorten_middle(line[0], widths[0]), widths[0])
        text = f"{key}  {texts[0]}{bar}  {'  '.join(texts[1:])}".rstrip()
        lines.append(paint(text, "faint") if row is None and number == 0 else text)
    if more := len(item.rows) - len(groups):
        lines.append(f"… and {more:,} {'earlier' if timed else 'more'}")
    return "\n".join(lines)


def _cells(row: UsageRow, extra: Sequence[int]) -> list[str]:
    numbers = (row.rows, row.prompt_tokens, row.completion_tokens)
    errors = _share(row.client_errors + row.server_errors, row.requests)
    return [
        safe(row.key) or "(none)",
        f"{row.requests:,}",
        errors,
        *map(_ms, (row.p50_ms, row.p95_ms)),
        *(f"{numbers[n]:,}" for n in extra),
    ]


def _share(errors: int, requests: int) -> str:
    return f"{errors:,} ({errors / requests:.1%})" if errors else "0"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _draw(share: float) -> str:
    """A bar of eighths of a column; the smallest isn't empty."""
    eighths = max(round(share * _BAR * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _losses(item: Usage, paint: Paint) -> list[str]:
    lines = [
        f"{safe(loss.endpoint)}: {pluralize(loss.lost, 'row')} of {safe(loss.table)} lost between"
        f" {format_time(loss.first_ms)} and {format_time(loss.last_ms)}"
        for loss in item.losses
    ]
    if not lines:
        return []
    return [
        paint("Lost: the store was unreachable or full for too long, or a replica was killed", "yellow"),
        *(f"  {line}" for line in lines),
    ]
