"""Rows of a data set, from the hub or from files, with errors that say what to do."""

from __future__ import annotations

import glob
import gzip
import json
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from lspo.problems.json_rows import JsonRows
from lspo.problems.rows import Rows, TableRows

FIRST_LINES = 100
FILE_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


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
    """The rows, which `datasets` reads, with text as the file has it.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ConnectionError: If the hub can't be reached and the set is not in the cache.
        ValueError: If there are no rows, or they can't be read.
    """
    rows = _open(path, name, split)
    if not rows.column_names:
        raise ValueError(f"Expected to find problems in {path}, but it has no rows.")
    return rows


def _open(path: str, name: str | None, split: str) -> Rows:
    if not is_local(path):
        return _from_hub(path, name, split)
    place = Path(path).expanduser()
    kind = file_format(path)
    if not (place.is_file() if kind else place.exists()):
        raise FileNotFoundError(_missing(place))
    if kind is None:
        if place.is_file():
            raise ValueError(
                f"Expected a file of problems that ends in {', '.join(FILE_FORMATS)}, maybe with .gz behind it, but "
                f"got {path}. Write its rows as one of these."
            )
        return _load(path, str(place), name, split)
    if not place.stat().st_size:
        raise ValueError(f"Expected at least one problem in {path}, but the file is empty.")
    with _errors_of(path):
        return _rows_of(path, kind, {"train": [str(place)]}, "train")


def _load(path: str, place: str, name: str | None, split: str) -> Rows:
    """Rows of a folder, or of a data set on the hub."""
    import datasets

    with _errors_of(path):
        builder = datasets.load_dataset_builder(place, name)
        files = getattr(builder.config, "data_files", None)
        if builder.name in ("json", "csv") and files:
            return _rows_of(path, builder.name, {str(part): list(files[part]) for part in files}, split)
        return TableRows(datasets.load_dataset(place, name, split=split), path)


def _rows_of(path: str, kind: str, files: Mapping[str, Sequence[str]], split: str) -> Rows:
    """Rows of files of one kind, by the part of the set that they are of."""
    import datasets

    escaped = {part: [glob.escape(file) for file in those] for part, those in files.items()}

    def load(builder: str, *, part: str = split, **settings: Any) -> Any:
        return datasets.load_dataset(builder, data_files=escaped, split=part, **settings)

    if kind == "json":
        table = load("text")
        first = next((line for line in table[:FIRST_LINES]["text"] if line.strip()), "")
        whole = not _is_object(first)
        if whole and "[" in split:
            raise ValueError(
                f"Expected the name of a split, as its files hold one JSON value each, but got {split!r}. Take the "
                "first rows with `size`, or write the files as JSON lines."
            )
        return JsonRows(load("text", sample_by="document") if whole else table, path, whole=whole)
    if kind != "csv":
        return TableRows(load(kind), path)
    # Without types, and with NA, None and their like as the text that they are; what is empty stays empty.
    as_written: dict[str, Any] = {"keep_default_na": False}
    header = load("csv", header=None, nrows=1, part=split.partition("[")[0], **as_written)
    names = _unique(next(iter(header), {}).values())
    features = datasets.Features({name: datasets.Value("string") for name in names})
    table = load("csv", features=features, **as_written)
    return TableRows(table, path, typed=partial(load, "csv"))


def _unique(cells: Iterable[Any]) -> list[str]:
    """Column names as pandas makes them of a header: of one that has none, and of one that comes twice."""
    names: list[str] = []
    counts: Counter[str] = Counter()
    for place, cell in enumerate(cells):
        name = str(cell) or f"Unnamed: {place}"
        names.append(f"{name}.{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return names


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line.lstrip("\ufeff")), dict)
    except ValueError:
        return False


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """What `datasets` says where it can't read something, as one message."""
    import datasets

    try:
        yield
    except datasets.data_files.EmptyDatasetError as error:
        raise FileNotFoundError(
            f"Expected a folder with files of problems ({', '.join(FILE_FORMATS)}) at {path}, but it has none."
        ) from error
    except (datasets.exceptions.DatasetGenerationError, gzip.BadGzipFile) as error:
        raise ValueError(
            f"Expected rows of JSON, JSON lines, parquet or CSV in {path}, but it can't be read: "
            f"{error.__cause__ or error}"
        ) from error
    except (ValueError, StopIteration) as error:
        reason = "it has no rows." if "no data" in str(error) or not str(error) else f"`datasets` says: {error}"
        raise ValueError(f"Expected to find problems in {path}, but {reason}") from error


def _from_hub(path: str, name: str | None, split: str) -> Rows:
    import datasets

    try:
        with _without_retries_where_there_is_no_network():
            return _load(path, path, name, split)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"Expected {path!r} to be a data set on the hub, or a file that ends in {', '.join(FILE_FORMATS)}, but it "
            f"is neither: {error}"
        ) from error
    except ConnectionError as error:
        raise ConnectionError(
            f"Expected to read the data set {path!r} from the hub, but that can't be reached, and the set is not in "
            f"the cache ({datasets.config.HF_DATASETS_CACHE}). Name a local file in its place with `path`, or fetch "
            f"the set where there is a network and copy the cache. (A file's name ends in {', '.join(FILE_FORMATS)}; a "
            f"folder's begins with ./ or /.) The library says: {error}"
        ) from error


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
