from __future__ import annotations

import string

import pytest
import torch

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout.weight_stream import Fingerprint, WeightStream, compare, fingerprint
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
    assert compare(sent, held, packed=PACKED).differing == ()
    assert compare(sent, held, packed=PACKED).compared == 2
    assert compare(sent, held, packed=PACKED).skipped == 1

    stale = {**held, "l.qkv_proj.weight": fingerprint(torch.cat([q, k, v + 1e-3]))}
    assert compare(sent, stale, packed=PACKED).differing == ("l.qkv_proj.weight",)
    # Two ranks share a vocabulary of 4, padded to 64: the second has nothing but padding.
    vocabulary = {"embed_tokens.weight": fingerprint(q)}
    padding = {"embed_tokens.weight": fingerprint(torch.zeros(32, 2))}
    assert compare(vocabulary, padding, packed=PACKED).differing == ("embed_tokens.weight",)
    assert compare(vocabulary, padding, packed=PACKED, sharded=True).skipped == 1
    shard = {**held, "l.qkv_proj.weight": fingerprint(q)}
    assert compare(sent, shard, packed=PACKED).differing == ()


def test_a_head_that_comes_first_is_not_sent_again_as_the_embedding():
    head, embedding = torch.ones(3, 2), torch.zeros(3, 2)
    sent = list(WeightStream([("lm_head.weight", head), ("model.embed_tokens.weight", embedding)]))
    assert [name for name, _ in sent] == ["lm_head.weight", "model.embed_tokens.weight"]
    assert torch.equal(sent[0][1], head)
