"""What `lspo check` looks at, section by section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lspo.cli.check_golds import gold_findings
from lspo.cli.check_memory import memory_findings
from lspo.cli.check_sampling import sample, sample_findings
from lspo.cli.finding import Finding, indented
from lspo.datamodules.checks import check_context, check_reward, check_tags
from lspo.errors import SettingError
from lspo.problems import Note
from lspo.rewards import Reward
from lspo.types import Prompt

SHOWN_CHARACTERS = 700
DROPPED_FRAC = 0.01


@dataclass
class Section:
    """A heading, findings with a verdict each, and what is shown below them."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join([f"{self.title}", *(one.text() for one in self.findings), *self.shown, ""])


@dataclass(frozen=True)
class Loaded:
    """A set with its prompts: those that the limit lets through, and how many it does not."""

    name: str
    prompts: list[Prompt]
    dropped: int
    max_response_tokens: int
    notes: list[Note]


def sections_of(policy: Any, data: Any, trainer: Any, own: Any, accelerator: str) -> Iterator[Section]:
    """Each section as soon as it is known, the cheap ones first.

    Args:
        policy: The module that would be trained.
        data: The `RolloutDataModule`.
        trainer: That of the run; it is not used to run anything.
        own: The flags of the command.
        accelerator: Of the trainer, by name.

    Raises:
        SettingError: As the run itself, where a setting can't be honoured.
    """
    policy.prepare_data()
    sets = _load(policy, data)
    first = [
        _prompts(policy.tokenizer, sets, own.shown),
        _lengths(policy, sets, data),
        _answers(data.reward, sets, own),
    ]
    yield from first
    yield Section("Memory", memory_findings(policy, data, trainer, _longest(sets[:1])))
    if own.no_sample:
        yield Section("Sampling", [Finding("ok", "left out, as --no-sample says")])
    elif any(finding.verdict == "stop" for section in first for finding in section.findings):
        yield Section("Sampling", [Finding("look", "left out, as the run would not get so far")])
    else:
        sampled = sample(policy, data, trainer, spread(sets[0].prompts, own.problems), accelerator)
        yield Section("Sampling", *sample_findings(sampled, data, len(sets[0].prompts)))


def verdict_of(verdicts: Sequence[str]) -> str:
    """The last line."""
    stops, looks = verdicts.count("stop"), verdicts.count("look")
    if stops:
        return f"stop: {stops} of {len(verdicts)} lines would stop or waste the run."
    return f"look: {looks} of {len(verdicts)} lines want a look." if looks else f"ok: all {len(verdicts)} lines."


def spread(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """So many prompts, at equal distances over the whole set.

    Example:
        >>> spread(list("abcdef"), 3)
        ['a', 'c', 'e']
    """
    count = min(count, len(prompts))
    return [prompts[place * len(prompts) // count] for place in range(count)]


def _load(policy: Any, data: Any) -> list[Loaded]:
    sets = {"train": (data.train_set, data.sampling)}
    sets |= {name: (one.problems, one.sampling) for name, one in data.held_out_sets("fit").items()}
    limit, loaded = data.batches.max_prompt_tokens, []
    for name, (problems, sampling) in sets.items():
        check_tags(policy.tokenizer, name, data.reward, sampling)
        prompts = problems.prompts(policy.tokenizer)
        fitting = [one for one in prompts if limit is None or len(one.token_ids) <= limit]
        loaded.append(
            Loaded(name, fitting, len(prompts) - len(fitting), sampling.max_response_tokens, problems.notes())
        )
    return loaded


def _answers(reward: Reward, sets: Sequence[Loaded], own: Any) -> Section:
    try:
        for one in sets:
            check_reward(one.prompts, one.name, reward)
    except SettingError as error:
        return Section("Right answers", [Finding("stop", str(error))])
    return Section("Right answers", *gold_findings(reward, {one.name: one.prompts for one in sets}, own))


def _longest(sets: Sequence[Loaded]) -> int:
    return max((len(prompt.token_ids) for one in sets for prompt in one.prompts), default=0)


def _prompts(tokenizer: Any, sets: Sequence[Loaded], shown: int) -> Section:
    section = Section("Prompts, as the model reads them")
    for one in sets:
        section.findings.append(Finding("ok" if one.prompts else "stop", f"{one.name}: {len(one.prompts):,} prompts"))
        section.findings += [Finding("look" if note.warn else "ok", f"{one.name}: {note.text}") for note in one.notes]
    for prompt in sets[0].prompts[:shown]:
        text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
        cut = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ... (cut here)"
        section.shown += [
            f"  {prompt.id}, {len(prompt.token_ids)} tokens, answer {prompt.answer[-80:]!r}:",
            indented(cut),
        ]
    return section


def _lengths(policy: Any, sets: Sequence[Loaded], data: Any) -> Section:
    section = Section("Lengths")
    context, limit = getattr(policy, "context_tokens", None), data.batches.max_prompt_tokens
    for one in sets:
        lengths = sorted(len(prompt.token_ids) for prompt in one.prompts)
        if not lengths:
            text = f"{one.name}: no prompt has at most batches.max_prompt_tokens={limit} tokens"
            section.findings.append(Finding("stop", text))
            continue
        middle, high = lengths[len(lengths) // 2], lengths[int(0.95 * (len(lengths) - 1))]
        spread_words = f"{one.name}: prompts of {middle} tokens (median), {high} (95%), {lengths[-1]} (longest)"
        section.findings.append(Finding("ok", spread_words))
        if one.dropped:
            share = one.dropped / (one.dropped + len(lengths))
            text = (
                f"{one.name}: {one.dropped:,} prompts ({share:.1%}) are longer than batches.max_prompt_tokens={limit}"
            )
            section.findings.append(Finding("look" if share > DROPPED_FRAC else "ok", text))
        room = f"{lengths[-1]} + {one.max_response_tokens} tokens of {'any' if context is None else context}"
        try:
            reason = getattr(policy, "context_reason", "")
            check_context(one.prompts, one.name, one.max_response_tokens, context, reason=reason)
            section.findings.append(Finding("ok", f"{one.name}: prompt and response fit into the context: {room}"))
        except SettingError as error:
            section.findings.append(Finding("stop", str(error)))
    return section
