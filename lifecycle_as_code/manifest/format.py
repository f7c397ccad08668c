"""A manifest in the one layout that `lac fmt` gives it; the data and every comment stay. Pure.

ruamel.yaml's round trip lays out the blocks: what a key holds stands two columns to its right, dashes too,
and one blank stands behind a dash or a colon. It sees a name in the place of each scalar, alias and value in
brackets, so quotes, numbers, templates, long lines and the insides of brackets stay as they are written;
further lines of such a value move along with its entry. Comments stand in the column of their entry.

UTF-8 without a byte order mark. Lines end with a line feed, or as on Windows where all of them do; the last
one ends, too. No blanks at the end of a line, and no two blank lines in a row.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final, NamedTuple

import yaml

from .yaml.outline import BLOCK, Outline, comments, outline

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TURNS: Final = 4
_BLANKS: Final = " \t"
_ODD_ENDS: Final = re.compile("[\r\x85\u2028\u2029]")
_BEHIND: Final = re.compile(r"(.*?)[ \t]+(#.*)")
_CODE: Final = re.compile("^[^#\n]+", re.MULTILINE)
_NAME: Final = re.compile(r"(?<!\S)v(\d+)(:?)(?!\S)")


class CannotFormatError(Exception):
    """Why a text is left as it is."""


class _Piece(NamedTuple):
    """A key or a value that stays as it is: its place in the text, and the quote, `|` or bracket that it
    begins with."""

    start: int
    end: int
    style: str


class _Level(NamedTuple):
    """The column of a block of entries, before and after."""

    before: int
    after: int


def formatted(text: str) -> str:
    """The text in the one layout. CannotFormatError where that isn't safe.

    `text`: one in which `yaml.parse` finds no problem.
    """
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
    before = outline(text)
    lines = _lay_out(text, before)
    events = _events(text)
    # the end of a line that had none would be a part of a block's text
    for end in ("\n", "") if lines else ("",):
        result = "\n".join(lines) + end
        if _events(result) == events:
            break
    else:
        raise CannotFormatError("the formatted text would mean something else")
    if _comments(result) != _comments(text):
        raise CannotFormatError("a comment would be lost or move past another")
    return result


def _lay_out(text: str, before: Outline) -> list[str]:
    """All lines, without their ends."""
    start, end = _document(text)
    body = text[start:end]
    pieces: list[_Piece] = []
    blocks = before.root is not None and before.root.sort in ("mapping", "list") and not before.root.flow
    dumped = _round_trip(body, pieces) if blocks else body
    lines: list[str] = []
    for line in [*text[:start].splitlines(), *dumped.splitlines(), *text[end:].splitlines()]:
        if (stripped := line.rstrip(_BLANKS)) or (lines and lines[-1]):
            lines.append(stripped)
    while lines and not lines[-1]:
        lines.pop()
    return _fill(lines, body, pieces)


def _document(text: str) -> tuple[int, int]:
    """Where the lines of the document's content begin and end, between `---` and `...`."""
    start, end = 0, len(text)
    for event in yaml.parse(text, Loader=_LOADER):
        mark: Any = event.end_mark
        if isinstance(event, yaml.DocumentStartEvent) and event.explicit:
            start = text.find("\n", mark.index) + 1 or len(text)
        elif isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            end = text.rfind("\n", 0, mark.index) + 1
    return start, max(start, end)


def _round_trip(text: str, pieces: list[_Piece]) -> str:
    """What ruamel.yaml writes for what it reads, with `v0`, `v1`, ... for the pieces, which are filled in."""
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
    # it fails in many ways where comments stand in unusual places
    except Exception as error:
        raise CannotFormatError("ruamel.yaml cannot read it") from error
    return stream.getvalue()


def _keep_anchors(data: Any) -> None:
    """Let blocks keep their anchors, though no alias names them: aliases are names of ours by now."""
    data.anchor.always_dump = data.anchor.value is not None
    for item in data.values() if isinstance(data, dict) else data:
        if isinstance(item, dict | list):
            _keep_anchors(item)


