"""A batch of responses on its way, token by token; rows that have ended are given to responses that wait."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lspo.batching.collate import pad_left
from lspo.errors import RunError
from lspo.models.head import plain_model
from lspo.rollout.base import Sampling
from lspo.rollout.growing_cache import (
    cache_argument,
    drop_columns,
    growing_cache,
    looks_back,
    put_rows,
    select_rows,
    takes_rows,
)
from lspo.rollout.keyed_sampling import choose, row_keys
from lspo.rollout.slots import Join, Slots
from lspo.types import Prompt

MASK_AHEAD = 64
"""Columns that a mask is made for beyond those in use."""


@dataclass(frozen=True)
class Wanted:
    """A response to write: the prompt's place among those of a call, and the response's place in its group."""

    place: int
    sample: int


@dataclass(frozen=True)
class Ended:
    """A response as it was written."""

    wanted: Wanted
    token_ids: NDArray[Any]
    logprobs: NDArray[Any]
    truncated: bool


@dataclass(frozen=True)
class Setting:
    """What all responses of a call have in common."""

    prompts: Sequence[Prompt]
    keys: Sequence[int]
    sampling: Sampling
    eos_token_ids: Sequence[int]
    pad_token_id: int
    name: str


class Decoding:
    """Writes responses in the rows of one batch, as `Slots` has it.

    All rows end in the same column of the cache, which is that of their newest token: a row that is shorter than the
    longest has padding before it. So a row's length and place are known from the column it began in, and nothing has to
    be read from the model's device but the rows that end.

    Args:
        model: What writes, for its device and its kind of cache.
        wanted: What is written, in this order; the responses to a prompt beside each other.
        slots: Most rows side by side.
        setting: What all have in common.
    """

    def __init__(self, model: Any, wanted: Sequence[Wanted], slots: int, setting: Setting) -> None:
        self._model = plain_model(model)
        self._wanted, self._setting = wanted, setting
        self._slots = Slots(len(wanted), slots)
        self._device = next(self._model.parameters()).device
        self._cache_argument = cache_argument(self._model)
        self._takes = inspect.signature(type(self._model).forward).parameters
        self._eos = torch.tensor(setting.eos_token_ids, dtype=torch.int64, device=self._device)
        draws = torch.tensor([setting.keys[one.place] for one in wanted], device=self._device)
        samples = torch.tensor([one.sample for one in wanted], device=self._device)
        self._response_keys = row_keys(setting.sampling.stream, draws, samples)

        rows, limit = len(self._slots.rows), setting.sampling.max_response_tokens
        self._cache: Any = None
        # A prompt that was read, while some of its responses wait: its place, its cache and the logits behind it.
        self._read: tuple[int, Any, Tensor] | None = None
        # By column, counted from the first that ever was: the one that comes next, the first that the cache has, those
        # of each row's prompt and response, and the one at which the first row reaches the limit.
        self._column = self._first = 0
        self._prompt_starts, self._starts = [0] * rows, [0] * rows
        self._cut = 0
        self._mask: Tensor | None = None
        self._padded = False
        # By row, on the model's device.
        self._keys = self._filled(rows, dtype=torch.int64)
        self._chosen = self._filled(rows, dtype=torch.int64)
        self._prompt_lengths = self._filled(rows, 1, dtype=torch.int64)
        self._written = self._filled(rows, 1, dtype=torch.int64)
        self._tokens = self._filled(rows, limit, dtype=torch.int64)
        # float32 by name: under `*-true` precisions Lightning changes torch's default.
        self._logprobs = self._filled(rows, limit, dtype=torch.float32)

    def _filled(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self._device)

    @property
    def finished(self) -> bool:
        return self._slots.finished

    # On this, and not on a generator: its grad mode would have to be kept from whoever it yields to.
    @torch.no_grad()
    def advance(self, model: Any) -> list[Ended]:
        """Decodes until rows have ended and what comes next is others in their place, or nothing.

        Args:
            model: What writes, its weights whole; the same in each call, or its equal.
        """
        self._model = plain_model(model)
        ended: list[Ended] = []
        while not self.finished:
            move = self._slots.next_move()
            if move is None:
                ended += self._step()
            elif isinstance(move, Join):
                ended += self._join(move)
            else:
                self._keep(move.rows)
            if ended and self._slots.moves:
                break
        return ended

    # --- what is done to the rows

    def _join(self, move: Join) -> list[Ended]:
        """Reads each prompt once, and gives every response its cache and its first token."""
        wanted = self._wanted[move.first : move.first + len(move.rows)]
        first = self._column - max(len(self._setting.prompts[one.place].token_ids) for one in wanted)
        if len(move.rows) == len(self._slots.rows):
            self._cache, self._first = growing_cache(self._model.config), first
        places = list(dict.fromkeys(one.place for one in wanted))
        parts = []
        if self._read is not None and self._read[0] == places[0]:
            parts.append(([places.pop(0)], *self._read[1:]))
        if places:
            parts.append((places, *self._read_prompts(places)))
        self._read = None
        logits = self._place(parts, move, wanted)

        last = wanted[-1].place
        if move.first + len(wanted) < len(self._wanted) and self._wanted[move.first + len(wanted)].place == last:
            places, cache, behind = parts[-1]
            if len(places) > 1:
                select_rows(cache, torch.tensor([len(places) - 1], device=self._device))
            self._read = (last, cache, behind[-1:])
        return self._begin(move, wanted, logits)

    def _place(self, parts: list[tuple[list[int], Any, Tensor]], move: Join, wanted: Sequence[Wanted]) -> Tensor:
        """Gives rows of the batch the caches of their prompts; the logits behind those, a row each."""
        logits = []
        for places, cache, behind in parts:
            number = {place: index for index, place in enumerate(places)}
            source = self._tensor(number[one.place] for one in wanted if one.place in number)
            rows = [row for row, one in zip(move.rows, wanted, strict=True) if one.place in number]
            if takes_rows(cache):
                put_rows(self._cache, self._tensor(rows), cache, source, batch=len(self._slots.rows))
                # A longer prompt puts columns before those of the other rows, whether its response lives on or not.
                self._first = self._column - self._cache.get_seq_length()
            else:
                # Then the batch is new, and read at once.
                self._cache = cache
                select_rows(cache, source)
            logits.append(behind[source])
        return torch.cat(logits)

    def _begin(self, move: Join, wanted: Sequence[Wanted], logits: Tensor) -> list[Ended]:
        lengths = [len(self._setting.prompts[one.place].token_ids) for one in wanted]
        for row, length in zip(move.rows, lengths, strict=True):
            self._prompt_starts[row], self._starts[row] = self._column - length, self._column
        rows = self._tensor(move.rows)
        self._keys[rows] = self._response_keys[move.first : move.first + len(wanted)]
        self._prompt_lengths[rows] = self._tensor(lengths)[:, None]
        self._written[rows] = 0
        keys, written = self._keys[rows], self._written[rows]
        chosen, logprobs, state = self._choose(logits, keys, written)
        self._chosen[rows] = chosen
        self._tokens[rows, 0], self._logprobs[rows, 0] = chosen, logprobs
        ended = self._end(move.rows, state.tolist(), logits)
        self._look_at_rows()
        return ended

    def _keep(self, rows: Sequence[int]) -> None:
        kept = self._tensor(rows)
        for name in ("_keys", "_chosen", "_prompt_lengths", "_written", "_tokens", "_logprobs"):
            setattr(self, name, getattr(self, name)[kept])
        self._prompt_starts = [self._prompt_starts[row] for row in rows]
        self._starts = [self._starts[row] for row in rows]
        select_rows(self._cache, kept)
        self._look_at_rows()

    def _step(self) -> list[Ended]:
        """One token for each row."""
        positions = self._prompt_lengths + self._written
        logits = self._logits(self._chosen[:, None], self._cache, self._seen(), positions)
        self._column += 1
        # Rows that have ended are written along, over and over in their last column: a position behind the limit may be
        # one that the model does not have, or one that stretches the positions of all rows.
        self._written.add_(1).clamp_(max=self._tokens.shape[1] - 1)
        self._chosen, logprobs, state = self._choose(logits, self._keys, self._written)
        self._tokens.scatter_(1, self._written, self._chosen[:, None])
        self._logprobs.scatter_(1, self._written, logprobs[:, None])
        codes = state.tolist()
        if self._column < self._cut and not any(codes):
            return []
        ended = self._end(range(len(codes)), codes, logits)
        if ended:
            self._look_at_rows()
        return ended

    def _choose(self, logits: Tensor, keys: Tensor, written: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their log-probs, and of each row: 1 if the token is an end, 2 if nothing can be sampled from."""
        sampling = self._setting.sampling
        chosen, logprobs = choose(
            logits, keys, written[:, 0],
            temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k,
        )  # fmt: skip
        state = torch.isin(chosen, self._eos).to(torch.int8).masked_fill_(~logprobs.isfinite(), 2)
        return chosen, logprobs.float(), state

    def _end(self, rows: Sequence[int], codes: Sequence[int], logits: Tensor) -> list[Ended]:
        """Takes the responses out that end with the newest token."""
        column, limit = self._column, self._setting.sampling.max_response_tokens
        live = [(row, code) for row, code in zip(rows, codes, strict=True) if self._slots.rows[row] is not None]
        broken = [row for row, code in live if code == 2]
        if broken:
            self._refuse(broken, logits[list(rows).index(broken[0])])
        over = [(row, code) for row, code in live if code or column - self._starts[row] + 1 == limit]
        ended = []
        if over:
            lengths = [column - self._starts[row] + 1 for row, _ in over]
            taken = self._tensor([row for row, _ in over])
            tokens = self._tokens[taken, : max(lengths)].cpu().numpy()
            logprobs = self._logprobs[taken, : max(lengths)].cpu().numpy()
            for (row, code), length, ids, values in zip(over, lengths, tokens, logprobs, strict=True):
                response = self._slots.rows[row]
                assert response is not None
                self._slots.end(row)
                ended.append(Ended(self._wanted[response], ids[:length], values[:length], truncated=not code))
        return ended

    def _refuse(self, broken: Sequence[int], logits: Tensor) -> None:
        """Stops the run where nothing can be sampled from.

        Raises:
            RuntimeError: It says where.
        """
        row, what, name = broken[0], logits, self._setting.name
        response = self._slots.rows[row]
        assert response is not None
        prompt = self._setting.prompts[self._wanted[response].place]
        raise RunError(
            f"Expected finite logits from {name} to sample from, but for token {self._column - self._starts[row] + 1} "
            f"of a response to prompt {prompt.id} {int(what.isnan().sum())} of {what.numel()} are NaN and "
            f"{int(what.isposinf().sum())} infinite; so it is in {len(broken)} responses of this batch. In float16 "
            "numbers overflow: train with precision 'bf16-mixed' or '32-true'. Otherwise look at the weights, which a "
            "step may have broken, or at `attn_implementation`."
        )

    # --- what the rows look back on

    def _look_at_rows(self) -> None:
        """After rows have come or gone: drops padding that all have, and finds when the next one reaches the limit."""
        live = [row for row, response in enumerate(self._slots.rows) if response is not None]
        if not live:
            return
        limit = self._setting.sampling.max_response_tokens
        self._cut = min(self._starts[row] for row in live) + limit - 1
        self._mask = None
        first = min(self._prompt_starts[row] for row in live)
        if takes_rows(self._cache):
            if first > self._first:
                drop_columns(self._cache, first - self._first)
            self._first = first
        # A mask hides tokens of the past. Where the cache keeps but a state, what was hidden is not in it, and some
        # models would spread the new token over the mask's length. And where no row has padding there is none to hide.
        padded = any(self._prompt_starts[row] > self._first for row in live)
        self._padded = padded and looks_back(self._cache)

    def _seen(self) -> Tensor | None:
        """(R, columns) what each row sees of the cache and of its newest token; None where that is all of it."""
        if not self._padded:
            return None
        width = self._column - self._first + 1
        if self._mask is None or self._mask.shape[1] < width:
            columns = torch.arange(self._first, self._column + MASK_AHEAD, device=self._device)
            self._mask = (columns >= self._tensor(self._prompt_starts)[:, None]).long()
        return self._mask[:, :width]

    def _read_prompts(self, places: Sequence[int]) -> tuple[Any, Tensor]:
        """A cache that holds prompts, and the logits behind them."""
        setting = self._setting
        ids, mask = pad_left([setting.prompts[place].token_ids for place in places], value=setting.pad_token_id)
        ids, mask = ids.to(self._device), mask.to(self._device)
        cache = growing_cache(self._model.config)
        logits = self._logits(ids, cache, mask.long(), (mask.cumsum(dim=1) - 1).clamp(min=0))
        return cache, logits

    def _logits(self, ids: Tensor, cache: Any, mask: Tensor | None, positions: Tensor) -> Tensor:
        """(R, V) logits behind the last token of each row; the cache takes in the tokens."""
        settings = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": 1}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._takes.values()):
            settings = {name: value for name, value in settings.items() if name in self._takes}
        return self._model(input_ids=ids, use_cache=True, **settings, **{self._cache_argument: cache}).logits[:, -1]

    def _tensor(self, values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.int64, device=self._device)
