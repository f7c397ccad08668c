"""Format a manifest as `lac fmt` does; the data and every comment stay. Pure.

ruamel.yaml's round trip lays out the blocks: values and dashes are two columns right of their key, with one
blank after a dash or a colon. It sees a name in place of each scalar, alias and value in brackets, so
quotes, numbers, templates, long lines and the insides of brackets stay as they are; further lines of such a
value move along with its entry. Comments are in the column of their entry.

UTF-8 without a byte order mark. Lines end with a line feed, or as on Windows if all of them do, including the
last one. No blanks at the end of a line, and no two blank lines in a row.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final, NamedTuple

import yaml

from .yaml.outline import BLOCK, Outline
from .yaml.text import LOADER

_TURNS: Final = 4
_BLANKS: Final = " \t"
_ODD_ENDS: Final = re.compile("[\r\x85\u2028\u2029]")
_BEHIND: Final = re.compile(r"(.*?)[ \t]+(#.*)")
_CODE: Final = re.compile("^[^#\n]+", re.MULTILINE)
_NAME: Final = re.compile(r"(?<!\S)v(\d+)(:?)(?!\S)")


class CannotFormatError(Exception):
    """The text can't be formatted; the message is the reason."""


class _Piece(NamedTuple):
    """A key or a value that stays as it is: its place in the text, and its first character if that is a
    quote, `|`, `>` or a bracket."""

    start: int
    end: int
    style: str


class _Level(NamedTuple):
    """The column of a block of entries, before and after."""

    before: int
    after: int


def format_text(text: str) -> str:
    """The formatted text of one in which `reader.parse` finds no problem. CannotFormatError if that isn't
    safe."""
    plain = text.removeprefix("\ufeff")
    newline = "\r\n" if plain.count("\r\n") == plain.count("\n") > 0 else "\n"
    plain = plain.replace("\r\n", "\n")
    if odd := _ODD_ENDS.search(plain):
        line = plain.count("\n", 0, odd.start()) + 1
        raise CannotFormatError(f"line {line} has an invisible line break")
    # ruamel.yaml may move a comment or a blank line once more
    for _ in range(_TURNS):
        before, plain = plain, _once(plain)
        if plain == before:
            return plain.replace("\n", newline)
    raise CannotFormatError("ruamel.yaml does not settle on one layout")


def _once(text: str) -> str:
    lines = _lay_out(text)
    events = _events(text)
    # the end of a line that had none would be a part of a block's text
    for end in ("\n", "") if lines else ("",):
        result = "\n".join(lines) + end
        if _events(result) == events:
            break
    else:
        raise CannotFormatError("the formatted text would have another meaning")
    if _comments(result) != _comments(text):
        raise CannotFormatError("a comment would be lost or reordered")
    return result


def _lay_out(text: str) -> list[str]:
    """All lines, without their ends."""
    root = Outline(text).root
    start, end = _document(text)
    body = text[start:end]
    pieces: list[_Piece] = []
    blocks = root is not None and root.sort in ("mapping", "list") and not root.flow
    layout = _round_trip(body, pieces) if blocks else body
    lines: list[str] = []
    for line in [*text[:start].splitlines(), *layout.splitlines(), *text[end:].splitlines()]:
        if (content := line.rstrip(_BLANKS)) or (lines and lines[-1]):
            lines.append(content)
    while lines and not lines[-1]:
        lines.pop()
    return _fill(lines, body, pieces)


def _document(text: str) -> tuple[int, int]:
    """The beginning and end of the document's lines, between `---` and `...`."""
    start, end = 0, len(text)
    for event in yaml.parse(text, Loader=LOADER):
        mark: Any = event.end_mark
        if isinstance(event, yaml.DocumentStartEvent) and event.explicit:
            start = text.find("\n", mark.index) + 1 or len(text)
        elif isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            end = text.rfind("\n", 0, mark.index) + 1
    return start, max(start, end)


def _round_trip(text: str, pieces: list[_Piece]) -> str:
    """ruamel.yaml's layout of the text, with `v0`, `v1`, ... for the pieces, which it adds to `pieces`."""
    # imported here: no other command needs it
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, ScalarEvent
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.tag import Tag

    class Names(Composer):
        def compose_node(self, parent: Any, index: Any) -> Any:
            self.warn_double_anchors = False
            first = self.parser.peek_event()
            if isinstance(first, CollectionStartEvent) and not first.flow_style:
                return super().compose_node(parent, index)
            last = self.parser.get_event()
            depth = int(isinstance(last, CollectionStartEvent))
            while depth:
                last = self.parser.get_event()
                depth += isinstance(last, CollectionStartEvent) - isinstance(last, CollectionEndEvent)
            start, end, comment = first.start_mark, last.end_mark, last.comment
            style = (first.style or "") if isinstance(first, ScalarEvent) else text[start.index]
            if style in BLOCK and comment:
                # its first line's comment is a part of the piece, but the line's end isn't of the name
                below = comment[0]
                if below is not None:
                    below.value = f"\n{' ' * below.column}{below.value}"
                comment = [below, None]
            pieces.append(_Piece(start.index, end.index, style))
            tag = Tag(suffix="tag:yaml.org,2002:str")
            return ScalarNode(tag, f"v{len(pieces) - 1}", start, end, comment=comment)

    ruamel = YAML(typ="rt")
    ruamel.Composer = Names
    ruamel.width = len(text) + 80
    ruamel.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    try:
        # it refuses tabs where libyaml takes them
        data = ruamel.load(_CODE.sub(lambda code: code[0].replace("\t", " "), text))
        _keep_anchors(data)
        ruamel.dump(data, stream)
    # it fails in many ways where comments are in unusual places
    except Exception as error:
        raise CannotFormatError("ruamel.yaml cannot read it") from error
    return stream.getvalue()


