"""Whole models, as people write them for the stock backend: each uses several things at a time."""

from __future__ import annotations

import io
import json
import threading

import numpy as np
import pytest

from triton_backend_sdk import InternalError

PREPROCESS = '''
import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image


class TritonPythonModel:
    """Decode, resize and normalise images: bytes in, one float tensor out."""

    def initialize(self, args):
        self.model_config = model_config = json.loads(args["model_config"])
        output = pb_utils.get_output_config_by_name(model_config, "OUT")
        self.dtype = pb_utils.triton_string_to_numpy(output["data_type"])
        self.mean = np.array([0.485, 0.456, 0.406], np.float32)
        self.std = np.array([0.229, 0.224, 0.225], np.float32)

    def execute(self, requests):
        responses = []
        for request in requests:
            in_0 = pb_utils.get_input_tensor_by_name(request, "IN")
            images = []
            for row in in_0.as_numpy():
                image = Image.open(io.BytesIO(row[0])).convert("RGB").resize((8, 8))
                pixels = np.array(image).astype(np.float32)
                pixels /= 255.0
                pixels -= self.mean
                pixels /= self.std
                images.append(np.transpose(pixels, (2, 0, 1)))
            stacked = np.stack(images).astype(self.dtype)
            responses.append(pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("OUT", stacked)]))
        return responses

    def finalize(self):
        print("Cleaning up...")
'''


def test_images_are_decoded_and_normalised(serve_model):
    image_module = pytest.importorskip("PIL.Image")
    served = serve_model(
        PREPROCESS,
        header=False,
        inputs={"IN": ("BYTES", [1])},
        outputs={"OUT": ("FP32", [3, 8, 8])},
        batch=4,
    )
    file = io.BytesIO()
    image_module.new("RGB", (20, 10), (255, 0, 0)).save(file, "PNG")
    got = served.infer({"IN": np.array([[file.getvalue()]] * 3, object)})["OUT"]
    assert got.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(got[2, :, 0, 0], [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], 1e-5)


TOKENIZER = """
import json
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from text_tools import clean
from .vocabulary import Vocabulary

HERE = Path(__file__).parent


class TritonPythonModel:
    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.vocabulary = Vocabulary(os.path.join(folder, "vocab.txt"))
        self.settings = json.loads((HERE / "settings.json").read_text())

    def execute(self, requests):
        texts, counts = [], []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            texts += [clean(text.decode("utf-8")) for text in array.reshape(-1).tolist()]
            counts.append(array.shape[0])
        tokens = [self.vocabulary.encode(text) for text in texts]
        longest = min(max(len(row) for row in tokens), self.settings["longest"])
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(tokens):
            ids[number, : len(row)] = row[:longest]
            mask[number, : len(row)] = 1
        words = np.array([" ".join(map(str, row)) for row in tokens], dtype=np.object_).reshape(-1, 1)
        responses, start = [], 0
        for count in counts:
            part = slice(start, start + count)
            start += count
            responses.append(pb_utils.InferenceResponse([
                pb_utils.Tensor("IDS", ids[part]),
                pb_utils.Tensor("MASK", mask[part].astype(bool)),
                pb_utils.Tensor("WORDS", words[part]),
                pb_utils.Tensor("RAW", np.array([t.encode() for t in texts[part]]).reshape(-1, 1)),
            ]))
        return responses
"""


def test_texts_are_tokenised(serve_model):
    served = serve_model(
        TOKENIZER,
        header=False,
        inputs={"TEXT": ("BYTES", [1])},
        outputs={
            "IDS": ("INT64", [-1]),
            "MASK": ("BOOL", [-1]),
            "WORDS": ("BYTES", [1]),
            "RAW": ("BYTES", [1]),
        },
        batch=8,
        helpers={
            "vocab.txt": "zero\nhello\nwörld\n",
            "settings.json": '{"longest": 3}',
            "text_tools.py": "def clean(text):\n    return text.lower().strip()\n",
            "vocabulary.py": """
                class Vocabulary:
                    def __init__(self, path):
                        with open(path, encoding="utf-8") as file:
                            self.numbers = {line.strip(): index for index, line in enumerate(file)}

                    def encode(self, text):
                        return [self.numbers.get(word, 0) for word in text.split()]
                """,
        },
    )
    texts = np.array([["Hello wörld".encode()], [b" hello what hello more "]], object)
    got = served.infer({"TEXT": texts})
    assert got["IDS"].tolist() == [[1, 2, 0], [1, 0, 1]]
    assert got["MASK"].tolist() == [[True, True, False], [True, True, True]]
    assert got["WORDS"].tolist() == [[b"1 2"], [b"1 0 1 0"]]
    assert got["RAW"].tolist() == [["hello wörld".encode()], [b"hello what hello more"]]


