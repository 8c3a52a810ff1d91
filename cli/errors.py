"""How the command ends when it can't go on: one message for what somebody can mend, a traceback for our own bugs.

The library raises the classes of `lspo.errors` on purpose: what was set, a file or a library that is missing (exit
status 2), and what the run did (exit status 1). Only those are reported in one message: errors of Python's own classes
may be bugs, and keep their traceback. `LSPO_TRACEBACK=1` keeps it in every case.
"""

from __future__ import annotations

import os
import re
import sys
import traceback

from lightning.fabric.utilities.exceptions import MisconfigurationException

from lspo.errors import LSPOError, RunError

TRACEBACK_VARIABLE = "LSPO_TRACEBACK"
WRONG_SETTING, FAILED_RUN, INTERRUPTED = 2, 1, 130


def exit_status(error: BaseException, *, constructing: bool = False) -> int | None:
    """The status to exit with after one message; None where a traceback is due.

    While objects are constructed from settings, anybody's ValueError is about a setting.
    """
    if os.environ.get(TRACEBACK_VARIABLE):
        return None
    if isinstance(error, MisconfigurationException):
        return WRONG_SETTING
    if not isinstance(error, LSPOError) and not (constructing and isinstance(error, ValueError)):
        return None
    # A class was named whose library is not installed: that, too, is a setting.
    if isinstance(error, ValueError | OSError | ModuleNotFoundError):
        return WRONG_SETTING
    return FAILED_RUN if isinstance(error, RunError) else None


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
