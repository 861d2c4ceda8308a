"""Continues a text, word by word: each word leaves the server when it is there."""

import logging
import random
import time
from collections.abc import Iterator
from itertools import pairwise

from triton_backend_sdk import InvalidArgError, Model, ModelInstance, Request, Response, hookimpl

logger = logging.getLogger(__name__)
Followers = dict[str, list[str]]


@hookimpl
def model_initialize(model: Model) -> None:
    words = (model.version_directory / "text.txt").read_text().split()
    model.state.followers = learn(words)
    model.state.pause = model.parameters.get_float("seconds_per_token", 0.0)


@hookimpl
def execute(instance: ModelInstance, request: Request) -> Iterator[Response]:
    state = instance.model.state
    prompt = request["PROMPT"].tolist()[0].decode().split()
    limit = request["MAX_TOKENS"].tolist()[0] if "MAX_TOKENS" in request else 20
    if not prompt or prompt[-1] not in state.followers:
        raise InvalidArgError(f"PROMPT ends with no word that I know; I know {', '.join(state.followers)}")
    sent, why = 0, "length"
    try:
        for token in continuation(state.followers, prompt):
            if sent == limit or request.deadline.expired:
                break
            time.sleep(state.pause)  # the work; the generator is closed here if the client has gone
            yield Response({"TOKEN": [token]}, parameters={"index": sent})
            sent += 1
        else:
            why = "end of sentence"
        yield Response(parameters={"finish_reason": why})  # no outputs: only what clients want to know
    except GeneratorExit:
        logger.info("the client went away after %d tokens", sent)
        raise


def learn(words: list[str]) -> Followers:
    """Give the words that follow each word, as often as they do."""
    followers: Followers = {}
    for word, following in pairwise(words):
        followers.setdefault(word, []).append(following)
    return followers


def continuation(followers: Followers, prompt: list[str]) -> Iterator[str]:
    """Give word after word, up to a full stop; the same for the same prompt."""
    choose, word = random.Random(" ".join(prompt)), prompt[-1]  # noqa: S311  no secret
    while word != ".":
        word = choose.choice(followers[word])
        yield word
