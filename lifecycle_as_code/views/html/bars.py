"""A metric's two values as bars. Pure."""

from __future__ import annotations

import math

from markupsafe import Markup

_WIDTH = 96.0
_BAR = Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="5" rx="1"/>')
_FRAME = Markup(
    '<svg class="bars" width="96" height="14" viewBox="0 0 96 14" aria-hidden="true" focusable="false">'
    '<line class="zero" x1="{0:.1f}" y1="0" x2="{0:.1f}" y2="14"/>{1}</svg>'
)


def bars(before: float | None, after: float | None) -> Markup:
    """Both values from zero on one scale; empty where there is none or one isn't finite."""
    pair = [("was", 1, before), ("is", 8, after)]
    numbers = [number for _, _, number in pair if number is not None]
    widest = max(map(abs, numbers), default=0.0)
    if not widest or not all(map(math.isfinite, numbers)):
        return Markup("")
    # with negative values zero moves to the right
    least, most = min(0.0, *numbers), max(0.0, *numbers)
    # halved: the whole span may overflow a float
    span = most / 2 - least / 2
    zero = -least / 2 / span * _WIDTH
    drawn = Markup("")
    for name, top, number in pair:
        if number is not None:
            length = max(abs(number) / 2 / span * _WIDTH, 1.0)
            drawn += _BAR.format(name, zero - (length if number < 0 else 0.0), top, length)
    return _FRAME.format(zero, drawn)
