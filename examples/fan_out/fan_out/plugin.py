"""Ask two models about the same texts at the same time, and merge what they say.

The model ``moderation`` calls ``shouting`` and ``rudeness``. To have the project in one piece, these are
models of this very backend, told apart by a parameter; they could be of any.
"""

import re

import numpy as np

from triton_backend_sdk import Response, hookimpl

RUDE = {"fool", "idiot", "stupid"}


def shouting(text: str) -> float:
    """Give the share of capitals among the letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / max(len(letters), 1)


def rudeness(text: str) -> float:
    """Give the share of rude words."""
    words = re.findall(r"\w+", text.lower())
    return sum(word in RUDE for word in words) / max(len(words), 1)


SCORES = {"shouting": shouting, "rudeness": rudeness}


@hookimpl
def execute(instance, requests):
    parameters = instance.model.parameters
    if "score" in parameters:
        return [score(request, SCORES[parameters["score"]]) for request in requests]
    members = parameters.get_str("calls").split(",")
    # All calls are under way before the first is waited for; a request given as the inputs hands its own on.
    server = instance.model.server
    calls = [{name: server.start(name, request, parent=request) for name in members} for request in requests]
    return [merge({name: call.result()["SCORE"].numpy() for name, call in one.items()}) for one in calls]


def score(request, function):
    texts = [text.decode(errors="replace") for text in request["TEXT"].numpy()]
    return Response({"SCORE": np.array([function(text) for text in texts], np.float32)})


def merge(scores):
    names, table = list(scores), np.stack(list(scores.values()))
    worst = table.argmax(axis=0)
    return Response({"SCORE": table.max(axis=0), "REASON": [names[i] for i in worst]})
