"""The page in a real browser; skipped where there is none."""

import base64
import hashlib
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (chromium, google-chrome)"),
    pytest.mark.slow,
]
WIDTHS = {"wide": 1280, "narrow": 390}


@pytest.fixture(scope="module")
def page(tmp_path_factory, run_folder, page_of):
    # What it writes of itself lets a dumped page tell how it is laid out.
    measure = (
        "addEventListener('load', () => { const root = document.documentElement;"
        " root.dataset.beyond = root.scrollWidth - innerWidth;"
        " root.dataset.asked = performance.getEntriesByType('resource').length; });"
    )
    allowed = base64.b64encode(hashlib.sha256(measure.encode()).digest()).decode()
    text = page_of(run_folder).replace("script-src ", f"script-src 'sha256-{allowed}' ")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text.replace("</body>", f"<script>{measure}</script></body>"))
    return path


@pytest.fixture
def browse(tmp_path, page):
    """What the browser made of the page: its document, and what it said of errors."""

    def browse(state, width="wide", path=page):
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr", f"--window-size={WIDTHS[width]},900", "--virtual-time-budget=2000", "--dump-dom",
            f"{path.as_uri()}#{state}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return browse


@pytest.mark.parametrize("tab", ["overview", "curves", "lengths", "prompts", "time", "responses"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_tab_is_drawn_without_errors_and_fits(browse, tab, width):
    document, errors = browse(f"tab={tab}&theme=dark&x=tokens", width)
    assert errors == []
    shown = re.findall(r'<section id="tab-(\w+)">', document)
    assert shown == [tab]
    assert re.search(r'data-theme="dark"', document)
    assert re.search(r'<html[^>]* data-x="tokens"', document)
    assert re.search(r'data-beyond="(-?\d+)"', document)[1] in ("0", "-15")
    assert 'data-asked="0"' in document


def test_the_sliders_iteration_is_that_of_the_address(browse):
    document, _ = browse("tab=lengths&i=7")
    assert "<output>iteration 7</output>" in document
    histogram = document.split('aria-label="Lengths of iteration 7"')[1].split("</svg>")[0]
    assert histogram.count('class="bar ') > 10
    assert histogram.count('class="kept-zone"') == 2
    # The line of the slider is drawn in every map at the same place.
    cursors = set(re.findall(r'class="cursor" d="M([\d.]+) ', document))
    assert len(cursors) == 2


def test_filters_are_those_of_the_address(browse):
    document, _ = browse("tab=responses&reason=length_middle&show=wrong")
    listed = document.split('class="list"')[1].split("</main>")[0]
    assert set(re.findall(r'<span class="chip (r-\w+)">', listed)) == {"r-middle"}
    assert "✗ wrong" in listed
    assert "✓ right" not in listed


def test_a_hostile_response_runs_nothing(make_run, page_of, browse, tmp_path):
    folder = make_run(tmp_path / "run", 1)
    path = folder / "rollouts" / "iteration_000000.jsonl"
    hostile = r"</script><script>document.title='taken'</script><img src=x onerror=document.title=1>"
    path.write_text(path.read_text().replace("Let us think.", hostile))
    page = tmp_path / "report.html"
    page.write_text(page_of(folder))
    document, errors = browse("tab=responses", path=page)
    assert errors == []
    assert "<title>run</title>" in document
    assert "&lt;/script&gt;&lt;script&gt;" in document.split('class="list"')[1]
