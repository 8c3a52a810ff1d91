"""Rows of a data set, from the hub or from files, with errors that say what to do."""

from __future__ import annotations

import glob
import gzip
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from lspo.errors import MissingFileError, SettingError, UnreachableError
from lspo.problems.rows import ROWS_AT_A_TIME, CutRows, JSONRows, Rows, TableRows, opens_only, other_bytes

FILE_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}
NOTHING_IS_MISSING = {"keep_default_na": False, "na_filter": False}
"""Settings of a CSV file by which NA and its like are text."""


def is_local(path: str) -> bool:
    """Whether this names a file or folder rather than a data set on the hub.

    Example:
        >>> is_local("openai/gsm8k"), is_local("gsm8k.jsonl"), is_local("./gsm8k")
        (False, True, True)
    """
    return file_format(path) is not None or path.startswith(("/", "./", "../", "~")) or Path(path).exists()


def file_format(path: str) -> str | None:
    """What `datasets` calls the format of a file with this name; None if it is no file of problems."""
    return FILE_FORMATS.get(Path(path.lower().removesuffix(".gz")).suffix)


def open_rows(path: str, name: str | None, split: str) -> Rows:
    """The rows, to be read as often as needed.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ConnectionError: If the hub can't be reached and the set is not in the cache.
        ValueError: If there are no rows, or they can't be read.
    """
    if not is_local(path):
        table = _from_hub(path, name, split)
        if table.info.builder_name == "csv":
            text = _as_text_columns(table, path, name, split)
            return TableRows(text, path, empty_is_missing=True, typed=lambda: table)
        return TableRows(table, path)
    place = Path(path).expanduser()
    kind = file_format(path)
    if not (place.is_file() if kind else place.exists()):
        raise MissingFileError(_missing(place))
    if kind is None:
        if place.is_file():
            raise SettingError(
                f"Expected a file of problems that ends in {', '.join(FILE_FORMATS)}, maybe with .gz behind it, but "
                f"got {path}. Write its rows as one of these."
            )
        return _from_folder(path, place, name, split)
    if not place.stat().st_size:
        raise SettingError(f"Expected at least one problem in {path}, but the file is empty.")
    return _from_files(path, kind, {"train": [str(place)]}, "train")


def _from_folder(path: str, place: Path, name: str | None, split: str) -> Rows:
    import datasets

    inside = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))
    if "config.json" in inside and any(entry.endswith((".safetensors", ".bin")) for entry in inside):
        raise SettingError(
            f"Expected a folder with files of problems at {path}, but that is a model's folder. It is named with "
            f"--model.model={path}."
        )
    others = (
        f"Expected a folder with files of problems ({', '.join(FILE_FORMATS)}) at {path}, but it has only "
        f"{', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''}. Name the folder or the file that has them."
    )
    try:
        found = _load(path, str(place), name, how=datasets.load_dataset_builder)
    except (FileNotFoundError, ValueError) as error:
        if not inside or any(file_format(str(file)) for file in place.rglob("*")):
            raise
        # `datasets` reads more than these, as archives; what it says of a folder without any does not help.
        raise MissingFileError(others) from error
    if found.info.builder_name == "text":
        raise MissingFileError(others)  # notes: rows of one column can't have problem and answer
    parts = {str(part): [str(file) for file in files] for part, files in (found.config.data_files or {}).items()}
    kinds = {file_format(file) for files in parts.values() for file in files}
    if kinds in ({"json"}, {"csv"}) and not getattr(found.config, "field", None):
        return _from_files(path, kinds.pop() or "", parts, split)
    return TableRows(_load(path, str(place), name, split=split), path)


def _from_files(path: str, kind: str, parts: dict[str, list[str]], split: str) -> Rows:
    """Files of one kind. Text stays what the file says: `datasets` would take some of it for numbers, dates, gaps."""
    escaped = {part: [glob.escape(file) for file in files] for part, files in parts.items()}
    files = [file for each in parts.values() for file in each]
    try:
        if kind == "json":
            whole = not all(_has_lines(file) for file in files)
            sample_by = "document" if whole else "line"
            # "utf-8-sig" leaves out the mark that some programs write at the start of a file.
            settings: dict[str, Any] = {"sample_by": sample_by, "encoding": "utf-8-sig"}

            def rows(split: str) -> JSONRows:
                return JSONRows(_load(path, "text", data_files=escaped, split=split, **settings), path, whole=whole)

            return _cut(path, rows, list(parts), split) if "[" in split else rows(split)
        if kind == "csv":
            columns = [_text_columns(path, file) for file in files]  # all, as each is checked
            settings = {"features": columns[0], **NOTHING_IS_MISSING}
            load = partial(_load, path, kind, data_files=escaped, split=split)
            return TableRows(load(**settings), path, empty_is_missing=True, typed=load)
    except UnicodeDecodeError as error:
        raise SettingError(other_bytes(path, _block_of_other_bytes(files), str(error))) from error
    return TableRows(_load(path, kind, data_files=escaped, split=split), path)


def _text_columns(path: str, file: str) -> Any:
    """The columns of a CSV file, all of them as text."""
    import pandas

    try:
        first = pandas.read_csv(file, nrows=1, dtype=str, **NOTHING_IS_MISSING)
    except UnicodeDecodeError:
        raise
    except (ValueError, OSError) as error:
        raise SettingError(
            f"Expected rows of CSV in {path}, with names of columns in the first line, but it can't be read: {error}"
        ) from error
    if not isinstance(first.index, pandas.RangeIndex):
        # pandas would take the first cells for names of rows, and all others for those of the column before.
        raise SettingError(
            f"Expected rows of CSV in {path} with a cell for each of the columns {', '.join(map(str, first.columns))}, "
            "but the first row has more. Put cells that have commas in double quotes, and no comma at the end of a row."
        )
    return _all_text(first.columns)


