"""What guardrails look for in a text: keywords, regular expressions, personal data.

A `Scanner` takes a text in parts and gives back what is decided, with masks in place. It goes from left to
right: of the matches that may begin first it takes the one whose rule comes first. What is decided depends on
a bounded stretch of text alone, and never on where the parts were cut.

All expressions run on RE2, in linear time: those of a manifest, too. Its `\\b`, `\\w` and `\\d` know ASCII
alone; write `\\pL` for any letter.

Personal data has no light and kept library. presidio-analyzer needs spaCy; scrubadub (last release 2023)
scikit-learn; datafog runs backtracking expressions of American forms, ZIP codes and dates among them, and
knows no check digits. So the forms are here, and `python-stdnum` checks their digits.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

MAX_LENGTH = 128
"""The longest match of a pattern in bytes, where it says nothing else."""
LONGEST_MAX_LENGTH = 4096
"""The greatest `max_length` of a pattern."""
LONGEST_PATTERN = 1000
"""The longest regular expression in characters."""

PII = "pii"
"""The name of the rule on personal data."""
KEYWORDS = "invalid_keywords"
"""The name of the rule on keywords."""

# how a range of possible matches is compared
_RANGE = 16


class Rule(Protocol):
    """One thing to look for in UTF-8. `block`: the text is forbidden, otherwise matches are masked."""

    name: str
    block: bool

    def find(self, text: bytes, start: int) -> Match | None:
        """The first match that begins at `start` or later. What lies before is context."""
        ...

    def find_open(self, text: bytes, start: int) -> int:
        """The first place from which on a match might begin that more text may complete or lengthen; the
        text's end where there is none."""
        ...


class Match(NamedTuple):
    """A stretch of a text, and what stands for it: `<EMAIL>`."""

    start: int
    end: int
    label: str


class Scanner:
    """Looks for the rules' matches in one text that comes in parts."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        # what isn't given back yet, after as much context as boundaries need
        self._text = b""
        self._start = 0
        self.masked: Counter[str] = Counter()
        """How many matches of each rule were masked."""
        self.blocked: str | None = None
        """The name of the rule that forbids the text; nothing is given back from there on."""

    def feed(self, text: str) -> str:
        """The text that is decided by now, and wasn't before."""
        if not text or self.blocked:
            return ""
        self._text += text.encode("utf-8", "surrogatepass")
        return self._advance(is_end=False)

    def finish(self) -> str:
        """The rest."""
        return "" if self.blocked else self._advance(is_end=True)

    def _advance(self, *, is_end: bool) -> str:
        text, start = self._text, self._start
        parts: list[bytes] = []
        opens = [len(text) if is_end else -1] * len(self._rules)
        matches: list[Match | None] = [rule.find(text, start) for rule in self._rules]
        while True:
            limit = len(text)
            best = None
            for index, rule in enumerate(self._rules):
                if opens[index] < start:
                    opens[index] = rule.find_open(text, start)
                limit = min(limit, opens[index])
                match = matches[index]
                if match and match.start < start:
                    match = matches[index] = rule.find(text, start)
                if match and (best is None or match.start < best[1].start):
                    best = rule, match
            limit = _floor(text, limit)
            if best is None or best[1].start >= limit:
                break
            rule, match = best
            parts.append(text[start : match.start])
            start = match.end
            if rule.block:
                self.blocked = rule.name
                break
            self.masked[rule.name] += 1
            parts.append(f"<{match.label}>".encode())
        if not self.blocked:
            parts.append(text[start:limit])
            start = max(start, limit)
        context = _context(text, start)
        self._text, self._start = text[context:], start - context
        return b"".join(parts).decode("utf-8", "surrogatepass")


def _floor(text: bytes, place: int) -> int:
    """The same place, or the beginning of the character that it lies in."""
    while 0 < place < len(text) and text[place] & 0xC0 == 0x80:
        place -= 1
    return place


def _ceiling(text: bytes, place: int) -> int:
    """The same place, or the end of the character that it lies in."""
    while place < len(text) and text[place] & 0xC0 == 0x80:
        place += 1
    return place


def _context(text: bytes, start: int) -> int:
    """Where the character before `start` begins that a reader sees: invisible ones separate no words."""
    place = start
    while place > 0:
        place = _floor(text, place - 1)
        if text[place] < 0x80 or _fold(text[place:start].decode("utf-8", "surrogatepass")[0]):
            break
    return place


# --- keywords


