"""One process of a test: VLLMEngine against transformers, through syncs; prints what came of it as JSON."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from unittest import mock

import torch
import torch.distributed as dist

from lspo.batching.collate import TrainingRollout, collate
from lspo.collecting.plan import CollectPlan
from lspo.collecting.round import generate_round
from lspo.models.causal_lm import load_model, load_tokenizer
from lspo.rewards import Reward
from lspo.rollout import Sampling, TransformersEngine, VLLMEngine
from lspo.rollout.keyed_sampling import restrict
from lspo.rollout.weight_stream import HEAD, WeightStream
from lspo.testing import StubPolicy
from lspo.types import Prompt

SYNCS = 20
END_TOKENS = tuple(range(1, 38, 3))
"""Many, so that responses are of unlike lengths, and some end at once."""


def prompts(policy: StubPolicy, count: int = 8) -> list[Prompt]:
    size = len(policy.tokenizer)
    return [
        Prompt(f"p{row}", "", tuple(2 + (7 * row + 3 * place) % (size - 2) for place in range(3 + row)), "")
        for row in range(count)
    ]


def write(engine, policy, *, temperature, keys=range(8), group_size=2):
    chosen = [prompts(policy)[key] for key in keys]
    sampling = Sampling(max_response_tokens=16, temperature=temperature, seed=5)
    groups = engine.generate(chosen, group_size=group_size, sampling=sampling, keys=list(keys))
    return {group.draw_index: group for group in groups}


def tokens(groups):
    return {key: [rollout.token_ids.tolist() for rollout in group.rollouts] for key, group in groups.items()}


def written_piecemeal(engine, policy, rank, own):
    """Steps made until each group came, at unlike speeds on ranks; and what is left when rank 0 goes early."""
    core = engine._llm.llm_engine
    made, step = [0], core.step
    before, policy.eos_token_ids = policy.eos_token_ids, END_TOKENS

    def counted():
        made[0] += 1
        return step()

    core.step = counted
    sampling = Sampling(max_response_tokens=16, temperature=1.0, seed=5)
    chosen, steps, found = [prompts(policy)[key] for key in own], [], []
    for leaving in (False, True):
        found.append({})
        for group in engine.generate(chosen, group_size=2, sampling=sampling, keys=own):
            time.sleep(0.01 * rank)
            found[-1][group.draw_index] = group
            if not leaving:
                steps.append(made[0])
            elif rank == 0 and len(found[-1]) == 2:
                break
    core.step, policy.eos_token_ids = step, before
    wanted = 2 if rank == 0 else len(own)
    return {
        "steps_until_groups": steps, "in_flight": core.get_num_unfinished_requests(),
        "same_piecemeal": len(found[1]) == wanted and all(found[0][key] == group for key, group in found[1].items()),
    }  # fmt: skip


class Patient(Reward):
    """Scores its first group when the engine has made a further step."""

    any_thread = True

    def __init__(self):
        self.begun, self.stepped, self.waited = threading.Event(), threading.Event(), None

    def score_batch(self, responses):
        self.begun.set()
        if self.waited is None:
            self.waited = self.stepped.wait(60)
        return [True] * len(responses)


def steps_while_a_group_is_scored(engine, policy, own):
    """Whether it does; where it did not, the reward would wait for ever."""
    core, reward, handed_over = engine._llm.llm_engine, Patient(), threading.Event()
    before, policy.eos_token_ids, step = policy.eos_token_ids, END_TOKENS, core.step

    class Watched:
        def generate(self, *arguments, **settings):
            for group in engine.generate(*arguments, **settings):
                handed_over.set()
                yield group

    def watched_step():
        if handed_over.is_set():
            reward.begun.wait(60)
            reward.stepped.set()
        return step()

    core.step = watched_step
    plan = CollectPlan(
        iteration=0, train_groups=1, group_size=2, round_prompts=len(own), reward_batch_groups=1,
        sampling=Sampling(max_response_tokens=16, seed=5),
    )  # fmt: skip
    drawn = [(key, prompts(policy)[key]) for key in own]
    scored = generate_round(Watched(), reward, drawn, plan, {}, lambda done, total: None)
    core.step, policy.eos_token_ids = step, before
    return reward.waited and sorted(group.draw_index for group in scored) == list(own)


def several_end_tokens(engine, reference, policy, own):
    """Parity where many tokens end a response, some at once; and of a call for which another rank has no prompts."""
    before, policy.eos_token_ids = policy.eos_token_ids, END_TOKENS
    ours, theirs = (tokens(write(one, policy, temperature=0.0, keys=own)) for one in (engine, reference))
    policy.eos_token_ids = before
    lengths = [len(ids) for group in ours.values() for ids in group]
    return ours == theirs and min(lengths) < 4


def restricted_gap(policy, engine, own):
    """Largest difference of a token's log-prob from that of the model under top-p and top-k, as we cut them."""
    sampling = Sampling(max_response_tokens=16, top_p=0.7, top_k=9, seed=5)
    worst = 0.0
    for group in engine.generate(
        [prompts(policy)[key] for key in own], group_size=2, sampling=sampling, keys=list(own)
    ):
        for rollout in group.rollouts:
            ids = torch.tensor([[*group.prompt.token_ids, *rollout.token_ids.tolist()]])
            with torch.no_grad():
                logits = policy.model(input_ids=ids).logits[0, len(group.prompt.token_ids) - 1 : -1]
            logprobs = restrict(logits, top_p=0.7, top_k=9).log_softmax(-1)
            ours = logprobs.gather(-1, torch.tensor(rollout.token_ids)[:, None]).squeeze(-1)
            worst = max(worst, float((ours - torch.tensor(rollout.logprobs)).abs().max()))
    return worst


