"""What this library raises on purpose, apart from mistakes in it: the command ends with their message alone.

Each is also what Python calls an error of its kind, so that `except ValueError` catches a `SettingError`.
"""

from __future__ import annotations


class LSPOError(Exception):
    """Raised on purpose: the message says what was expected, what came, and what to do."""


class SettingError(LSPOError, ValueError):
    """Something that was set, or that a file holds, can't be."""


class RunError(LSPOError, RuntimeError):
    """The run can't go on."""


class MissingFileError(LSPOError, FileNotFoundError):
    """A file, a folder, or something on the hub is not there."""


class MissingLibraryError(LSPOError, ModuleNotFoundError):
    """A library is not installed."""


class UnreachableError(LSPOError, ConnectionError):
    """The hub, or another machine, can't be reached."""


class FolderError(LSPOError, OSError):
    """A file or folder is there, but can't be used as it is asked."""


class OccupiedError(LSPOError, FileExistsError):
    """There is something where a new file or folder was to be."""