SUMS = """
_sums = {}
lock = None


class TritonPythonModel:
    def initialize(self, args):
        import threading
        global lock
        lock = threading.Lock()
        self.requests = 0

    def execute(self, requests):
        responses = []
        for request in requests:
            self.requests += 1
            flags, sequence = request.flags(), request.correlation_id()
            with lock:
                if flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
                    _sums[sequence] = 0
                _sums[sequence] += int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy().sum())
                total = _sums[sequence]
                if flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
                    del _sums[sequence]
            parameters = {"served": self.requests, "open": len(_sums), "instance": __name__}
            out = pb_utils.Tensor("OUT", np.array([total], np.float32))
            responses.append(pb_utils.InferenceResponse([out], parameters=parameters))
        return responses
"""


def test_sequences_add_up_in_module_globals(serve_model):
    served = serve_model(SUMS)
    one = {"IN": np.ones(2, np.float32)}
    assert served.infer(one, correlation_id=7, sequence_start=True)["OUT"].tolist() == [2]
    assert served.infer(one, correlation_id=8, sequence_start=True)["OUT"].tolist() == [2]
    assert served.infer(one, correlation_id=7)["OUT"].tolist() == [4]
    last = served.infer(one, correlation_id=7, sequence_end=True)
    assert last["OUT"].tolist() == [6]
    assert {key: last.parameters[key] for key in ("served", "open")} == {"served": 4, "open": 1}
    served.core.load(served.name)  # the same files: Triton keeps the model
    served.core.unload(served.name)
    served.core.load(served.name)
    again = served.infer(one, correlation_id=9, sequence_start=True)
    assert {key: again.parameters[key] for key in ("served", "open")} == {"served": 1, "open": 1}


WORKER = '''
import queue
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A worker thread answers what execute puts into a queue."""

    def initialize(self, args):
        self.logger = pb_utils.Logger
        self.queue = queue.Queue()
        self.inflight_thread_count = 0
        self.inflight_thread_count_lck = threading.Lock()
        self.worker = threading.Thread(target=self.work, name="worker")
        self.worker.start()

    def execute(self, requests):
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            with self.inflight_thread_count_lck:
                self.inflight_thread_count += 1
            self.queue.put((request.get_response_sender(), array))
        return None

    def work(self):
        while True:
            item = self.queue.get()
            if item is None:
                return
            sender, array = item
            for index in range(int(array[0])):
                if sender.is_cancelled():
                    break
                out = pb_utils.Tensor("OUT", np.array([index], np.float32))
                sender.send(pb_utils.InferenceResponse(output_tensors=[out]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            del item, sender, array
            with self.inflight_thread_count_lck:
                self.inflight_thread_count -= 1

    def finalize(self):
        self.logger.log_info(f"finalize: waiting for {self.inflight_thread_count} requests")
        self.queue.put(None)
        self.worker.join()
        self.logger.log_info("finalize: the worker has ended")
'''


def test_a_worker_thread_streams_and_ends_with_the_model(serve_model):
    served = serve_model(WORKER, header=False, decoupled=True)
    before = {thread.name for thread in threading.enumerate()}
    assert "worker" in before
    streams = [served.stream({"IN": np.array([count], np.float32)}) for count in (3, 0, 50)]
    assert [[float(item["OUT"][0]) for item in stream] for stream in streams] == [
        [0, 1, 2],
        [],
        list(range(50)),
    ]
    served.core.unload(served.name)
    assert "finalize: the worker has ended" in served.log
    assert "worker" not in {thread.name for thread in threading.enumerate()}


METRICS = """
class TritonPythonModel:
    def initialize(self, args):
        self.family = pb_utils.MetricFamily(
            name="requests_seen", description="Requests seen", kind=pb_utils.MetricFamily.COUNTER
        )
        self.metric = self.family.Metric(labels={"model": args["model_name"], "version": args["model_version"]})

    def execute(self, requests):
        self.metric.increment(len(requests))
        value = np.array([self.metric.value()], np.float32)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", value)]) for _ in requests]

    def finalize(self):
        del self.metric, self.family
"""


def test_metrics_count_and_survive_a_reload(serve_model):
    served = serve_model(METRICS, core_options={"metrics": True})
    zero = {"IN": np.zeros(1, np.float32)}
    assert [served.infer(zero)["OUT"].tolist() for _ in range(2)] == [[1], [2]]
    labels = f'model="{served.name}",version="1"'
    assert f"requests_seen{{{labels}}} 2" in served.core.metrics_text()
    served.core.unload(served.name)
    served.core.load(served.name)
    assert served.infer(zero)["OUT"].tolist() == [1]


RERANK = """
import asyncio
import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.callee = json.loads(args["model_config"])["parameters"]["callee"]["string_value"]

    async def execute(self, requests):
        responses = []
        for request in requests:
            inputs = [pb_utils.get_input_tensor_by_name(request, "IN")]
            calls = [
                pb_utils.InferenceRequest(
                    model_name=self.callee,
                    requested_output_names=["OUT"],
                    inputs=inputs,
                    request_id=str(number),
                ).async_exec()
                for number in range(3)
            ]
            answers = await asyncio.gather(*calls)
            for answer in answers:
                if answer.has_error():
                    raise pb_utils.TritonModelException(answer.error().message())
            total = sum(pb_utils.get_output_tensor_by_name(answer, "OUT").as_numpy() for answer in answers)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", total)]))
        return responses
"""
DOUBLE = """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        auto_complete_model_config.set_max_batch_size(0)
        return auto_complete_model_config

    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            if (array < 0).any():
                error = pb_utils.TritonError("a number is negative")
                responses.append(pb_utils.InferenceResponse(error=error))
                continue
            array *= 2
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]))
        return responses
"""


