"""InferenceRequest.exec: what a model.py gets from the models that it calls."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.python_backend.bls_models import DOUBLES, REPEATS, acting, seen, told
from triton_backend_sdk.testing.core import CoreTrace

ONES = {"IN": np.ones(2, np.float32)}
FAILS = """
class TritonPythonModel:
    def execute(self, requests):
        code = pb_utils.TritonError.NOT_FOUND
        return [pb_utils.InferenceResponse(error=pb_utils.TritonError("not mine", code)) for _ in requests]
"""


@pytest.fixture
def pair(serve_model):
    """Serve a model whose ``act`` calls another; gives the answer of one request and what was told."""
    told.clear()
    seen.clear()

    def make(act, callee=DOUBLES, *, given=ONES, own=None, **target):
        called = serve_model(callee, name="called", **target)
        own = {"name": "caller", "beside": called, "parameters": {"target": "called"}, **(own or {})}
        caller = serve_model(acting(act), **own)
        answer = caller.infer(given)["OUT"].tolist()
        assert caller.core.wait_released(5)
        return answer, list(told)

    return make


def test_a_model_calls_another(pair):
    answer, said = pair(
        """
        def act(self, request, target):
            response = asked(target, [1, 2]).exec()
            told.append((response.has_error(), response.error(), [t.name() for t in response.output_tensors()]))
            return out(response)
        """
    )
    assert answer == [2, 4]
    assert said == [(False, None, ["OUT"])]


def test_what_the_called_model_is_told(pair):
    pair(
        """
        def act(self, request, target):
            asked(target, [1]).exec()
            asked(target, [1], requested_output_names=[]).exec()
            parameters = {"a": 1, "b": "x", "c": True, "d": 1.5}
            asked(target, [1], request_id="me", correlation_id=7, flags=3, timeout=5, model_version=1,
                  parameters=parameters, preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
                  ).exec()
            last = asked(target, [1], correlation_id="seven")
            last.set_flags(pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
            last.exec()
            return [0]
        """
    )
    assert [one[:4] for one in seen] == [("", 0, 0, 0), ("", 0, 0, 0), ("me", 7, 3, 5), ("", "seven", 1, 0)]
    assert [one[5] for one in seen] == [["OUT"]] * 4
    assert json.loads(seen[2][4]) == {"a": 1, "b": "x", "c": True, "d": 1.5}


def test_a_request_tells_what_it_was_made_of(pair):
    _, (made, default) = pair(
        """
        def act(self, request, target):
            for more in {"request_id": "me", "correlation_id": "x", "flags": 1, "timeout": 9, "parameters": {"a": 1}}, {}:
                made = asked(target, [1], **more)
                told.append([made.request_id(), made.correlation_id(), made.flags(), made.timeout(),
                             made.parameters(), made.requested_output_names(), len(made.inputs()),
                             made.trace().get_context(), made.is_cancelled()])
            return [0]
        """
    )
    assert made == ["me", "x", 1, 9, '{"a": 1}', {"OUT"}, 1, None, False]
    assert default == ["", 0, 0, 0, "{}", {"OUT"}, 1, None, False]


def test_a_request_can_be_sent_twice(pair):
    answer, _ = pair(
        """
        def act(self, request, target):
            made = asked(target, [1])
            first, second = made.exec(), made.exec()
            return [out(first)[0], out(second)[0], len(list(made.exec(decoupled=True)))]
        """
    )
    assert answer == [2, 2, 1]


def test_inputs_and_outputs_are_handed_on_as_they_are(pair):
    answer, _ = pair(
        """
        def act(self, request, target):
            first = pb_utils.InferenceRequest(
                inputs=request.inputs(), requested_output_names=["OUT"], model_name=target).exec()
            tensor = first.output_tensors()[0]
            tensor.as_numpy()[1] = 100
            given = pb_utils.Tensor("IN", tensor.as_numpy())
            second = asked(target, [], inputs=[given]).exec()
            third = asked(target, [], inputs=[pb_utils.Tensor.from_dlpack("IN", tensor)]).exec()
            fourth = asked(target, [], inputs=[pb_utils.Tensor.from_dlpack("IN", tensor)]).exec(decoupled=True)
            return [*out(second), *out(third), *out(next(fourth))]
        """
    )
    assert answer == [4, 200] * 3


def test_strings_strided_and_empty_arrays_go_through(pair):
    _, said = pair(
        """
        def act(self, request, target):
            words = np.array([[b"a", "\\u00fc"]], dtype=object)[:, ::-1]
            inputs = [pb_utils.Tensor("IN", words), pb_utils.Tensor("X", np.arange(8, dtype=np.int32)[::2]),
                      pb_utils.Tensor("E", np.zeros((0, 3), np.float64))]
            names = ["IN", "X", "E"]
            response = pb_utils.InferenceRequest(model_name=target, inputs=inputs, requested_output_names=names).exec()
            for name in names:
                array = pb_utils.get_output_tensor_by_name(response, name).as_numpy()
                told.append((array.tolist(), list(array.shape)))
            return [0]
        """,
        """
        class TritonPythonModel:
            def execute(self, requests):
                return [pb_utils.InferenceResponse(request.inputs()) for request in requests]
        """,
        inputs={"IN": ("BYTES", [-1, -1]), "X": ("INT32", [-1]), "E": ("FP64", [-1, 3])},
        outputs={"IN": ("BYTES", [-1, -1]), "X": ("INT32", [-1]), "E": ("FP64", [-1, 3])},
    )
    assert said == [([["\u00fc".encode(), b"a"]], [1, 2]), ([0, 2, 4, 6], [4]), ([], [0, 3])]


def test_outputs_are_the_callers_to_write_to_and_to_keep(pair):
    answer, _ = pair(
        """
        def act(self, request, target):
            responses = [asked(target, np.full(100_000, i)).exec() for i in range(3)]
            arrays = [out(response) for response in responses]
            del responses
            gc.collect()
            pb_utils.unload_model(target)
            arrays[1] += 1
            return [array.mean() for array in arrays]
        """
    )
    assert answer == [0, 3, 4]


def test_where_outputs_lie(pair):
    answer, said = pair(
        """
        def act(self, request, target):
            for wrong in (0,), (pb_utils.TRITONSERVER_MEMORY_CPU, "0"), (None,):
                try:
                    pb_utils.PreferredMemory(*wrong)
                except TypeError as problem:
                    told.append(str(problem)[:25])
            wishes = [None, pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
                      pb_utils.PreferredMemory(preferred_memory_type=pb_utils.TRITONSERVER_MEMORY_GPU, preferred_device_id=3)]
            more = [{} if wish is None else {"preferred_memory": wish} for wish in wishes]
            responses = [asked(target, [i], **given).exec() for i, given in enumerate(more)]
            told.append([response.output_tensors()[0].is_cpu() for response in responses])  # no GPU is here
            return [out(response)[0] for response in responses]
        """
    )
    assert answer == [0, 2, 4]
    assert said == ["PreferredMemory(): preferr"[:25]] * 3 + [[True] * 3]


REFUSED = "Model {model} - Error when running inference: {why}"


@pytest.mark.parametrize(
    ("call", "model", "why"),
    [
        ("asked('nobody', [1])", "nobody", "Failed for execute the inference request. Model 'nobody' is not ready."),
        ("asked(target, [1], model_version=9)", "called",
         "Failed for execute the inference request. Model 'called' is not ready."),
        ("asked(target, [1], inputs=[])", "called",
         "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'called'. Got input(s) [], "
         "but missing required input(s) ['IN']. Please provide all required input(s)."),
        ("asked(target, [1], inputs=[pb_utils.Tensor('X', np.zeros(1))])", "called",
         "unexpected inference input 'X' for model 'called'"),
        ("asked(target, [1], inputs=[pb_utils.Tensor('IN', np.zeros(1, np.float32))] * 2)", "called",
         "[request id: <id_unknown>] input 'IN' already exists in request"),
        ("asked(target, [[1]])", "called", "[request id: <id_unknown>] unexpected shape for input 'IN' for model "
         "'called'. Expected [-1], got [1,1]. "),
        ("asked(target, [1], inputs=[pb_utils.Tensor('IN', np.zeros(1))])", "called",
         "[request id: <id_unknown>] inference input 'IN' data-type is 'FP64', but model 'called' expects 'FP32'"),
        ("asked(target, [1], requested_output_names=['X'])", "called",
         "unexpected inference output 'X' for model 'called'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "how",
    ["{}.exec()", "next({}.exec(decoupled=True))", "asyncio.run(later({}))", "asyncio.run(later({}, 1))"],
)
def test_what_triton_refuses_is_told_as_in_the_stock_backend(pair, call, model, why, how):
    _, said = pair(
        f"""
        async def later(request, decoupled=False):
            response = await request.async_exec(decoupled)
            return next(response) if decoupled else response

        def act(self, request, target):
            told.append(error({how.format(call)}))
            return [0]
        """
    )
    ((message, code),) = said
    assert (message.replace("[1, 1]", "[1,1]"), code) == (REFUSED.format(model=model, why=why), "INTERNAL")


def test_what_the_called_model_answers_is_told_as_it_is(pair):
    _, said = pair(
        """
        def act(self, request, target):
            told.append(error(asked(target, [1]).exec()))
            told.extend(error(response) for response in asked(target, [1]).exec(True))
            return [0]
        """,
        FAILS,
    )
    assert said == [["not mine", "NOT_FOUND"]] * 2


def test_a_decoupled_model_wants_decoupled(pair):
    _, said = pair(
        """
        async def later(request):
            return await request.async_exec()

        def act(self, request, target):
            told.append(error(asked(target, [1, 1]).exec()))
            told.append(error(asyncio.run(later(asked(target, [1, 1])))))
            return [0]
        """,
        REPEATS,
        decoupled=True,
    )
    text = (
        "Model called - Error when running inference: Model called is using the decoupled. The current BLS "
        "request call doesn't support models using the decoupled transaction policy. Please use "
        "'decoupled=True' argument to the 'exec' or 'async_exec' calls for decoupled models.'"
    )
    assert said == [[text, "INTERNAL"]] * 2


@pytest.mark.parametrize(
    ("arguments", "exception", "text"),
    [
        ("inputs=[None]", "TritonModelException",
         "Input tensor for request with id 'me' and model name 'called' should not be empty."),
        ("requested_output_names=['']", "TritonModelException",
         "Requested output name for request with id 'me' and model name 'called' should not be empty."),
        ("correlation_id=1.5", "TritonModelException", "Correlation ID must be integer or string"),
        ("parameters={1: 1}", "TritonModelException",
         "Expect parameters keys to have type str, found type <class 'int'>"),
        ("parameters={'a': []}", "TritonModelException", "Expect parameters values to have type"),
        ("parameters=[]", "TypeError", "parameters must be a dict"),
        ("inputs=None", "TypeError", "inputs must be a list"),
        ("inputs=[1]", "TypeError", "inputs must be a list of Tensor"),
        ("requested_output_names='OUT'", "TypeError", "must be a list of str"),
        ("requested_output_names=[1]", "TypeError", "must be a list of str"),
        ("request_id=None", "TypeError", "request_id must be given"),
        ("request_id=1", "TypeError", "request_id must be str"),
        ("timeout=-1", "TypeError", "timeout must be an int from 0"),
        ("timeout=1.5", "TypeError", "timeout must be an int from 0"),
        ("flags=-1", "TypeError", "flags must be an int from 0"),
        ("model_version='1'", "TypeError", "model_version must be an int"),
        ("correlation_id=-1", "TypeError", "correlation_id must be an int from 0"),
        ("preferred_memory=1", "TypeError", "preferred_memory must be a PreferredMemory"),
        ("trace=1", "TypeError", "trace must be a InferenceTrace"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_made(pair, arguments, exception, text):
    _, said = pair(
        f"""
        def act(self, request, target):
            try:
                asked(target, [1], **{{"request_id": "me", **dict({arguments})}})
            except Exception as problem:
                told.append((type(problem).__name__, str(problem)))
            return [0]
        """
    )
    assert [name for name, _ in said] == [exception]
    assert text in said[0][1]


def test_decoupled_is_a_bool(pair):
    _, said = pair(
        """
        def act(self, request, target):
            for wrong in None, "yes", []:
                try:
                    asked(target, [1]).exec(wrong)
                except TypeError as problem:
                    told.append(str(problem))
            told.append([type(asked(target, [1]).exec(value)).__name__ for value in (1, 0, np.bool_(True))])
            told.extend([str(pb_utils.TRITONSERVER_MEMORY_CPU), repr(pb_utils.TRITONSERVER_MEMORY_GPU)])
            return [0]
        """
    )
    assert said == [
        *[
            f"exec(): incompatible function arguments: decoupled must be a bool, not {x}"
            for x in (None, "'yes'", "[]")
        ],
        ["ResponseIterator", "InferenceResponse", "ResponseIterator"],
        "MemoryType.TRITONSERVER_MEMORY_CPU",
        "<MemoryType.TRITONSERVER_MEMORY_GPU: 0>",
    ]


def test_what_must_be_given_and_the_order_of_arguments(pair):
    _, said = pair(
        """
        def act(self, request, target):
            for missing in "inputs", "requested_output_names", "model_name":
                given = {"inputs": [], "requested_output_names": [], "model_name": target}
                del given[missing]
                try:
                    pb_utils.InferenceRequest(**given)
                except TypeError as problem:
                    told.append(missing in str(problem))
            by_place = pb_utils.InferenceRequest("me", 5, request.inputs(), ["OUT"], target, 1, 0, 0)
            return out(by_place.exec())
        """
    )
    assert said == [True, True, True]


def test_a_received_request_calls_its_own_model(pair):
    answer, _ = pair(
        """
        def act(self, request, target):
            if request.request_id():
                return [3]
            request = pb_utils.InferenceRequest("x", inputs=request.inputs(), requested_output_names=[], model_name="caller")
            return out(request.exec())
        """,
        own={"instances": 2},
    )
    assert answer == [3]


def test_calls_in_a_circle_are_refused(pair):
    _, said = pair(
        """
        async def later(request):
            return await request.async_exec()

        def act(self, request, target):
            told.append(error(asked("caller", [1]).exec()))
            told.append(error(next(asked("caller", [1]).exec(decoupled=True))))
            told.append(error(asyncio.run(later(asked("caller", [1])))))
            told.append(error(request.exec()))
            return [0]
        """
    )
    assert [code for _, code in said] == ["INTERNAL"] * 4  # none of them was sent
    assert all(message.startswith("Model caller - Error when running inference: ") for message, _ in said)
    assert all("wait" in message for message, _ in said)


def test_a_call_is_made_for_the_outer_requests_trace(serve_model):
    told.clear()
    called = serve_model(DOUBLES, name="called")
    caller = serve_model(
        acting(
            """
            def act(self, request, target):
                trace = request.trace()
                told.append(trace.get_context())
                return out(asked(target, [1], trace=trace).exec())
            """
        ),
        beside=called,
        parameters={"target": "called"},
    )
    trace = CoreTrace(context={"traceparent": "00-ab-cd-01"})
    caller.infer(ONES, trace=trace)
    assert caller.core.wait_released(5)
    assert json.loads(told[0]) == {"traceparent": "00-ab-cd-01"}
    starts = [event for event in trace.events if event.name == "REQUEST_START"]
    assert len(starts) == 2
    assert {event.parent_id for event in starts} == {0, starts[0].trace_id}
    caller.infer(ONES)
    assert told[1] is None


def test_calls_are_made_in_initialize_and_finalize(pair, serve_model):
    seen.clear()
    source = DOUBLES.replace(
        "    def execute",
        "    def initialize(self, args):\n        self.ask('first')\n"
        "    def finalize(self):\n        self.ask('last')\n"
        "    def ask(self, name):\n"
        "        request = pb_utils.InferenceRequest(name, inputs=[pb_utils.Tensor('IN', np.ones(1, np.float32))],\n"
        "            requested_output_names=['OUT'], model_name='other')\n"
        "        assert request.exec().output_tensors()[0].as_numpy()[0] == 2\n"
        "    def execute",
    )
    other = serve_model(DOUBLES, name="other")
    model = serve_model(source, beside=other)
    model.core.unload(model.name)
    assert model.core.wait_released(5)
    assert [one[0] for one in seen] == ["first", "last"]


ASKING = """
    def {hook}:
        request = pb_utils.InferenceRequest(inputs=[pb_utils.Tensor("IN", np.ones(1, np.float32))],
            requested_output_names=["OUT"], model_name="other")
        told.append(request.exec().output_tensors()[0].as_numpy()[0])
        return {result}

"""


@pytest.mark.parametrize(
    ("hook", "result"), [("is_ready(self)", "True"), ("auto_complete_config(config)", "config")]
)
def test_calls_are_made_in_other_hooks(serve_model, hook, result):
    told.clear()
    seen.clear()
    asking = ASKING.format(hook=hook, result=result)
    if "self" not in hook:
        asking = "\n    @staticmethod" + asking
    source = "from tests.python_backend.bls_models import told\n" + DOUBLES.replace(
        "class TritonPythonModel:\n", "class TritonPythonModel:\n" + asking
    )
    other = serve_model(DOUBLES, name="other", load=True)
    model = serve_model(source, beside=other)
    assert model.core.is_ready(model.name)
    assert told
    assert set(told) == {2}
