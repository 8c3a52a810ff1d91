"""What other libraries would print that is of no use in a run on several ranks."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_only


def show_progress_once(*, small: bool = False) -> None:
    """Leaves transformers' bars, of loading and of writing weights, to rank 0's terminal; none for small models."""
    from transformers.utils import logging as of_transformers

    rank: int = getattr(rank_zero_only, "rank", 0)
    if small or rank or not sys.stderr.isatty():
        of_transformers.disable_progress_bar()


def ignore_advice_on_means() -> None:
    """Leaves out Lightning's advice to take a mean over ranks, of what evaluation has summed up over them already."""
    warnings.filterwarnings("ignore", message=r".*self\.log\('(val|test)/.*sync_dist=True")


ADVERTISEMENTS = (
    r"Tip: For seamless cloud", r"GPU available: False, used: False", r"TPU available: False",
    r"`Trainer\.fit` stopped: `max_epochs=\d+` reached", r"`weights_only` was not set",
)  # fmt: skip
"""Lines of Lightning's that tell nothing of a run: offers, hardware that is not there, and the end, which the summary
reports."""

BANNERS = re.compile("|".join(ADVERTISEMENTS))
LIGHTNINGS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


def _is_of_use(record: logging.LogRecord) -> bool:
    return BANNERS.search(record.getMessage()) is None


def leave_out_banners() -> None:
    """Leaves them out of the log for good: what the command does, whose log is its own."""
    for name in LIGHTNINGS:
        # The same filter is added once only.
        logging.getLogger(name).addFilter(_is_of_use)


@contextmanager
def without_banners() -> Iterator[None]:
    """Leaves them out for a Trainer within a run."""
    loggers = [logging.getLogger(name) for name in LIGHTNINGS]
    added = [logger for logger in loggers if _is_of_use not in logger.filters]
    for logger in added:
        logger.addFilter(_is_of_use)
    try:
        yield
    finally:
        for logger in added:
            logger.removeFilter(_is_of_use)
