"""What other libraries would print that is of no use in a run on several ranks."""

from __future__ import annotations

import warnings

from lightning.pytorch.utilities import rank_zero_only


def show_progress_once() -> None:
    """Leaves transformers' bars, of loading and of writing weights, to rank 0."""
    from transformers.utils import logging

    if getattr(rank_zero_only, "rank", 0):
        logging.disable_progress_bar()


def ignore_advice_on_means() -> None:
    """Leaves out Lightning's advice to take a mean over ranks, of what evaluation has summed up over them already."""
    warnings.filterwarnings("ignore", message=r".*self\.log\('(val|test)/.*sync_dist=True")
