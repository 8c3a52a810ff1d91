"""A terminal of a given width: runs a command in one, and says which lines a reader sees there in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Sequence

PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


def run_in_terminal(
    command: Sequence[str], columns: int, env: dict[str, str], watch: Callable[[int, str], None] | None = None
) -> tuple[int, str]:
    """The command's status, and all it wrote. `watch` gets the process and the text so far, with each piece of it."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], list(command), env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    text, end = "", time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        text += piece.decode(errors="replace")
        if watch is not None:
            watch(child, text)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def screen(text: str, columns: int) -> list[str]:
    """What is left to read: rows as the terminal shows them, those that have scrolled away included."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for number, action, control, character in PIECE.findall(text):
        if action == "A":
            row = max(row - int(number or 1), 0)
        elif action == "K":
            rows[row] = []
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
        elif character:
            if column == columns:
                row, column = row + 1, 0
            while row >= len(rows):
                rows.append([])
            rows[row] += [" "] * (column - len(rows[row]))
            rows[row][column : column + 1] = [character]
            column += 1
        while row >= len(rows):
            rows.append([])
    return ["".join(one).rstrip() for one in rows]