def _cut(path: str, rows: Callable[[str], JSONRows], parts: Sequence[str], split: str) -> Rows:
    """A slice of rows, as `train[:10]`. `datasets` would count whole files, or lines, the empty ones as well."""
    import datasets

    try:
        wanted = datasets.ReadInstruction.from_spec(split)
        named = {part: rows(part) for part in parts if part in split}
        cuts = wanted.to_absolute({part: each.count() for part, each in named.items()})
    except (ValueError, AssertionError) as error:
        raise SettingError(f"Expected to find problems in {path}, but `datasets` says: {error}") from error
    return CutRows([(named[cut.splitname], cut.from_ or 0, cut.to) for cut in cuts], path)


def _opened(file: str) -> Any:
    return gzip.open(file) if file.lower().endswith(".gz") else open(file, "rb")


def _has_lines(file: str) -> bool:
    """Whether a file of JSON has rows in lines of their own, rather than one list or rows over several lines."""
    with suppress(gzip.BadGzipFile, EOFError), _opened(file) as content:
        first = next((line for line in content if line.strip()), b"").decode("utf-8-sig", errors="replace")
        return not first.lstrip().startswith("[") and not opens_only(first)
    return True


def _block_of_other_bytes(files: Sequence[str]) -> int:
    """In which thousand of rows the first one stands that is not in UTF-8."""
    number = 0
    for file in files:
        with _opened(file) as content:
            for line in content:
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number // ROWS_AT_A_TIME
                number += 1
    return number // ROWS_AT_A_TIME


def _load(path: str, *arguments: Any, how: Any = None, **settings: Any) -> Any:
    import datasets

    try:
        return (how or datasets.load_dataset)(*arguments, **settings)
    except datasets.data_files.EmptyDatasetError as error:
        raise MissingFileError(
            f"Expected a folder with files of problems ({', '.join(FILE_FORMATS)}) at {path}, but it has none."
        ) from error
    except (datasets.exceptions.DatasetGenerationError, gzip.BadGzipFile, EOFError) as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise error.__cause__ from None
        raise SettingError(
            f"Expected rows of JSON, JSON lines, parquet or CSV in {path}, but it can't be read: "
            f"{str(error.__cause__ or error).strip()}"
        ) from error
    except UnicodeDecodeError:
        raise  # the caller knows what is said of it
    except (ValueError, StopIteration) as error:
        reason = "it has no rows." if "no data" in str(error) or not str(error) else f"`datasets` says: {error}"
        raise SettingError(f"Expected to find problems in {path}, but {reason}") from error


def _from_hub(path: str, name: str | None, split: str) -> Any:
    import datasets

    try:
        with _without_retries_where_there_is_no_network():
            return _load(path, path, name, split=split)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise MissingFileError(
            f"Expected {path!r} to be a data set on the hub, or a file that ends in {', '.join(FILE_FORMATS)}, but it "
            f"is neither: {error}"
        ) from error
    except ConnectionError as error:
        raise UnreachableError(
            f"Expected to read the data set {path!r} from the hub, but that can't be reached, and the set is not in "
            f"the cache ({datasets.config.HF_DATASETS_CACHE}). Name a local file in its place with `path`, or fetch "
            f"the set where there is a network and copy the cache. (A file's name ends in {', '.join(FILE_FORMATS)}; a "
            f"folder's begins with ./ or /.) The library says: {error}"
        ) from error


def _as_text_columns(table: Any, path: str, name: str | None, split: str) -> Any:
    """A set of CSV files once more, with all columns as text, now that they are known by name."""
    import datasets

    settings = {"features": _all_text(table.column_names), **NOTHING_IS_MISSING}
    try:
        with _without_retries_where_there_is_no_network():
            return datasets.load_dataset(path, name, split=split, **settings)
    except (ValueError, OSError) as error:
        warnings.warn(
            f"The cells of {path!r} are read as `datasets` guesses: '007' as 7, and 'NA' as nothing. To read them as "
            f"text the set must be fetched once more, and that failed: {error}",
            stacklevel=2,
        )
        return table


def _all_text(names: Iterable[str]) -> Any:
    import datasets

    return datasets.Features({str(name): datasets.Value("string") for name in names})


@contextmanager
def _without_retries_where_there_is_no_network() -> Iterator[None]:
    """Looks the hub up first: without it the libraries retry for half a minute, even for what is in their cache."""
    import datasets
    from huggingface_hub import constants

    host = urlparse(constants.ENDPOINT).hostname
    offline = bool(constants.HF_HUB_OFFLINE)
    # A proxy finds names that this machine can't.
    if not offline and not getproxies():
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            offline = True
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _missing(place: Path) -> str:
    message = f"Expected a file of problems at {place}, but there is none."
    if not place.parent.is_dir():
        return f"{message} Nor is there a folder {place.parent}."
    names = sorted(entry.name for entry in place.parent.iterdir() if file_format(entry.name) or entry.is_dir())
    close = get_close_matches(place.name, names, n=5, cutoff=0.5)
    return f"{message} Of a like name there: {', '.join(close)}." if close else message
