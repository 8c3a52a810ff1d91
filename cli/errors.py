"""How the command ends when it can't go on: one message for what somebody can mend, a traceback for our own bugs.

The library raises ValueError, the errors of files and those of missing libraries for what was set (exit status 2), and
RuntimeError for what the run did (exit status 1). Only what it raises on purpose is told in one message: the same kinds
of errors from elsewhere may be bugs, and keep their traceback. `LSPO_TRACEBACK=1` keeps it in every case.
"""

from __future__ import annotations

import dis
import os
import re
import sys
import traceback
from pathlib import Path
from types import TracebackType

from lightning.fabric.utilities.exceptions import MisconfigurationException

import lspo

TRACEBACK_VARIABLE = "LSPO_TRACEBACK"
WRONG_SETTING, FAILED_RUN = 2, 1
PACKAGE = Path(lspo.__file__).parent
FOLDERS = tuple(f"{(PACKAGE / part).resolve()}{os.sep}" for part in (".", "cli", "datamodules", "lightning_modules"))
"""Where our own code stands; three of them are links in a checkout."""


def exit_status(error: BaseException, *, constructing: bool = False) -> int | None:
    """The status to exit with after one message; None where a traceback is due.

    While objects are constructed from settings, anybody's ValueError is about a setting.
    """
    if os.environ.get(TRACEBACK_VARIABLE):
        return None
    if isinstance(error, MisconfigurationException):
        return WRONG_SETTING
    if not raised_by_us(error) and not (constructing and isinstance(error, ValueError)):
        return None
    # A class was named whose library is not installed: that, too, is a setting.
    if isinstance(error, ValueError | OSError | ModuleNotFoundError):
        return WRONG_SETTING
    # torch's own, out of memory for one, are kinds of RuntimeError too, but not raised here.
    return FAILED_RUN if type(error) is RuntimeError else None


def raised_by_us(error: BaseException) -> bool:
    """True if a `raise` of this library made the error, rather than a mistake in it or in what it calls."""
    last = _innermost(error.__traceback__)
    if last is None:
        return False
    code = last.tb_frame.f_code
    ours = os.path.realpath(code.co_filename).startswith(FOLDERS)
    return ours and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def report(error: BaseException, status: int, *, hint: str = "") -> None:
    """Writes the message; before it, the traceback of somebody else's error that it was made of."""
    if status == FAILED_RUN and error.__cause__ is not None:
        traceback.print_exception(error.__cause__, chain=False)
    lines = [f"error: {_to_the_point(str(error))}", hint, f"({TRACEBACK_VARIABLE}=1 shows where it was raised.)"]
    sys.stdout.flush()
    sys.stderr.write("\n".join(line for line in lines if line) + "\n")


def _to_the_point(message: str) -> str:
    """Of jsonargparse's list of the types that a value is not of, what the one that was meant says."""
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return message
    reasons = re.findall(r"^  - (.*(?:\n    .*)*)", message, re.MULTILINE)
    meant = [reason for reason in reasons if not re.fullmatch(r"Expected a <class '[\w.]+'>", reason)]
    return "\n".join(meant) or message


def _innermost(last: TracebackType | None) -> TracebackType | None:
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last
