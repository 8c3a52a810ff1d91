"""Ends the connection between ranks while the interpreter still can."""

from __future__ import annotations

import atexit
import signal

import torch.distributed as dist

_state = {"registered": False, "failed": False}


def destroy_at_exit() -> None:
    """Has the process group destroyed when the process ends, if no rank has failed by then.

    Lightning does so for NCCL alone. Gloo's threads may hold tensors of the last collective; one that lets go of them
    while the interpreter ends aborts the process ("terminate called without an active exception"), after a run that
    went well.
    """
    if not _state["registered"]:
        atexit.register(_destroy)
        _state["registered"] = True


def leave_connected() -> None:
    """After a failure: other ranks may be in a collective, for which destroying would wait."""
    _state["failed"] = True


def _destroy() -> None:
    if _state["failed"] or not dist.is_initialized():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    dist.destroy_process_group()
