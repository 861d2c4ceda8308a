"""Print what the model says, as it says it: python client.py "the dog" [--max-tokens N] [--url HOST:PORT]."""

import argparse
import queue
from collections.abc import Iterator

import numpy as np
import tritonclient.grpc as triton


def tokens(prompt: str, max_tokens: int, url: str) -> Iterator[str]:
    """Give the tokens as they come; leaving the loop early cancels the request in the server."""
    answers: queue.Queue = queue.Queue()
    text = triton.InferInput("PROMPT", [1], "BYTES")
    text.set_data_from_numpy(np.array([prompt], dtype=object))
    limit = triton.InferInput("MAX_TOKENS", [1], "INT32")
    limit.set_data_from_numpy(np.array([max_tokens], np.int32))
    with triton.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        # The server then always says when it is done, with an empty response if there is no other.
        client.async_stream_infer("token_streaming", [text, limit], enable_empty_final_response=True)
        over = False
        try:
            while not over:
                result, error = answers.get()
                if error:
                    over = True
                    raise error
                response = result.get_response()
                over = response.parameters["triton_final_response"].bool_param
                if response.outputs:
                    yield result.as_numpy("TOKEN").item().decode()
        finally:
            # Not when it is over: Triton 24.10 would keep the model for ever.
            client.stop_stream(cancel_requests=not over)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("--max-tokens", type=int, default=20, metavar="N")
    parser.add_argument("--url", default="127.0.0.1:8001", metavar="HOST:PORT", help="over gRPC")
    arguments = parser.parse_args()
    print(arguments.prompt, end="", flush=True)
    for token in tokens(arguments.prompt, arguments.max_tokens, arguments.url):
        print(f" {token}", end="", flush=True)
    print()
