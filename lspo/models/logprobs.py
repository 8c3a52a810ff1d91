"""Log-probs and entropies of sampled tokens from hidden states, without the (N, T, V) logits ever in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lspo.errors import SettingError
from lspo.models.layer_head import layer_head
from lspo.models.logprob_function import chunked_logprobs
from lspo.models.recomputed_logprobs import recomputed_logprobs
from lspo.types import Counts, PerToken, Temperature, TokenIds, TokenMask

Hidden = Float[Tensor, "M H"]
Targets = Int[Tensor, " M"]
PerTarget = Float[Tensor, " M"]
Head = Callable[[Tensor], Tensor]
"""(M, H) hidden states -> (M, V) logits, with whatever scaling or soft cap the model applies.

A `LayerHead` or a module says which parameters it has: the backward pass then needs the least time and memory.
"""


def target_logprobs(
    hidden: Hidden,
    targets: Targets,
    head: Head,
    *,
    temperature: float | PerTarget = 1.0,
    chunk_tokens: int = 1024,
    with_entropy: bool = False,
    entropy_gradient: bool = True,
) -> tuple[PerTarget, PerTarget | None]:
    """The log softmax(head(hidden) / temperature) at each target, and the entropy if asked, in float32 or finer.

    `temperature` is one for all targets, or one for each. A logit of -inf, as of a token that is masked out, adds
    nothing to the entropy and gets no gradient. `entropy_gradient=False` is for an entropy that is only logged: it has
    no graph, which saves time.

    Works on `chunk_tokens` rows at a time. A chunk's logits are made again in the backward pass, so the most that is
    held is chunk_tokens * V logits, not M * V. There is a first derivative alone.

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
    if not isinstance(temperature, Tensor):
        # Logits are not divided by 1, which would be one more pass over them.
        heat = None if temperature == 1 else hidden.new_full((len(targets),), temperature, dtype=torch.float64)
    else:
        heat = temperature
    known = layer_head(head)
    if known is not None and known.is_unit:
        # Each call is an exchange between ranks, which have unlike numbers of tokens: one call, its logits whole.
        chunk_tokens = max(len(targets), 1)
    if known is None or known.is_unit or known.is_cut:
        return recomputed_logprobs(
            head, hidden, targets, heat,
            chunk_tokens=chunk_tokens, with_entropy=with_entropy, entropy_gradient=entropy_gradient,
        )  # fmt: skip
    return chunked_logprobs(
        known, hidden, targets, heat,
        chunk_tokens=chunk_tokens, with_entropy=with_entropy, entropy_gradient=entropy_gradient,
    )  # fmt: skip


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
    entropy_gradient: bool = True,
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
        entropy_gradient=entropy_gradient,
    )

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(response_mask.shape).masked_scatter(response_mask, values)

    return spread(logprobs), spread(entropies) if entropies is not None else None
