"""The README and the pages of docs/: each block of code, YAML and commands is run; links and public names are there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from lspo.cli.main import COMMANDS, LSPOCommand
from lspo.cli.recipes import recipe_paths
from lspo.names import PLACE_OF

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
RUN_ELSEWHERE = {
    "docs/coming_from.md": "tests/test_coming_from.py trains with each of its blocks",
    "docs/own_module.md": "tests/test_own_module.py runs each of its blocks",
}
OTHERS_COMMANDS = {"pip", "vllm", "python", "torchrun", "srun", "trap", "wait", "VLLM_SERVER_DEV_MODE=1", "RANK0:29500"}
"""First words of commands that are not ours."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it shows, as its first line says."""
        found = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return found[1] if found else None


def blocks(page: str) -> list[Block]:
    return [Block(page, *found) for found in re.findall(r"^```(\w+)\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)]


def of_language(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page}:{number}")
        for page in PAGES
        if page not in RUN_ELSEWHERE or language == "bash"
        for number, block in enumerate(blocks(page))
        if block.language == language
    ]


@pytest.fixture
def place(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the pages name: files of problems, classes of one's own, configurations."""
    rows = "".join(json.dumps({"question": f"{n}=", "answer": str(n)}) + "\n" for n in range(9))
    for name in ("my_problems", "my_test", "easy", "hard", "train"):
        (tmp_path / f"{name}.jsonl").write_text(rows)
    own = ""
    for page in PAGES:
        for block in blocks(page):
            if block.file:
                (tmp_path / block.file).write_text(block.text)
            if page == "docs/extend.md" and block.language == "python":
                own += block.text
    (tmp_path / "mine.py").write_text(own)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def small_model(text: str, folder: Path) -> str:
    return re.sub(r"Qwen/[\w.-]+|runs/quickstart/version_0/pretrained/iteration_000040", str(folder), text)


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`")
@pytest.mark.parametrize("block", of_language("python"))
def test_a_block_of_python_runs(
    block: Block, place: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is shown, with a small model in place of the hub's. `fit` looks at what it is given, and does not train."""
    fitted = []

    def fit(self: Trainer, model: LightningModule, datamodule: LightningDataModule) -> None:
        assert isinstance(model, LightningModule)
        assert isinstance(datamodule, LightningDataModule)
        fitted.append(model)

    monkeypatch.setattr(Trainer, "fit", fit)
    code = small_model(block.text, policy_folder)
    exec(compile(code, block.page, "exec"), {"__name__": "shown"})
    assert len(fitted) == code.count(".fit(")


def build(*arguments: str) -> LSPOCommand:
    """What the command makes of these words, without a run. Devices are those of this machine."""
    here = [
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        "--trainer.strategy=auto",
        "--trainer.precision=32-true",
    ]
    return LSPOCommand(args=[*arguments, *here, "--trainer.num_nodes=1", "--trainer.logger=false"], run=False)


@pytest.mark.parametrize("block", of_language("yaml"))
def test_a_block_of_yaml_is_a_configuration(block: Block, place: Path, policy_folder: Path) -> None:
    """Over the quickstart, or alone if it is whole. The objects are built."""
    settings = yaml.safe_load(block.text)
    whole = {"train", "reward"} <= settings.get("data", {}).keys()
    (place / "shown.yaml").write_text(block.text)
    base = [] if whole else ["--config=quickstart"]
    command = build(*base, "--config=shown.yaml", f"--model.model={policy_folder}")
    assert command.datamodule.train_set is not None


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, without what is behind `#` and `...`."""
    text = block.text.replace("\\\n", " ")
    # A loop over seeds is its command.
    text = re.sub(r"^for .*?; do (.*?); done", r"\1", text, flags=re.MULTILINE).replace("$seed", "0")
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if "<" not in line]
    return [[word for word in words if word not in ("...", "&")] for words in lines if words]


@pytest.mark.parametrize("block", of_language("bash"))
def test_a_block_of_commands_is_understood(block: Block, place: Path, policy_folder: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(block):
        first, *rest = words
        if first.startswith("OMP_NUM_THREADS"):
            first, *rest = rest
        if first == "make":
            assert rest[0] in targets
        elif first == "lspo":
            check_lspo(rest, policy_folder)
        else:
            assert first in OTHERS_COMMANDS | {"wait;", "#!/bin/bash"}, words


def check_lspo(words: list[str], policy_folder: Path) -> None:
    assert words[0] in COMMANDS
    assert all(name in recipe_paths() or Path(name).exists() for flag, name in pairwise(words) if flag == "--config")
    if words[0] not in ("fit", "check") or not words[1:] or {"--help", "--print_config"} & set(words):
        return
    kept, skip = [], False
    for flag in words[1:]:
        if flag == "--ckpt_path":
            skip = True
        elif skip:
            skip = False
        elif "engine" not in flag and not flag.startswith("--ckpt_path"):
            kept.append(flag)
    if "--config" in kept:
        build(*kept)


def test_what_is_not_run_here_is_run_elsewhere() -> None:
    for page, where in RUN_ELSEWHERE.items():
        assert page in PAGES
        assert (ROOT / where.split()[0]).exists()


ANSWERS = {
    "How do I see it run?": "first_run.md",
    "What does LSPO do, in equations?": "algorithm.md",
    "What is a round, and what is a pool?": "concepts.md#pool",
    "How do I use my own model?": "your_model.md",
    "How do I use my own data?": "your_data.md",
    "How do I write a reward?": "your_reward.md",
    "Why is my run at zero reward?": "troubleshooting.md#the-reward-stays-at-zero",
    "How do I resume?": "resume.md",
    "How do I use several GPUs?": "ranks.md",
    "How do I generate with vLLM?": "vllm.md",
    "How do I evaluate a checkpoint?": "evaluate.md",
    "How do I use the trained model?": "trained.md",
    "Which GPU do I need?": "sizing.md",
    "Why does memory run out?": "troubleshooting.md#memory-runs-out",
    "How do I write a selector?": "extend.md#a-selector",
    "How do I write a loss?": "extend.md#an-objective",
    "What do my TRL settings become?": "coming_from.md#names",
    "How do I run GSPO?": "papers.md#gspo",
    "What does this message mean?": "bad_input.md",
    "What happened in my run?": "report.md",
    "What was tested, and how?": "tested.md",
}
"""Questions of a new user, written down before the pages, and where the answer is."""


def slug(heading: str) -> str:
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_two_clicks_from_the_first_page(question: str) -> None:
    """One to the page, which the first page or the navigation names, and one to its heading."""
    page, _, anchor = ANSWERS[question].partition("#")
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert f"({page})" in PAGES["docs/index.md"] or page in navigation
    headings = [slug(line) for line in re.findall(r"^#+ (.*)", PAGES[f"docs/{page}"], re.MULTILINE)]
    assert not anchor or anchor in headings


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    """Within the repository; anchors and the site's own links are checked by `make docs`."""
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target
        if page.startswith("docs/"):
            assert not target.startswith("../"), f"{target} is not in the site"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    left_out = {"docs/quickstart_table.md"}
    missing = [page for page in PAGES if page.startswith("docs/") and page not in left_out]
    assert [page for page in missing if page.removeprefix("docs/") not in navigation] == []


def test_the_readme_is_one_screen_of_words() -> None:
    assert len(PAGES["README.md"].split()) <= 900


def test_the_reference_has_every_public_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs_tools"))
    import reference  # type: ignore[import-not-found]

    rooms = reference.by_room()
    pages = "\n".join(reference.page(room, names) for room, names in rooms.items())
    assert sorted(re.findall(r"^::: lspo\S*\.(\w+)$", pages, re.MULTILINE)) == sorted(PLACE_OF)
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [room for room in rooms if f"reference/{room}.md" not in navigation] == []


def test_the_built_site_has_no_fault() -> None:
    """`make docs` itself, where the environment that it makes is there already."""
    python = ROOT / ".venv-docs/bin/python"
    if not (ROOT / "site/index.html").exists() or not python.exists():
        pytest.skip("the site is not built: `make docs`")
    done = subprocess.run(
        [python, "docs_tools/check_site.py", "site"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_devices_that_a_model_needs_are_those_of_the_formula() -> None:
    text = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+)B \| (\d+) GB \| (\S+) \| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for name, states, *devices in rows:
        size = float(name)
        assert 16 * size == float(states)
        for memory, written in zip((80, 40, 24), devices, strict=True):
            enough = (count for count in (1, 2, 4, 8) if 16 * size / count + 2 * size * (count > 1) <= 0.75 * memory)
            assert written == str(next(enough, "more")), (name, memory)
