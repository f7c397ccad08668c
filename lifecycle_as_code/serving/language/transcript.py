"""The text of a generation, token by token: what may be shown, and where a stop sequence ends it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# a character whose bytes aren't complete
_INCOMPLETE = "\ufffd"
# tokens of a prompt that decide how the first new one is written: with a space before it, or without
_BEFORE = 5


class Transcript:
    """What tokens say. A token may be half a character, and its text may depend on the one before it."""

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = [*before][-_BEFORE:]
        self._shown = len(self._tokens)

    def add(self, token: int) -> str:
        """The text that this token adds; empty while a character is incomplete."""
        self._tokens.append(token)
        return self._advance(complete=False)

    def finish(self) -> str:
        """The rest, complete or not."""
        return self._advance(complete=True)

    def _advance(self, *, complete: bool) -> str:
        shown = self._decode(self._tokens[: self._shown])
        text = self._decode(self._tokens)
        if len(text) <= len(shown) or (text.endswith(_INCOMPLETE) and not complete):
            return ""
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        return text[len(shown) :]


class Stop:
    """Looks for the first stop sequence in a text that comes in parts, and keeps back what may be one."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequences)
        self._kept = ""
        self.reached = False
        """Whether a stop sequence was found. It and what follows is never returned."""

    def add(self, text: str) -> str:
        """The text up to where a stop sequence begins, or may begin."""
        self._kept += text
        places = [place for stop in self._sequences if (place := self._kept.find(stop)) >= 0]
        if places:
            self.reached = True
            return self._kept[: min(places)]
        length = len(self._kept) - max((_overlap(self._kept, stop) for stop in self._sequences), default=0)
        shown, self._kept = self._kept[:length], self._kept[length:]
        return shown

    def finish(self) -> str:
        """What was kept back, since no stop sequence came of it."""
        return "" if self.reached else self._kept


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