class _Folds(dict[int, str]):
    """Characters as they are compared: without case, compatibility forms (as NFKC), invisible ones and sorts
    of space. NFKD is equal where NFKC is, and takes each character alone."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
        if character.isspace():
            folded = " "
        elif _is_ignorable(code):
            folded = ""
        self[code] = folded
        return folded


def _is_ignorable(code: int) -> bool:
    """Format characters, and the variation selectors among the marks (Unicode, Default_Ignorable)."""
    return unicodedata.category(chr(code)) == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


_FOLDS = _Folds()
_ASCII_FOLDS = bytes(ord(_FOLDS[code]) for code in range(128)) + bytes(range(128, 256))


def _fold(text: str) -> str:
    return text.translate(_FOLDS)


def _fold_bytes(text: bytes) -> bytes:
    if text.isascii():
        return text.translate(_ASCII_FOLDS)
    return _fold(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


_NO_WORD = r"[^\pL\pN\pM_]"


class Keywords:
    """Words and phrases, whole and in any case, by Unicode's compatibility forms: `Passwort` is also found in
    fullwidth letters."""

    name = KEYWORDS

    def __init__(self, keywords: Iterable[str], *, block: bool) -> None:
        self.block = block
        folded = {_fold(keyword).strip() for keyword in keywords} - {""}
        # the longest first: RE2 takes the first that matches
        words = sorted((word.encode() for word in folded), key=lambda word: (-len(word), word))
        choice = "|".join(_escape(word.decode()) for word in words) or r"\z\A"
        self._regex = _compile(rf"{_NO_WORD}(?:{choice})(?:{_NO_WORD}|\z)")
        self._words = frozenset(words)
        self._beginnings = {word[:length] for word in words for length in range(1, len(word) + 1)}
        self._longest = max(map(len, words), default=0)
        self._is_word = _compile(r"[\pL\pN\pM_]\z")
        self._last: tuple[bytes, bytes] = b"", b""

    def find(self, text: bytes, start: int) -> Match | None:
        folded = self._folded(text)
        first = len(_fold_bytes(text[:start]))
        # the character before counts, and belongs to no keyword; a text begins as if after a space
        folded = folded if first else b" " + folded
        match = self._regex.search(folded, _floor(folded, first - 1) if first else 0)
        if not match:
            return None
        begin, end = match.span()
        begin = _ceiling(folded, begin + 1)
        if folded[begin:end] not in self._words:
            end = _floor(folded, end - 1)
        shift = 0 if first else 1
        return Match(*_unfold(text, begin - shift, end - shift), "KEYWORD")

    def find_open(self, text: bytes, start: int) -> int:
        folded = self._folded(text)
        first = len(_fold_bytes(text[:start]))
        for length in range(min(self._longest, len(folded) - first), 0, -1):
            place = len(folded) - length
            if folded[place:] in self._beginnings and not self._is_word.search(folded[:place][-4:]):
                return max(_unfold(text, place, len(folded))[0], start)
        return len(text)

    def _folded(self, text: bytes) -> bytes:
        """The last answer is remembered: each text is asked for several times."""
        if self._last[0] is not text:
            self._last = text, _fold_bytes(text)
        return self._last[1]


def _unfold(text: bytes, begin: int, end: int) -> tuple[int, int]:
    """The stretch of a text whose folded form has this stretch."""
    if text.isascii():
        return begin, end
    place = folded = 0
    first = last = 0
    for character in text.decode("utf-8", "surrogatepass"):
        size = len(_FOLDS[ord(character)].encode("utf-8", "surrogatepass"))
        if folded <= begin < folded + size:
            first = place
        place += len(character.encode("utf-8", "surrogatepass"))
        folded += size
        if size and folded - size < end <= folded:
            last = place
            break
    return first, last


# --- regular expressions


class Pattern:
    """A regular expression in RE2's syntax (github.com/google/re2/wiki/Syntax). A match is at most
    `max_length` bytes long: so many a stream may hold back."""

    def __init__(self, name: str, regex: str, *, block: bool, max_length: int = MAX_LENGTH) -> None:
        if reason := validate_pattern(regex):
            raise ValueError(f"pattern {name}: {reason}")
        self.name = name
        self.block = block
        self._length = min(max_length, LONGEST_MAX_LENGTH)
        self._regex = _compile(regex)
        self._range = _match_range(regex)
        low, high = self._range or (b"\0", b"\xff")
        self._others = bytes(byte for byte in range(256) if not low[:1] <= bytes([byte]) <= high[:1])

    def find(self, text: bytes, start: int) -> Match | None:
        while match := self._regex.search(text, start):
            begin, end = match.span()
            if end - begin > self._length:
                match = self._regex.match(text, begin, _floor(text, begin + self._length))
                end = match.end() if match else begin
            if end > begin:
                return Match(begin, end, self.name)
            start = begin + 1
        return None

    def find_open(self, text: bytes, start: int) -> int:
        # a boundary looks at the character after a match
        place = max(start, len(text) - self._length - 3)
        if self._range is None:
            return place
        low, high = self._range
        tail = text[place:].lstrip(self._others)
        while tail:
            head = tail[:_RANGE]
            if low[: len(head)] <= head <= high[: len(head)] or head.startswith(high):
                break
            tail = tail[1:].lstrip(self._others)
        return len(text) - len(tail)


def _match_range(regex: str) -> tuple[bytes, bytes] | None:
    """The least and the greatest beginning of a match; None where anything may begin one."""
    # RE2 takes the beginning of a match for the beginning of the text: without boundaries that is no matter
    free = re.sub(r"(?<!\\)((?:\\\\)*)\\[bB]", r"\1(?:)", regex)
    if re.search(r"(?<!\[)\^|\\A", free):
        return None
    try:
        low, high = _compile(free).possiblematchrange(_RANGE)
    except Exception:
        return None
    return (low, high) if high else None


def validate_pattern(regex: str) -> str | None:
    """Why a regular expression can't be used, or None. Where RE2 isn't installed, as beside the command,
    Python's own parser says it, and constructs that RE2 lacks are looked for."""
    if not regex:
        return "it is empty"
    if len(regex) > LONGEST_PATTERN:
        return f"it has more than {LONGEST_PATTERN} characters"
    # without escapes and classes
    bare = re.sub(r"\\(?:[pPx]\{\^?\w+\}|.)", "", regex, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "", bare)
    if re.search(r"\(\?(?:[=!>(#]|<[=!]|P[=>])", bare) or re.search(r"(?<!\\)(?:\\\\)*\\[1-9]", regex):
        return "RE2 has no look-around, back-references, conditions or atomic groups"
    if re.search(r"(?<!\\)(?:\\\\)*\\C", regex):
        return r"`\C` may take a part of a character; write `.`"
    try:
        compiled = _compile(regex)
        matches_nothing = compiled.search(b"") is not None
    except ImportError:
        if re.search(r"[*+?}]\+", bare):
            return "RE2 has no possessive quantifiers"
        try:
            # what RE2 writes in another way
            known = re.sub(r"\\[pP](?:\{\^?\w+\}|\w)", r"\\w", regex).replace(r"\z", r"\Z")
            known = re.sub(r"\\x\{\w+\}", "x", known).replace("(?<", "(?P<")
            matches_nothing = re.compile(known).search("") is not None
        except (re.error, RecursionError, OverflowError) as e:
            return str(e)
    except Exception as e:
        reason = e.args[0] if e.args else e
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return "it matches an empty text" if matches_nothing else None


