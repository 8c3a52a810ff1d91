"""Files of problems, and where `datasets` keeps what it has read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from lspo.models.tokenizers import trained_tokenizer


@pytest.fixture(autouse=True)
def _cache_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[dict[str, Any]]], Path]:
    """Writes rows to a file of that name, in the format that it says."""

    def write_rows(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        match path.suffix.lower():
            case ".json":
                path.write_text(json.dumps(list(rows)))
            case ".jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            case ".csv":
                datasets.Dataset.from_list(list(rows)).to_csv(path)
            case ".parquet":
                datasets.Dataset.from_list(list(rows)).to_parquet(path)
        return path

    return write_rows


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}<eos>{% endfor %}"
    "{% if date_string is defined %}({{ date_string }}){% endif %}{% if thinking is defined %}(thinking){% endif %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture
def chat_tokenizer() -> Any:
    """A tokenizer that puts a start token before plain text, and whose chat template writes it too, as Llama's."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = trained_tokenizer(["What is 1 + 1?"], vocabulary_size=300)
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
