"""The mood of a text in three stages, each a span in Triton's trace; what it meets is counted."""

import re

import numpy as np

from triton_backend_sdk import InvalidArgError, Model, ModelInstance, Request, Response, TritonError, hookimpl

#: Stands in for a model's weights.
WEIGHTS = {
    "good": 1.0,
    "great": 2.0,
    "love": 2.0,
    "fine": 0.5,
    "slow": -1.0,
    "bad": -1.5,
    "broken": -2.0,
    "not": -0.5,
}
MOODS = ("cross", "even", "glad")


@hookimpl
def model_initialize(model: Model) -> None:
    metrics = model.metrics
    model.state.words = {
        known: metrics.counter("pipeline_words_total", "Words met", labels={"known": known})
        for known in ("yes", "no")
    }
    model.state.length = metrics.histogram("pipeline_words", "Words per text", buckets=[1, 4, 16, 64])


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response | TritonError]:
    return [answer(request, instance.model) for request in requests]


def answer(request: Request, model: Model) -> Response | TritonError:
    trace = request.trace  # does nothing where Triton does not trace this request
    try:
        with trace.span("tokenize"):
            rows = [tokenize(text.decode()) for (text,) in request["TEXT"].tolist()]
    except UnicodeDecodeError as error:
        return InvalidArgError(f"TEXT is not UTF-8: {error}")
    with trace.span("score"):
        scores = np.array([[score(words)] for words in rows], np.float32)
    with trace.span("label"):
        labels = [[MOODS[int(np.sign(value)) + 1]] for (value,) in scores]
    count(model, rows)
    if not all(rows):
        trace.report("an empty text")
    return Response({"MOOD": labels, "SCORE": scores})


def tokenize(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def score(words: list[str]) -> float:
    return sum(WEIGHTS.get(word, 0.0) for word in words)


def count(model: Model, rows: list[list[str]]) -> None:
    for words in rows:
        known = sum(word in WEIGHTS for word in words)
        model.state.words["yes"].increment(known)
        model.state.words["no"].increment(len(words) - known)
        model.state.length.observe(len(words))
