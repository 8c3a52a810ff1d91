"""Log-probs and entropies of sampled tokens from hidden states, without the (N, T, V) logits ever in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lspo.errors import SettingError
from lspo.types import Counts, PerToken, Temperature, TokenIds, TokenMask

Hidden = Float[Tensor, "M H"]
Targets = Int[Tensor, " M"]
PerTarget = Float[Tensor, " M"]
Head = Callable[[Tensor], Tensor]
"""(M, H) hidden states -> (M, V) logits, with whatever scaling or soft cap the model applies."""


def target_logprobs(
    hidden: Hidden,
    targets: Targets,
    head: Head,
    *,
    temperature: float | PerTarget = 1.0,
    chunk_tokens: int = 1024,
    with_entropy: bool = False,
) -> tuple[PerTarget, PerTarget | None]:
    """The log softmax(head(hidden) / temperature) at each target, and the entropy if asked, in float32 or finer.

    `temperature` is one for all targets, or one for each. A logit of -inf, as of a token that is masked out, adds
    nothing to the entropy and gets no gradient.

    Works on `chunk_tokens` rows at a time. A chunk's logits are made again in the backward pass, so the most that is
    held is chunk_tokens * V logits, not M * V.

    Returns:
        Log-probs, and entropies in nats or None.

    Raises:
        ValueError: If `temperature` or `chunk_tokens` is out of its range.
    """
    least = float(temperature.min()) if isinstance(temperature, Tensor) and temperature.numel() else temperature
    if isinstance(least, float | int) and not least > 0:
        raise SettingError(f"Expected `temperature` to be above 0, but got {least}.")
    if chunk_tokens < 1:
        raise SettingError(f"Expected `chunk_tokens` to be at least 1, but got {chunk_tokens}.")

    def chunk(hidden: Tensor, targets: Tensor, temperature: Tensor | float) -> tuple[Tensor, Tensor]:
        logits = head(hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = logits / (temperature[:, None].to(logits) if isinstance(temperature, Tensor) else temperature)
        normaliser = torch.logsumexp(logits, dim=-1)
        logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - normaliser
        if not with_entropy:
            return logprobs, logprobs.new_zeros(0)
        # -sum p log p = logsumexp - sum p * logit, in which 0 * -inf would be NaN.
        finite = logits.clamp(min=torch.finfo(logits.dtype).min)
        return logprobs, normaliser - (torch.softmax(logits, dim=-1) * finite).sum(dim=-1)

    pieces = []
    for start in range(0, max(len(targets), 1), chunk_tokens):
        stop = start + chunk_tokens
        heat = temperature[start:stop] if isinstance(temperature, Tensor) else temperature
        arguments = (hidden[start:stop], targets[start:stop], heat)
        if torch.is_grad_enabled():
            pieces.append(checkpoint(chunk, *arguments, use_reentrant=False, preserve_rng_state=False))
        else:
            pieces.append(chunk(*arguments))
    logprobs = torch.cat([piece[0] for piece in pieces])
    return logprobs, torch.cat([piece[1] for piece in pieces]) if with_entropy else None


def response_positions(prompt_lengths: Counts, response_mask: TokenMask) -> tuple[Tensor, Tensor]:
    """Row and column, in (N, L), of the hidden state that predicts each response token: one place before the token.

    Raises:
        ValueError: If an empty prompt leaves the first response token without one.
    """
    rows, offsets = response_mask.nonzero(as_tuple=True)
    columns = prompt_lengths[rows] + offsets - 1
    if bool((columns < 0).any()):
        row = int(rows[columns < 0][0])
        raise SettingError(
            f"Expected every prompt to have at least one token, from which its response is predicted, but that of row "
            f"{row} has none. Add a start token to the prompt."
        )
    return rows, columns


def response_logprobs(
    hidden: Float[Tensor, "N L H"],
    token_ids: TokenIds,
    prompt_lengths: Counts,
    response_mask: TokenMask,
    head: Head,
    *,
    temperature: Temperature = 1.0,
    chunk_tokens: int = 1024,
    with_entropy: bool = False,
) -> tuple[PerToken, PerToken | None]:
    """`target_logprobs` of each response token, laid out (N, T); 0 where the mask is False.

    Only the hidden states that predict a response token reach the head: prompts and padding cost no logits.
    """
    rows, columns = response_positions(prompt_lengths, response_mask)
    logprobs, entropies = target_logprobs(
        hidden[rows, columns],
        token_ids[rows, columns + 1],
        head,
        temperature=temperature[rows] if isinstance(temperature, Tensor) else temperature,
        chunk_tokens=chunk_tokens,
        with_entropy=with_entropy,
    )

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(response_mask.shape).masked_scatter(response_mask, values)

    return spread(logprobs), spread(entropies) if entropies is not None else None
