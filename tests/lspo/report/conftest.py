import importlib.util
from pathlib import Path

import pytest

from lspo.report import grouped, report_page
from lspo.runs import read_runs

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "report.py"


@pytest.fixture(scope="session")
def make_run():
    """Writes the folder of a made-up run, with all files that a real one has."""
    spec = importlib.util.spec_from_file_location("made_up_runs", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run


@pytest.fixture(scope="session")
def run_folder(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "quickstart" / "version_0", 24, megabytes=0.4, evaluate_every=6)


@pytest.fixture(scope="session")
def page_of():
    return lambda *folders: report_page(grouped(read_runs(folders)))
