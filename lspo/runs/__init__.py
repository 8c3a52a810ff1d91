"""What a run has left on disk, read back. Needs neither torch nor Lightning."""

from lspo.runs.finding import runs_below
from lspo.runs.reading import Run, read_run, read_runs

__all__ = ["Run", "read_run", "read_runs", "runs_below"]