def gap(policy, groups, temperature):
    """Largest |log-ratio| of any token."""
    rollouts = [
        TrainingRollout(group.prompt.token_ids, rollout, 0.0, 0)
        for group in groups.values()
        for rollout in group.rollouts
    ]
    batch = collate(rollouts, pad_token_id=0, num_tokens=1, num_sequences=1, temperature=temperature)
    return float((policy.logprobs(batch) - batch.engine_logprobs)[batch.response_mask].abs().max())


class Headless(WeightStream):
    def __iter__(self):
        return ((name, tensor) for name, tensor in super().__iter__() if name != HEAD)


def share_memory_under_an_own_name() -> None:
    """vLLM 0.32 on CPUs names the memory that tensor-parallel ranks share alike for all runs of a machine."""
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    named, own = _CPUSHMDistributed.make_group_name, os.environ.get("MASTER_PORT", "")
    _CPUSHMDistributed.make_group_name = staticmethod(lambda group: f"{named(group)}-{own}")


def main(folder: str, tensor_parallel_size: int) -> None:
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    share_memory_under_an_own_name()
    if world_size > 1:
        dist.init_process_group("gloo")
    model = load_model(folder, dtype=torch.float32)
    policy = StubPolicy(model, load_tokenizer(folder), name_or_path=folder)
    reference, engine = TransformersEngine(), VLLMEngine(tensor_parallel_size)
    reference.setup(policy)
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    engine.setup(policy, rank=rank, world_size=world_size)
    kept = torch.equal(before[0], torch.get_rng_state()) and before[1:] == (random.getstate(), torch.get_num_threads())
    # Each rank asks for its own prompts, as in a run; parts of unequal size.
    own = list(range(8))[rank * 5 : rank * 5 + 5] if world_size > 1 else list(range(8))

    parity, probes, seconds, gaps = [], [], [], []
    for version in range(SYNCS + 1):
        policy.version = version
        engine.update()
        reference.update()
        probes.append(engine.metrics()["probe_gap"])
        seconds.append(engine.metrics()["sync_seconds"])
        ours = tokens(write(engine, policy, temperature=0.0, keys=own))
        parity.append(ours == tokens(write(reference, policy, temperature=0.0, keys=own)))
        for temperature in (1.0, 0.7):
            gaps.append(gap(policy, write(engine, policy, temperature=temperature, keys=own), temperature))
        last = ours
        with torch.no_grad():
            generator = torch.Generator().manual_seed(version)
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    assert engine.version == SYNCS
    changed = tokens(write(reference, policy, temperature=0.0, keys=own)) != last

    try:
        engine.verify = False
        engine._verify({})  # the policy has moved on, and the engine has not been updated
        noticed = ""
    except RuntimeError as error:
        noticed = str(error)
    engine.verify = True
    # The trap of tied embeddings: without a head by name, vLLM keeps its packed copy of the old one.
    headless_noticed = ""
    if model.config.tie_word_embeddings:
        try:
            with mock.patch("lspo.rollout.vllm.engine.WeightStream", Headless):
                engine.update()
        except RuntimeError as error:
            headless_noticed = str(error)
    engine.update()
    first = write(engine, policy, temperature=1.0, keys=own, group_size=4)
    piecemeal = written_piecemeal(engine, policy, rank, own)
    again = write(engine, policy, temperature=1.0, keys=own, group_size=4)
    overlaps = steps_while_a_group_is_scored(engine, policy, own)
    several = several_end_tokens(engine, reference, policy, own)
    share = own[:1] if rank == 0 else []
    one = tokens(write(engine, policy, temperature=0.0, keys=share, group_size=1))
    uneven = one == tokens(write(reference, policy, temperature=0.0, keys=share, group_size=1))
    restricted = restricted_gap(policy, engine, own)
    engine.close()
    engine.close()
    alive = dist.is_initialized()
    if world_size > 1:
        total = torch.ones(1)
        dist.all_reduce(total)
        alive = alive and int(total) == world_size
    # A second engine in the same process, with the same weights.
    engine.setup(policy, rank=rank, world_size=world_size)
    engine.update()
    anew = write(engine, policy, temperature=1.0, keys=own, group_size=4)
    engine.close()
    if world_size > 1:
        dist.destroy_process_group()
    result = {
        "parity": parity, "probe_gap": max(probes), "gap": max(gaps), "weights_moved_greedy": changed,
        "sync_seconds": sorted(seconds)[len(seconds) // 2], "stale_noticed": noticed,
        "headless_noticed": headless_noticed, "repeats": first == again, "repeats_anew": first == anew,
        "distinct": len({tuple(ids) for group in tokens(first).values() for ids in group}) > len(own),
        "group_alive": alive,
        "process_unchanged": kept, "versions": [group.version for group in first.values()],
        "restricted_gap": restricted, "several_end_tokens": several, "uneven": uneven, **piecemeal,
        "overlaps": overlaps,
        "compared": engine.metrics()["weights_compared"], "not_compared": engine.metrics()["weights_not_compared"],
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
