from __future__ import annotations

import string

import pytest
import torch

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout.weight_stream import Comparison, Fingerprint, WeightStream, compare, fingerprint
from lspo.testing import StubPolicy, tiny_model

TOKENIZER = character_tokenizer(string.ascii_letters)
PACKED = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_fingerprint_adds_up_and_sees_the_last_bit(dtype):
    parts = [torch.randn(3, 4).to(dtype), torch.randn(2, 4).to(dtype)]
    whole = torch.cat(parts)
    assert fingerprint(whole) == fingerprint(parts[0]) + fingerprint(parts[1])
    moved = whole.clone()
    moved[1, 1] = torch.nextafter(moved[1, 1].double(), torch.tensor(9.0).double()).to(dtype)
    if torch.equal(moved, whole):  # finer than the type
        moved[1, 1] = moved[1, 1] * (1 + 2 * torch.finfo(dtype).eps)
    assert fingerprint(moved) != fingerprint(whole)
    padded = fingerprint(torch.cat([whole, torch.zeros(3, 4, dtype=dtype)]))
    assert padded.bits == fingerprint(whole).bits


def stream(**settings):
    model = tiny_model(TOKENIZER, **settings)
    return WeightStream(StubPolicy(model, TOKENIZER).full_weights(), torch.bfloat16, with_fingerprints=True)


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_there_once_and_weights_are_cast(tied):
    weights = list(stream(tie_word_embeddings=tied))
    names = [name for name, _ in weights]
    assert names.count("lm_head.weight") == 1
    assert all(tensor.dtype == torch.bfloat16 for _, tensor in weights)
    found = dict(weights)
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"]) == tied


def test_a_tied_head_that_is_not_named_is_added():
    """As strategies do that go over parameters rather than the state dict."""
    model = tiny_model(TOKENIZER, tie_word_embeddings=True)
    weights = WeightStream(model.named_parameters(), with_fingerprints=True)
    found = dict(weights)
    assert "lm_head.weight" not in dict(model.named_parameters())
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])
    assert weights.fingerprints.keys() == found.keys()


def test_comparing_by_name_and_by_parts():
    q, k, v, norm = torch.randn(4, 2), torch.randn(2, 2), torch.randn(2, 2), torch.randn(3)
    sent = {
        name: fingerprint(tensor) for name, tensor in
        {"l.q_proj.weight": q, "l.k_proj.weight": k, "l.v_proj.weight": v, "norm.weight": norm}.items()
    }  # fmt: skip
    held = {
        "l.qkv_proj.weight": fingerprint(torch.cat([q, k, v])),
        "norm.weight": fingerprint(norm),
        "packed_away.weight": Fingerprint(0, 0),
    }
    assert compare(sent, [held], packed=PACKED) == Comparison(2, 1, ())
    stale = {**held, "l.qkv_proj.weight": fingerprint(torch.cat([q, k, v + 1e-3]))}
    assert compare(sent, [stale], packed=PACKED).differing == ("l.qkv_proj.weight",)
    padded = {"embed_tokens.weight": fingerprint(torch.cat([q, torch.zeros(60, 2)]))}
    vocabulary = {"embed_tokens.weight": fingerprint(q)}
    assert compare(vocabulary, [padded], packed=PACKED) == Comparison(1, 0, ())
    # Less than was sent, and nobody else who has the rest.
    shard = {**held, "l.qkv_proj.weight": fingerprint(q)}
    assert compare(sent, [shard], packed=PACKED) == Comparison(1, 2, ())


def test_parts_of_a_weight_are_compared_by_their_sum():
    """Two processes: each has half of the heads, all of the norm, and a part of the padded vocabulary."""
    q, k, v, norm, words = (torch.randn(*shape) for shape in ((4, 2), (2, 2), (2, 2), (3,), (5, 2)))
    names = ("l.q_proj.weight", "l.k_proj.weight", "l.v_proj.weight", "norm.weight", "embed_tokens.weight")
    sent = {name: fingerprint(tensor) for name, tensor in zip(names, (q, k, v, norm, words), strict=True)}

    def process(rank: int, v: torch.Tensor = v, norm: torch.Tensor = norm, words: torch.Tensor = words):
        padded = torch.cat([words, torch.zeros(3, 2)])
        return {
            "l.qkv_proj.weight": fingerprint(torch.cat([tensor.chunk(2)[rank] for tensor in (q, k, v)])),
            "norm.weight": fingerprint(norm),
            "embed_tokens.weight": fingerprint(padded.chunk(2)[rank]),
        }

    assert compare(sent, [process(0), process(1)], packed=PACKED) == Comparison(3, 0, ())
    for rank in range(2):
        for wrong in ({"v": 1.01 * v}, {"norm": 1.01 * norm}, {"words": 1.01 * words}):
            held = [process(place, **(wrong if place == rank else {})) for place in range(2)]
            assert len(compare(sent, held, packed=PACKED).differing) == 1
    # Keys and values of few heads are kept twice: their sum can't be told from another.
    twice = [{"l.qkv_proj.weight": fingerprint(torch.cat([q.chunk(2)[rank], k, v]))} for rank in range(2)]
    assert compare(sent, twice, packed=PACKED) == Comparison(0, 1, ())
    # A vocabulary of 4, padded to 64: the second process has nothing but padding.
    tiny = {"embed_tokens.weight": fingerprint(q)}
    padded = torch.cat([q, torch.zeros(60, 2)])
    halves = [{"embed_tokens.weight": fingerprint(half)} for half in padded.chunk(2)]
    assert compare(tiny, halves, packed=PACKED) == Comparison(1, 0, ())


def test_a_head_that_comes_first_is_not_sent_again_as_the_embedding():
    head, embedding = torch.ones(3, 2), torch.zeros(3, 2)
    sent = list(WeightStream([("lm_head.weight", head), ("model.embed_tokens.weight", embedding)]))
    assert [name for name, _ in sent] == ["lm_head.weight", "model.embed_tokens.weight"]
    assert torch.equal(sent[0][1], head)