def _fill(lines: list[str], text: str, pieces: list[_Piece]) -> list[str]:
    """Lines with the pieces in the place of their names, and comments in the columns of their entries."""
    filled: list[str] = []
    waiting: list[int] = []
    chain: list[_Level] = []
    for line in lines:
        if not line or line.lstrip(_BLANKS).startswith("#"):
            waiting += [len(filled)] if line else []
            filled.append(line)
            continue
        behind = _BEHIND.fullmatch(line)
        content = behind[1] if behind else line
        names = [pieces[int(name[1])] for name in _NAME.finditer(content)]
        level = _level(content, text, names[0]) if names else None
        for index in waiting:
            filled[index] = _aligned(filled[index], chain, level)
        waiting = []
        while level and chain and chain[-1].after >= level.after:
            chain.pop()
        if level:
            # what a dash holds stands anywhere to its right
            chain += [level, _Level(level.before + 1, level.after + 2)][: 1 + line.lstrip().startswith("- ")]
        filled += _written(content, text, pieces, level or _Level(0, 0))
        if behind:
            filled[-1] += _gap(text, names[-1], behind[2]) + behind[2] if names else line[len(content) :]
    for index in waiting:
        filled[index] = _aligned(filled[index], chain, None)
    return filled


def _level(line: str, text: str, first: _Piece) -> _Level:
    """The columns where an entry's line begins. A dash may have stood alone on the line above."""
    begin = text.rfind("\n", 0, first.start) + 1
    old, new = text[begin : first.start], line[: len(line) - len(line.lstrip())]
    alone = line[len(new) :].startswith("- ") and "-" not in old
    return _Level(len(old) - len(old.lstrip(_BLANKS)) - 2 * alone, len(new))


def _aligned(comment: str, chain: list[_Level], below: _Level | None) -> str:
    """A comment with what it is aligned with: the entry below, or one above in whose block it stands."""
    body = comment.lstrip(_BLANKS)
    column = len(comment) - len(body)
    if below and (column <= below.before or not chain or below.after > chain[-1].after):
        return " " * below.after + body
    above = [level for level in chain if level.before <= column]
    # a list may stand in the column of the mapping that it is in
    after = next((level.after for level in above if level.before == above[-1].before), 0 if chain else column)
    return " " * after + body


def _written(content: str, text: str, pieces: list[_Piece], level: _Level) -> list[str]:
    """The lines of an entry, whose own column is `level`."""
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
    parts = [(len(line) - len(line.lstrip(_BLANKS)), _ended(line.lstrip(_BLANKS))) for line in others]
    moved = [" " * max(indent + shift, least) + body if body else "" for indent, body in parts]
    return [_ended(first), *moved]


def _block(lines: list[str], header: str, shift: int, column: int) -> list[str]:
    """The lines of a block of text, from this column on. Blank ones at its end count where they say so or
    hold blanks of its own. Tabs are text here."""
    parts = [(len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in lines]
    least = min((indent for indent, body in parts if body), default=0)
    if parts and not parts[-1][1]:
        # what stands before the next entry
        parts.pop()
    while parts and not parts[-1][1] and parts[-1][0] <= least and "+" not in header:
        parts.pop()
    if not re.search("[1-9]", header):
        shift = max(shift, column - least)
    return [" " * (indent + shift) + body if body or indent > least else "" for indent, body in parts]


def _ended(line: str) -> str:
    """Without blanks at its end; in double quotes, a backslash and a blank are a blank."""
    ended = line.rstrip(_BLANKS)
    return line if ended.endswith("\\") else ended


def _gap(text: str, piece: _Piece, comment: str) -> str:
    """The blanks before a comment behind a value, or behind a key that holds a block."""
    end = text.find("\n", piece.end)
    before = text[piece.end : end if end >= 0 else None].rstrip(_BLANKS).removesuffix(comment)
    return before[len(before.rstrip(_BLANKS)) :] or " "


def _events(text: str) -> list[tuple[Any, ...]]:
    """What libyaml reads, but for the places."""
    names = ("anchor", "tag", "value", "style", "implicit", "flow_style", "explicit", "version")
    try:
        events = list(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise CannotFormatError("the formatted text could not be read") from error
    return [(type(event), *(getattr(event, name, None) for name in names)) for event in events]


def _comments(text: str) -> list[str]:
    return [found[0].rstrip() for found in comments(text, outline(text))]
