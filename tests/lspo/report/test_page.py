import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest


class Elements(HTMLParser):
    """Every element with its attributes, as a browser would find them."""

    def __init__(self, text):
        super().__init__()
        self.found, self.classes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def embedded(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_the_page_has_every_part(page_of, run_folder):
    page = page_of(run_folder)
    elements = Elements(page).found
    ids = {attributes.get("id") for _, attributes in elements}
    assert {f"tab-{name}" for name in ("overview", "curves", "lengths", "prompts", "time", "responses")} <= ids
    assert {"plot-accuracy", "plot-entropy", "plot-old_kl", "plot-clip_high", "plot-engine_gap", "plot-prompts"} <= ids
    assert {"plot-eval_held_out_avg4", "plot-side_accuracy", "plot-right_wrong", "plot-time", "plot-cost"} <= ids
    # Nothing is logged of these.
    assert not {"plot-kl", "plot-memory"} & ids
    assert "24 of 24 iterations" in page


def test_nothing_is_asked_of_the_network(page_of, run_folder):
    page = page_of(run_folder)
    addresses = [
        attributes[name] for _, attributes in Elements(page).found for name in ("src", "href") if name in attributes
    ]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "url(" not in page
    assert "@import" not in page
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in page


def test_texts_of_a_model_stay_text(make_run, page_of, tmp_path):
    hostile = '</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \u2028 \ud800 & "quoted"'
    folder = make_run(tmp_path / "<b>run", 2)
    path = folder / "rollouts" / "iteration_000000.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"prompt": hostile, "response": hostile, "answer": hostile, "prompt_id": hostile, "reason": hostile}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = page_of(folder)
    tags = [tag for tag, _ in Elements(page).found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert "<b>" not in page.replace("<b>52", "").split("<main>")[0]
    shown = [one["text"] for group in embedded(page)["runs"][0]["responses"] for one in group["responses"]]
    assert hostile.replace("\ud800", "?") in shown


def test_what_is_not_recorded_is_said(tmp_path, page_of):
    (tmp_path / "metrics.csv").write_text("iteration,rollout/accuracy,total/tokens\n0,0.5,10\n1,0.75,20\n")
    page = page_of(tmp_path)
    assert "The lengths of each iteration are not recorded" in page
    assert "No responses are on disk" in page
    (tmp_path / "metrics.csv").write_text("")
    assert "Nothing is recorded yet" in page_of(tmp_path)


def test_a_run_of_one_iteration(make_run, page_of, tmp_path):
    page = page_of(make_run(tmp_path / "run", 1))
    assert "one evaluation so far" in page
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).lower().replace("finance", "")


def test_seeds_become_one_curve_and_methods_two(make_run, page_of, tmp_path):
    for seed in (0, 1):
        make_run(tmp_path / f"dapo/seed_{seed}", 12, seed=seed)
        make_run(tmp_path / f"other/seed_{seed}", 12, seed=seed, gain=0.5)
    page = page_of(*(tmp_path / name / f"seed_{seed}" for name in ("dapo", "other") for seed in (0, 1)))
    accuracy = page.split('id="plot-accuracy"')[1].split("</svg>")[0]
    assert re.findall(r'data-label="([^"]+)"', accuracy) == ["dapo (2 seeds)", "other (2 seeds)"]
    assert accuracy.count('class="area band') == 2
    assert [run["name"] for run in embedded(page)["runs"]] == [
        "dapo, seed 0", "dapo, seed 1", "other, seed 0", "other, seed 1",
    ]  # fmt: skip
    assert "t interval over 2 seeds" in page


def test_folders_of_a_resumed_run_make_one_page(make_run, page_of, tmp_path):
    make_run(tmp_path / "version_0", 10)
    make_run(tmp_path / "version_1", 16, first=8)
    data = embedded(page_of(tmp_path / "version_0", tmp_path / "version_1"))
    assert [row["i"] for row in data["runs"][0]["lengths"]] == list(range(16))


def test_the_page_needs_neither_torch_nor_lightning():
    code = "import sys, lspo.report; sys.exit(bool({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_is_sound(tmp_path):
    from lspo.report.svg import asset

    path = tmp_path / "script.js"
    path.write_text(asset("script.js"))
    assert subprocess.run(["node", "--check", path]).returncode == 0
