"""Every token, in time; and an end when nobody listens."""

import itertools

import numpy as np
import pytest
from token_streaming.plugin import continuation, learn

from triton_backend_sdk import InvalidArgError

WORDS = ["a", "b", "a", "c", ".", "a", "b", "."]


def ask(prompt, **inputs):
    return {"PROMPT": np.array([prompt], dtype=object)} | {
        name: np.array([value], np.int32) for name, value in inputs.items()
    }


def test_what_is_said_was_learned():
    followers = learn(WORDS)
    assert followers == {"a": ["b", "c", "b"], "b": ["a", "."], "c": ["."], ".": ["a"]}
    said = ["a", *continuation(followers, ["a"])]
    assert said == ["a", *continuation(followers, ["a"])]
    assert said[-1] == "."
    assert all(after in followers[before] for before, after in itertools.pairwise(said))


def test_a_stream(fake_host):
    [responses] = fake_host("token_streaming.plugin").execute(ask("the dog", MAX_TOKENS=3))

    *tokens, last = responses
    assert [response.parameters for response in tokens] == [{"index": 0}, {"index": 1}, {"index": 2}]
    assert all(response["TOKEN"].shape == (1,) for response in tokens)
    assert (dict(last), last.parameters) == ({}, {"finish_reason": "length"})
    assert responses.finals == 1


def test_the_client_goes_away(fake_host, caplog):
    caplog.set_level("INFO")
    for number, _ in enumerate(fake_host("token_streaming.plugin").stream(ask("the"))):
        if number == 1:
            break
    assert "the client went away after 1 tokens" in caplog.text


def test_a_deadline_and_a_word_that_is_not_known(fake_host):
    host = fake_host("token_streaming.plugin")
    [[last]] = host.execute(host.request(ask("the"), timeout_us=1))
    assert last.parameters == {"finish_reason": "length"}
    with pytest.raises(InvalidArgError, match="PROMPT ends with no word that I know; I know the, cat, sat"):
        host.execute(ask("hello"))


def test_in_the_real_triton(triton_core):
    core = triton_core()

    with core.stream("token_streaming", ask("the dog", MAX_TOKENS=2), timeout=10) as stream:
        assert [response.parameters for response in stream] == [
            {"index": 0},
            {"index": 1},
            {"finish_reason": "length"},
        ]
    with core.stream("token_streaming", ask("the dog"), timeout=10) as stream:
        next(stream)
        stream.cancel()
        assert len(stream.collect()) < 20


def test_over_grpc(tritonserver):
    tokens = pytest.importorskip("client").tokens

    server = tritonserver()
    said = list(tokens("the dog", 4, server.grpc_url))
    assert len(said) == 4
    assert next(tokens("the dog", 4, server.grpc_url)) == said[0]  # and goes away
    with pytest.raises(Exception, match="no word that I know"):
        list(tokens("hello", 4, server.grpc_url))
