"""Does the reward give 1 to the right answers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lspo.cli.finding import Finding
from lspo.rewards import Reward, score_groups
from lspo.types import Prompt, Rollout, RolloutGroup

FORMS = ("{answer}", r"\boxed{{answer}}", "#### {answer}", "#{answer}", "Answer: {answer}")
"""Usual ways to write an answer; a right answer needs to score 1 in one of them."""
NAMED = 3


def gold_findings(reward: Reward, sets: Mapping[str, Sequence[Prompt]], own: Any) -> tuple[list[Finding], list[str]]:
    """A finding per set, and the answers that did not score 1.

    Args:
        reward: That of the run.
        sets: Prompts by the name of their set; the first is trained on.
        own: `golds`, how many of each set; `gold_form`, a form of the user's own.
    """
    forms = FORMS if own.gold_form is None else (own.gold_form,)
    findings, shown = [], []
    for name, prompts in sets.items():
        step = max(1, len(prompts) // own.golds)
        some = list(prompts)[::step][: own.golds]
        by_form, wrong = scored(reward, some, forms)
        right = len(some) - len(wrong)
        ways = ", ".join(f"{count} as {form.replace('{answer}', '...')}" for form, count in by_form.items() if count)
        words = f"{name}: {right} of {len(some)} right answers score 1" + (f" ({ways})" if ways else "")
        if some and not right:
            words += f". Tried: {', '.join(form.replace('{answer}', '...') for form in forms)}"
            words += ". Set --gold-form, if responses have another form" if own.gold_form is None else ""
        serious = bool(some) and not right and own.gold_form is not None
        findings.append(Finding("stop" if serious else "look" if wrong else "ok", words))
        shown += [f"    | {name} {prompt.id}: {prompt.answer[-160:]!r}" for prompt in wrong[:NAMED]]
        if len(wrong) > NAMED:
            shown.append(f"    | and {len(wrong) - NAMED} more")
    return findings, shown


def scored(reward: Reward, prompts: Sequence[Prompt], forms: Sequence[str]) -> tuple[dict[str, int], list[Prompt]]:
    """How many answers scored 1 by the first form in which they do, and those that never do."""
    left, by_form = list(prompts), {}
    for form in forms:
        verdicts = score_groups(reward, [_group(prompt, place, form) for place, prompt in enumerate(left)])
        right = [group.scores[0].accuracy == 1 for group in verdicts]
        by_form[form] = sum(right)
        left = [prompt for prompt, fine in zip(left, right, strict=True) if not fine]
        if not left:
            break
    # Counters of these must not be those of the run.
    reward.metrics()
    return by_form, left


def _group(prompt: Prompt, place: int, form: str) -> RolloutGroup:
    text = form.replace("{answer}", prompt.answer)
    # Of one token: the tokenizer of a policy need not know every letter of a form.
    return RolloutGroup(prompt, place, 0, (Rollout((0,), (), truncated=False, text=text),))