def _compile(regex: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    # with groups RE2 leaves its fastest engine
    options.never_capture = True
    return re2.compile(regex, options)


def _escape(text: str) -> str:
    """Every other character than a letter or digit escaped by its number."""
    return "".join(c if c.isalnum() else rf"\x{{{ord(c):x}}}" for c in text)


# --- personal data


class Form(NamedTuple):
    """How a sort of personal data looks. `characters` are those that a match has, `starts` those that it may
    begin with, and `longest` its greatest length. `check` says where a match that looks like one ends: 0 if
    it is none. No other begins right after one of the characters of `skipped`."""

    label: str
    regex: str
    characters: bytes
    starts: bytes
    longest: int
    check: Callable[[bytes, int, int], int]
    skipped: bytes = b""


class PersonalData:
    """One sort of personal data; `find_personal_data` has all."""

    name = PII

    def __init__(self, form: Form, *, block: bool) -> None:
        self.block = block
        self._form = form
        self._regex = _compile(form.regex)

    def find(self, text: bytes, start: int) -> Match | None:
        form = self._form
        while match := self._regex.search(text, start):
            begin, end = match.span()
            if end := form.check(text, begin, end):
                return Match(begin, end, form.label)
            start = begin + 1
            if form.skipped:
                start = len(text) - len(text[start:].lstrip(form.skipped))
        return None

    def find_open(self, text: bytes, start: int) -> int:
        """The beginning of what the text ends with, if it is of characters that a match has."""
        form = self._form
        tail = text[max(start, len(text) - form.longest) :]
        run = tail[len(tail.rstrip(form.characters)) :]
        match form.label:
            case "EMAIL" if b"@" not in run:
                run = run[-_LONGEST_LOCAL:]
            case "IBAN" if run:
                # words, too, are of these characters
                head = _IBAN_HEAD.search(run)
                run = run[head.start() :] if head else b""
            case _:
                # what comes before the first of them begins no match
                while run and run[0] not in form.starts:
                    run = run.lstrip(run[:1])
        return len(text) - len(run)


def find_personal_data(*, block: bool) -> list[Rule]:
    """The rules on e-mail addresses, IBANs, credit cards, American social security numbers, IP addresses, and
    phone numbers (in international form, and American ones)."""
    import stdnum.iban
    import stdnum.luhn
    import stdnum.us.ssn

    # some banks' numbers fail the checks of their own country's
    is_iban = partial(stdnum.iban.is_valid, check_country=False)
    is_card, is_ssn = stdnum.luhn.is_valid, stdnum.us.ssn.is_valid
    digits = string.digits.encode()
    letters = string.ascii_letters.encode()
    groups = string.hexdigits.encode() + b":"
    local = letters + digits + b"._%+-"
    forms = [
        Form("EMAIL", _EMAIL, local + b"@", local, _LONGEST_LOCAL + 1 + 5 * 41 + 24, _accept),
        Form("IBAN", _IBAN, letters + digits + b" ", letters, 43, partial(_check_iban, is_iban)),
        Form("CREDIT_CARD", _CARD, digits + b" -", digits, 23, partial(_check_card, is_card)),
        Form("US_SSN", _SSN, digits + b"-", digits, 11, partial(_check_ssn, is_ssn)),
        Form("IP_ADDRESS", _IPV4, digits + b".", digits, 16, _check_ipv4, digits + b"."),
        Form("IP_ADDRESS", _IPV6, groups + b".", groups, 51, _check_ipv6, groups),
        Form("PHONE", _PHONE, digits + b" .-/()+", digits + b"(+", 44, _check_phone),
    ]
    return [PersonalData(form, block=block) for form in forms]


_LOCAL = r"[A-Za-z0-9._%+\-]"
_LONGEST_LOCAL = 64
_EMAIL = rf"{_LOCAL}{{1,64}}@(?:[A-Za-z0-9\-]{{1,40}}\.){{1,5}}[A-Za-z]{{2,24}}"
_IBAN = r"\b[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"
_IBAN_HEAD = re.compile(rb"[A-Za-z]{2}[0-9]{2}|(?:[A-Za-z]|[A-Za-z]{2}[0-9]?)\Z")
_CARD = (
    r"\b(?:[0-9]{13,19}|[0-9]{4}(?:[ \-][0-9]{4}){2}[ \-][0-9]{1,7}|[0-9]{4}[ \-][0-9]{6}[ \-][0-9]{4,5})\b"
)
_SSN = r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"
_IPV4 = r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
_IPV6 = rf"(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:{_IPV4}|[0-9A-Fa-f]{{0,4}})"
_PHONE = (
    r"\+[1-9](?:[ .\-/()]{0,2}[0-9]){6,14}"
    r"|(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}\b"
)


def _is_alphanumeric(text: bytes, place: int) -> bool:
    return 0 <= place < len(text) and text[place : place + 1].isalnum()


def _accept(_text: bytes, _start: int, end: int) -> int:
    return end


def _check_iban(is_valid: Callable[[str], bool], text: bytes, start: int, end: int) -> int:
    """A word after an IBAN looks like a group of it."""
    while end - start >= 15:
        number = text[start:end].replace(b" ", b"")
        # its remainder first (ISO 13616): it costs a tenth of the whole check
        digits = "".join(str(int(chr(byte), 36)) for byte in number[4:] + number[:4])
        if int(digits) % 97 == 1 and is_valid(number.decode()):
            return end
        end = max(text.rfind(b" ", start, end), start)
    return 0


def _check_card(is_valid: Callable[[str], bool], text: bytes, start: int, end: int) -> int:
    digits = text[start:end].translate(None, b" -").decode()
    return end if 13 <= len(digits) <= 19 and digits[0] in "23456" and is_valid(digits) else 0


def _check_ssn(is_valid: Callable[[str], bool], text: bytes, start: int, end: int) -> int:
    joined = text[max(start - 1, 0) : start] == b"-" or text[end : end + 1] == b"-"
    return end if not joined and is_valid(text[start:end].decode()) else 0


def _check_phone(text: bytes, start: int, end: int) -> int:
    return 0 if _is_alphanumeric(text, start - 1) or _is_alphanumeric(text, end) else end


def _check_ipv4(text: bytes, start: int, end: int) -> int:
    """Not a version, which may have more parts."""
    if text[max(start - 1, 0) : start] == b".":
        return 0
    if text[end : end + 1] == b"." and _is_alphanumeric(text, end + 1):
        return 0
    return _check_address(text, start, end)


def _check_ipv6(text: bytes, start: int, end: int) -> int:
    """Not a time, nor a name of C++."""
    beside = text[max(start - 1, 0) : start], text[end : end + 1]
    if b":" in beside or _is_alphanumeric(text, start - 1) or _is_alphanumeric(text, end):
        return 0
    return _check_address(text, start, end) if re.search(rb"[0-9]", text[start:end]) else 0


def _check_address(text: bytes, start: int, end: int) -> int:
    import ipaddress

    try:
        ipaddress.ip_address(text[start:end].decode())
    except ValueError:
        return 0
    return end
