"""Text as a tokenizer wants it: composed, casefolded, with single spaces, no longer than the model allows."""

import unicodedata

from triton_backend_sdk import InvalidArgError, Model, ModelInstance, Request, Response, TritonError, hookimpl


@hookimpl
def model_initialize(model: Model) -> None:
    longest = model.parameters.get_int("max_characters", 512)
    if longest < 1:
        raise InvalidArgError(f"max_characters is {longest}; it must be at least 1")
    model.state.longest = longest


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response | TritonError]:
    return [answer(request, instance.model.state.longest) for request in requests]


def answer(request: Request, longest: int) -> Response | TritonError:
    rows = request["TEXT"].tolist()  # [batch, n] as nested lists; the elements of a BYTES tensor are bytes
    try:
        return Response({"NORMALIZED": [[normalize(item.decode(), longest) for item in row] for row in rows]})
    except UnicodeDecodeError as error:
        # Returned, not raised: the other requests of the batch get their answers.
        return InvalidArgError(f"TEXT is not UTF-8: {error}")


def normalize(text: str, longest: int) -> str:
    """Give the text in NFC, casefolded, with single spaces, cut to a number of characters."""
    # Folding can undo a composition: "caseless matching" of the Unicode standard decomposes before it.
    folded = unicodedata.normalize("NFD", text).casefold()
    words = unicodedata.normalize("NFC", folded).split()
    return " ".join(words)[:longest].rstrip()