def _keep_anchors(data: Any) -> None:
    """Keep the anchors of blocks, although no alias refers to them: aliases are pieces by now."""
    data.anchor.always_dump = data.anchor.value is not None
    for item in data.values() if isinstance(data, dict) else data:
        if isinstance(item, dict | list):
            _keep_anchors(item)


def _fill(lines: list[str], text: str, pieces: list[_Piece]) -> list[str]:
    """Lines with the pieces in place of their names, and comments in the columns of their entries."""
    result: list[str] = []
    waiting: list[int] = []
    chain: list[_Level] = []
    for line in lines:
        if not line or line.lstrip(_BLANKS).startswith("#"):
            waiting += [len(result)] if line else []
            result.append(line)
            continue
        behind = _BEHIND.fullmatch(line)
        content = behind[1] if behind else line
        names = [pieces[int(name[1])] for name in _NAME.finditer(content)]
        level = _level(content, text, names[0]) if names else None
        for index in waiting:
            result[index] = _align(result[index], chain, level)
        waiting = []
        while level and chain and chain[-1].after >= level.after:
            chain.pop()
        if level:
            # a dash's value is anywhere to its right
            chain += [level, _Level(level.before + 1, level.after + 2)][: 1 + line.lstrip().startswith("- ")]
        result += _entry_lines(content, text, pieces, level or _Level(0, 0))
        if behind:
            result[-1] += _gap(text, names[-1], behind[2]) + behind[2] if names else line[len(content) :]
    for index in waiting:
        result[index] = _align(result[index], chain, None)
    return result


def _level(line: str, text: str, first: _Piece) -> _Level:
    """The columns of an entry's line. A dash may have been alone on the line above."""
    begin = text.rfind("\n", 0, first.start) + 1
    old, new = text[begin : first.start], line[: len(line) - len(line.lstrip())]
    alone = line[len(new) :].startswith("- ") and "-" not in old
    return _Level(len(old) - len(old.lstrip(_BLANKS)) - 2 * alone, len(new))


def _align(comment: str, chain: list[_Level], below: _Level | None) -> str:
    """A comment in the column of its entry: the one below, or one above whose block contains it."""
    body = comment.lstrip(_BLANKS)
    column = len(comment) - len(body)
    if below and (column <= below.before or not chain or below.after > chain[-1].after):
        return " " * below.after + body
    above = [level for level in chain if level.before <= column]
    # a list may be in the column of its mapping
    after = next((level.after for level in above if level.before == above[-1].before), 0 if chain else column)
    return " " * after + body


def _entry_lines(content: str, text: str, pieces: list[_Piece], level: _Level) -> list[str]:
    """The lines of an entry at `level`."""
    last = _Piece(0, 0, "")

    def first_line(name: re.Match[str]) -> str:
        nonlocal last
        last = pieces[int(name[1])]
        line = text[last.start : last.end].partition("\n")[0]
        return f"{line} :" if name[2] and line.startswith("*") else line + name[2]

    first = _NAME.sub(first_line, content)
    shift = level.after - level.before
    head, *others = text[last.start : last.end].split("\n")
    # the column of the innermost dash or key
    column = content.rfind("- ", 0, content.find("v"))
    column = len(content) - len(content.lstrip(" -")) if ":" in content else max(column, level.after)
    if last.style in BLOCK:
        header = head.partition("#")[0].split()[-1]
        return [first.rstrip(_BLANKS), *_block(others, header, shift, column + 2)]
    least = column + (0 if last.style in ("[", "{") else 2)
    parts = [(len(line) - len(line.lstrip(_BLANKS)), _strip_end(line.lstrip(_BLANKS))) for line in others]
    shifted = [" " * max(indent + shift, least) + body if body else "" for indent, body in parts]
    return [_strip_end(first), *shifted]


def _block(lines: list[str], header: str, shift: int, column: int) -> list[str]:
    """The lines of a block of text, from this column on. Blank lines at its end count if its header says so
    or they contain blanks of its own. Tabs are text here."""
    parts = [(len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in lines]
    least = min((indent for indent, body in parts if body), default=0)
    if parts and not parts[-1][1]:
        # the rest of the line before the next entry
        parts.pop()
    while parts and not parts[-1][1] and parts[-1][0] <= least and "+" not in header:
        parts.pop()
    if not re.search("[1-9]", header):
        shift = max(shift, column - least)
    return [" " * (indent + shift) + body if body or indent > least else "" for indent, body in parts]


def _strip_end(line: str) -> str:
    """The line without trailing blanks, except after a backslash in double quotes."""
    content = line.rstrip(_BLANKS)
    return line if content.endswith("\\") else content


def _gap(text: str, piece: _Piece, comment: str) -> str:
    """The blanks before a comment after a value, or after a key with a block."""
    end = text.find("\n", piece.end)
    before = text[piece.end : end if end >= 0 else None].rstrip(_BLANKS).removesuffix(comment)
    return before[len(before.rstrip(_BLANKS)) :] or " "


def _events(text: str) -> list[tuple[Any, ...]]:
    """libyaml's events without places."""
    names = ("anchor", "tag", "value", "style", "implicit", "flow_style", "explicit", "version")
    try:
        events = list(yaml.parse(text, Loader=LOADER))
    except yaml.YAMLError as error:
        raise CannotFormatError("the formatted text is not valid YAML") from error
    return [(type(event), *(getattr(event, name, None) for name in names)) for event in events]


def _comments(text: str) -> list[str]:
    return [match[0].rstrip() for match in Outline(text).comments()]
