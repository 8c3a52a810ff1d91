"""Measures the two costs that rule: generated tokens a second, and memory and time of log-probs.

    python benchmarks/speed.py            # CPU, minutes
    python benchmarks/speed.py --device cuda --hidden 896 --layers 24 --vocabulary 151936

Rollouts: `TransformersEngine` against transformers' own `generate`, same random model, same prompts, sampling at
temperature 1, responses of unlike lengths (the end token is made likely). Log-probs: chunked against whole logits,
forward and backward.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from lspo.models.causal_lm import last_hidden_state, output_head
from lspo.models.logprobs import response_logprobs
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.local_policy import LocalPolicy
from lspo.types import Prompt


def build(arguments: argparse.Namespace) -> tuple[Any, Any]:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from lspo.models.tokenizers import character_tokenizer

    tokenizer = character_tokenizer("0123456789")
    config = Qwen2Config(
        vocab_size=arguments.vocabulary, hidden_size=arguments.hidden, intermediate_size=4 * arguments.hidden,
        num_hidden_layers=arguments.layers, num_attention_heads=arguments.hidden // 32,
        num_key_value_heads=arguments.hidden // 32, max_position_embeddings=4096, tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).to(arguments.device).eval(), tokenizer


def rollouts(arguments: argparse.Namespace) -> None:
    model, tokenizer = build(arguments)
    # Responses end by chance, at 1 to 2% a token, so that their lengths are spread as in practice.
    share = 1.5 / arguments.response
    bias = torch.zeros(arguments.vocabulary, device=arguments.device)
    bias[1] = torch.tensor(share * arguments.vocabulary).log()
    head = model.lm_head
    head.register_forward_hook(lambda module, inputs, output: output * 0.05 + bias)
    prompts = [Prompt(str(n), "", tuple(2 + (n * 7 + i) % 10 for i in range(8 + n % 24)), "") for n in range(16)]
    sampling = Sampling(max_response_tokens=arguments.response)

    def ours() -> int:
        engine = TransformersEngine(max_batch_responses=128)
        engine.setup(LocalPolicy(model, tokenizer))
        engine.update()
        groups = engine.generate(prompts, group_size=8, sampling=sampling, keys=range(len(prompts)))
        return sum(group.num_tokens for group in groups)

    def theirs() -> int:
        width = max(len(prompt.token_ids) for prompt in prompts)
        ids = torch.tensor([(0,) * (width - len(p.token_ids)) + p.token_ids for p in prompts]).to(arguments.device)
        ids = ids.repeat_interleave(8, dim=0)
        with torch.no_grad():
            output = model.generate(
                input_ids=ids, attention_mask=(ids != 0).long(), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                max_new_tokens=arguments.response, pad_token_id=0, eos_token_id=1,
            )  # fmt: skip
        written = output[:, width:]
        return int(((written == 1).cumsum(dim=1) - (written == 1).long() == 0).sum())

    print("rollouts, tokens a second (median of 3; 16 prompts, 8 responses each)")
    for name, write in (("TransformersEngine", ours), ("transformers generate", theirs)):
        write()
        rates, tokens = [], 0
        for _ in range(3):
            started = time.perf_counter()
            tokens = write()
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            rates.append(tokens / (time.perf_counter() - started))
        print(f"  {name:<24} {statistics.median(rates):>10,.0f}   ({tokens} tokens)")


def logprobs(arguments: argparse.Namespace) -> None:
    """One way of computing them, in a process of its own so that its peak memory is its own."""
    model, _ = build(arguments)
    model.train()
    rows, width = 8, 512
    ids = torch.randint(2, arguments.vocabulary, (rows, width), device=arguments.device)
    prompt_lengths = torch.full((rows,), 64, device=arguments.device)
    mask = torch.ones(rows, width - 64, dtype=torch.bool, device=arguments.device)

    def step() -> float:
        if arguments.logprobs == "whole":
            logits = model(input_ids=ids).logits[:, 63:-1].float()
            loss = torch.log_softmax(logits, dim=-1).gather(-1, ids[:, 64:, None]).mean()
        else:
            values, _ = response_logprobs(
                last_hidden_state(model, ids), ids, prompt_lengths, mask, output_head(model),
                chunk_tokens=int(arguments.logprobs),
            )  # fmt: skip
            loss = values.mean()
        loss.backward()
        model.zero_grad(set_to_none=True)
        return float(loss.detach())

    step()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - started)
    if arguments.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"  {arguments.logprobs:<8} {statistics.median(times):8.2f} s   peak {peak:8,.0f} MiB   (loss {loss:.5f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--response", type=int, default=128, help="response limit in tokens")
    parser.add_argument("--logprobs", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.logprobs:
        logprobs(arguments)
        return
    rollouts(arguments)
    print("log-probs of 8 x 448 response tokens, forward and backward (median of 3), by chunk of tokens")
    for way in ("whole", "4096", "1024", "256"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--logprobs", way], check=True)


if __name__ == "__main__":
    main()
