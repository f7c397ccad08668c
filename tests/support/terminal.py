"""What a command prints on a terminal, and a picture of it."""

from __future__ import annotations

import fcntl
import html
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from support.command import PATIENCE

FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def run_on_terminal(command: Sequence[str], columns: int, environment: Mapping[str, str]) -> str:
    """What the command writes to a terminal of so many columns, with its escape sequences."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env={**environment}
    )
    os.close(terminal)
    chunks = []
    # the end of the other side's last process reads as an error
    try:
        while chunk := os.read(control, 65536):
            chunks.append(chunk)
    except OSError:
        pass
    os.close(control)
    assert process.wait(PATIENCE) == 0
    return b"".join(chunks).decode().replace("\r\n", "\n")


def draw_svg(output: str, title: str, columns: int) -> str:
    """An SVG of a terminal that shows `output`; it loads no font."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.from_ansi(output.rstrip()), soft_wrap=True)
    svg = console.export_svg(title=title, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: (?:Fira Code|arial)[^;]*;", f"font-family: {FONT};", svg)
    return re.sub(r"\n\s*\n+|[ \t]+$", "\n", svg, flags=re.MULTILINE).strip() + "\n"


def read_svg(svg: str) -> list[str]:
    """The lines of text in such an SVG, the title last."""
    lines: dict[float, str] = {}
    for height, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>(.*?)</text>', svg, re.DOTALL):
        lines[float(height)] = lines.get(float(height), "") + html.unescape(text).replace("\u00a0", " ")
    return [line.rstrip() for _, line in sorted(lines.items())]
