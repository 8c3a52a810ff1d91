"""Writes the random Qwen2 model of a workload, and its tokenizer of characters, into a folder.

    python benchmarks/peers/make_model.py 1m-tail runs/peers/1m-tail

About 100 tokens, so that an untrained model ends a response with a probability near 1/100 at each token. The end token
is the tokenizer's last: a model of a workload without ends has no row for it, and can't sample it.
"""

from __future__ import annotations

import argparse
import string
from pathlib import Path
from typing import Any

from workloads import WORKLOADS, Workload

PAD, UNKNOWN, END = "<pad>", "<unk>", "<end>"


def make_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = sorted(set(string.printable) - set("\x0b\x0c\r"))
    names = [PAD, UNKNOWN, *characters, END]
    words = models.WordLevel({name: place for place, name in enumerate(names)}, unk_token=UNKNOWN)
    by_character = Tokenizer(words)
    by_character.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    by_character.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=by_character, pad_token=PAD, unk_token=UNKNOWN, eos_token=END, padding_side="left"
    )


def make_model(workload: Workload, tokenizer: Any) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    last, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    end = last if workload.ends else None
    config = Qwen2Config(
        vocab_size=last + 1 if workload.ends else last,
        hidden_size=workload.hidden,
        intermediate_size=4 * workload.hidden,
        num_hidden_layers=workload.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end, pad
    return model


def write(workload: Workload, folder: Path) -> None:
    tokenizer = make_tokenizer()
    make_model(workload, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write(WORKLOADS[arguments.workload], arguments.folder)


if __name__ == "__main__":
    main()