def test_a_model_asks_another_three_times_at_once(serve_model):
    callee = serve_model(DOUBLE, instances=2)
    served = serve_model(RERANK, header=False, beside=callee, parameters={"callee": callee.name})
    asked = np.array([1, 2], np.float32)
    assert served.infer({"IN": asked})["OUT"].tolist() == [6, 12]
    assert asked.tolist() == [1, 2]  # `array *= 2` of the callee has not touched what the caller lent
    with pytest.raises(InternalError, match="a number is negative"):
        served.infer({"IN": -asked})


LABELS = """
import csv
import dataclasses
import functools
import json
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils


@dataclasses.dataclass
class Label:
    name: str
    score: float = 0.0


class Pair(NamedTuple):
    left: int
    right: int


@functools.lru_cache(maxsize=None)
def labels(path):
    with open(path) as file:
        return [row[0] for row in csv.reader(file)]


def softmax(x, axis=-1):
    x -= x.max(axis=axis, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=axis, keepdims=True)
    return x


class TritonPythonModel:
    def initialize(self, args):
        self.path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "labels.csv")
        self.pool = ThreadPoolExecutor(2)
        assert pickle.loads(pickle.dumps(Pair(1, 2))) == Pair(1, 2)
        assert pickle.loads(pickle.dumps(Label("a"))) == Label("a")

    def execute(self, requests):
        return list(self.pool.map(self.answer, requests))

    def answer(self, request):
        started = time.perf_counter()
        logits = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        scores = softmax(logits)
        best = np.argsort(scores, axis=-1)[:, ::-1][:, :2]
        names = labels(self.path)
        rows = [
            json.dumps([dataclasses.asdict(Label(names[i], round(float(scores[row, i]), 3))) for i in line])
            for row, line in enumerate(best)
        ]
        out = pb_utils.Tensor("OUT", np.array(rows, dtype=object).reshape(-1, 1))
        return pb_utils.InferenceResponse([out], parameters={"seconds": time.perf_counter() - started})

    def finalize(self):
        self.pool.shutdown()
"""


def test_a_pool_of_threads_finds_labels(serve_model):
    served = serve_model(
        LABELS,
        header=False,
        inputs={"IN": ("FP32", [3])},
        outputs={"OUT": ("BYTES", [1])},
        batch=4,
        helpers={"labels.csv": "cat\ndog\nfox\n"},
    )
    logits = np.array([[0, 1, 5], [5, 0, 1]], np.float32)
    answer = served.infer({"IN": logits})
    found = [[item["name"] for item in json.loads(row)] for row in answer["OUT"].ravel().tolist()]
    assert found == [["fox", "dog"], ["cat", "fox"]]
    assert 0 < answer.parameters["seconds"] < 20
    assert logits.tolist() == [[0, 1, 5], [5, 0, 1]]


LOOP = '''
import asyncio


class TritonPythonModel:
    """Coroutines in an execute that is none: `get_event_loop` works in the main thread of the stock backend's stub."""

    def initialize(self, args):
        asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))

    async def double(self, array):
        await asyncio.sleep(0)
        return array * 2

    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            {how}
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", result)]))
        return responses
'''


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "how",
    [
        "result = asyncio.run(self.double(array))",
        "result = asyncio.get_event_loop().run_until_complete(self.double(array))",
    ],
    ids=["run", "get_event_loop"],
)
def test_a_model_may_run_an_event_loop_of_its_own(serve_model, how):
    served = serve_model(LOOP.format(how=how))
    for _ in range(2):
        for _ in range(2):
            assert served.infer({"IN": np.ones(2, np.float32)})["OUT"].tolist() == [2, 2]
        served.core.unload(served.name)
        served.core.load(served.name)


ARGUMENTS = """
import argparse
import os
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int, default=3)
options, _ = parser.parse_known_args()

sys.path.append(os.path.join(os.path.dirname(__file__), "lib"))
import deep
from deep.inner import SIZE

if __name__ == "__main__":
    raise SystemExit("not run as a script")


class TritonPythonModel:
    def initialize(self, args):
        import late
        self.late = late.VALUE

    def execute(self, requests):
        from deep.inner import size
        out = np.array([options.size, SIZE, size(), self.late], np.float32)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]) for _ in requests]
"""


def test_arguments_paths_and_packages(serve_model):
    served = serve_model(
        ARGUMENTS,
        helpers={
            "lib/deep/__init__.py": "from . import inner\n",
            "lib/deep/inner.py": "SIZE = 4\n\ndef size():\n    from deep import inner\n    return inner.SIZE + 1\n",
            "late.py": "VALUE = 6\n",
        },
    )
    assert served.infer({"IN": np.zeros(1, np.float32)})["OUT"].tolist() == [3, 4, 5, 6]
