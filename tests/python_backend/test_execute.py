"""The ways in which a model.py answers."""

from __future__ import annotations

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError

DOUBLES = """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * 2)]))
        return responses
"""
FLOATS = {"IN": np.arange(3, dtype=np.float32)}


def test_a_model_answers(serve_model):
    served = serve_model(DOUBLES)
    np.testing.assert_array_equal(served.infer(FLOATS)["OUT"], [0, 2, 4])


def test_an_exception_is_told_as_the_stock_backend_does(serve_model):
    served = serve_model(
        """
        def inner():
            raise ValueError("no good")

        class TritonPythonModel:
            def execute(self, requests):
                inner()
        """
    )
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    file = served.repository / served.name / "1" / "model.py"
    assert raised.value.message == (
        f"Failed to process the request(s) for model '{served.name}_0_0', message: ValueError: no good\n\n"
        f"At:\n  {file}(5): inner\n  {file}(9): execute\n"
    )


def test_a_request_fails_alone_with_a_code(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                error = pb_utils.TritonError("not that", pb_utils.TritonError.INVALID_ARG)
                return [pb_utils.InferenceResponse(error=error) for request in requests]
        """
    )
    with pytest.raises(InvalidArgError, match="not that"):
        served.infer(FLOATS)


def test_a_decoupled_model_sends(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                for request in requests:
                    sender = request.get_response_sender()
                    array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                    for item in array:
                        output = pb_utils.Tensor("OUT", np.array([item]))
                        sender.send(pb_utils.InferenceResponse([output]))
                    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        """,
        decoupled=True,
    )
    assert [float(response["OUT"][0]) for response in served.stream(FLOATS)] == [0, 1, 2]


def test_a_sender_answers_in_default_mode(serve_model):
    served = serve_model(
        """
        import threading

        class TritonPythonModel:
            def execute(self, requests):
                for request in requests:
                    array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                    response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array + 1)])
                    sender = request.get_response_sender()
                    threading.Thread(target=sender.send, args=(response, 1)).start()
                return [None] * len(requests)
        """
    )
    np.testing.assert_array_equal(served.infer(FLOATS)["OUT"], [1, 2, 3])


def test_a_none_that_nobody_answers_is_an_error(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                return [None] * len(requests)
        """
    )
    with pytest.raises(InternalError, match="execute returned None for the request"):
        served.infer(FLOATS)


def test_initialize_gets_its_arguments_as_strings(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def initialize(self, args):
                assert all(type(value) is str for value in args.values()), args
                assert sorted(args) == ["model_config", "model_instance_device_id", "model_instance_kind",
                    "model_instance_name", "model_name", "model_repository", "model_version"]

            def execute(self, requests):
                return [pb_utils.InferenceResponse([request.inputs()[0]]) for request in requests]
        """,
        outputs={"IN": ("FP32", [-1])},
    )
    np.testing.assert_array_equal(served.infer(FLOATS)["IN"], [0, 1, 2])


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ('raise ValueError("no")', "message: ValueError: no\n\nAt:\n"),
        ("return [None]", "is using the decoupled mode and the execute function must return None."),
    ],
)
def test_a_decoupled_model_that_fails_ends_what_is_open(serve_model, ending, told):
    served = serve_model(
        f"""
        class TritonPythonModel:
            def execute(self, requests):
                sender = requests[0].get_response_sender()
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([1]))]))
                {ending}
        """,
        decoupled=True,
    )
    first, second = served.responses(FLOATS)
    assert first["OUT"].tolist() == [1]
    assert told in str(second)


def test_a_model_may_keep_its_requests_and_still_be_unloaded(serve_model):
    served = serve_model(
        """
        kept = []

        class TritonPythonModel:
            def execute(self, requests):
                kept.append(requests)
                tensor = requests[0].inputs()[0]
                kept.append(tensor)
                for request in kept[0]:
                    assert request.request_id() == "a" and request.inputs()[0].as_numpy().sum() == 3
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())])]
        """
    )
    for _ in range(3):
        assert served.infer(FLOATS, request_id="a")["OUT"].tolist() == [0, 1, 2]
    assert served.core.wait_released(5)
    served.core.unload(served.name)


LARGE = {"IN": np.arange(10_000, dtype=np.float32)}


def test_inputs_that_are_kept_are_copied_from_then_on(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def initialize(self, args):
                self.kept = []

            def execute(self, requests):
                self.kept = self.kept[-1:] + [self.look(requests[0])]
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", self.kept[-1])])]

            def look(self, request):
                return getattr(request.inputs()[0], "as_numpy")()[::2]
        """
    )
    for _ in range(4):
        assert served.infer(LARGE)["OUT"][1] == 2
    assert served.core.wait_released(5)
    assert (
        served.log.count("it keeps an array of an input after execute: from now on its inputs are copied")
        == 1
    )


def test_an_input_that_is_sent_back_is_not_kept(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                array = requests[0].inputs()[0].as_numpy()
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array.reshape(2, -1)), pb_utils.Tensor("X", array)])]
        """
    )
    served.infer(LARGE)
    assert "it keeps an array" not in served.log


def test_a_write_that_was_not_foreseen_is_done_on_a_copy(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                array = getattr(requests[0].inputs()[0], "as_numpy")()
                getattr(array, "fill")(7)
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)])]
        """
    )
    assert served.infer(LARGE)["OUT"][9] == 7
    assert served.infer(LARGE)["OUT"][9] == 7
    assert served.log.count("from now on its inputs are copied") == 1


def test_dlpack_both_ways(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                tensor = requests[0].inputs()[0]
                assert tensor.__dlpack_device__() == (1, 0)
                array = np.from_dlpack(tensor)
                whole = pb_utils.Tensor.from_dlpack("OUT", array + 1)
                capsule = pb_utils.Tensor.from_dlpack("X", pb_utils.Tensor("Y", np.float32([5])).to_dlpack())
                assert capsule.as_numpy().tolist() == [5] and capsule.shape() == [1] and capsule.is_cpu()
                for wrong in (3, np.zeros((4, 4), np.float32)[:, ::2]):
                    try:
                        pb_utils.Tensor.from_dlpack("Z", wrong)
                    except pb_utils.TritonModelException as error:
                        assert "is not supported" in str(error) or "not contiguous" in str(error), error
                    else:
                        raise AssertionError(wrong)
                return [pb_utils.InferenceResponse([whole])]
        """
    )
    assert served.infer(FLOATS)["OUT"].tolist() == [1, 2, 3]


def test_strings_are_sent_as_they_were_when_the_tensor_was_made(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                array = np.array([b"a", "b", 3], dtype=object)
                tensor = pb_utils.Tensor("OUT", array)
                assert tensor.as_numpy() is array
                array[:] = b"later"
                return [pb_utils.InferenceResponse([tensor])]
        """,
        outputs={"OUT": ("BYTES", [-1])},
    )
    assert served.infer(FLOATS)["OUT"].tolist() == [b"a", b"b", b"3"]


def test_an_import_that_fails_is_told_with_pythons_frames(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                import bad
        """,
        helpers={"bad.py": "raise ValueError('late')"},
    )
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    told = [line.rpartition("/")[2] for line in raised.value.message.partition("At:\n")[2].splitlines()]
    names = [line.rpartition(" ")[2] for line in told]
    assert names[0] == "<module>"
    assert names[-2:] == ["_find_and_load", "execute"]
    assert not {"import_module", "_gcd_import"} & set(names)
    assert (told[0], told[-1]) == ("bad.py(1): <module>", "model.py(6): execute")


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ("ValueError()", "ValueError: <EMPTY MESSAGE>\n\nAt:\n"),
        ("Unspeakable()", "Unspeakable: <MESSAGE UNAVAILABLE DUE TO ANOTHER EXCEPTION>\n\nAt:\n"),
    ],
)
def test_an_exception_without_text(serve_model, exception, message):
    served = serve_model(
        f"""
        class Unspeakable(Exception):
            def __str__(self):
                raise ValueError("no text")

        class TritonPythonModel:
            def execute(self, requests):
                raise {exception}
        """
    )
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    assert message in raised.value.message
    ending = "\n\nMESSAGE UNAVAILABLE DUE TO EXCEPTION: ValueError: no text\n\nAt:\n"
    assert (ending in raised.value.message) == (exception == "Unspeakable()")


ITERATIVE = """
sequence_batching {
  iterative_sequence: true
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
}
"""


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_a_request_is_executed_again(serve_model, decoupled, early):
    served = serve_model(
        f"""
        class TritonPythonModel:
            def initialize(self, args):
                self.count = 0

            def execute(self, requests):
                [request] = requests
                self.count += 1
                response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([self.count]))])
                if {early}:
                    request.get_response_sender()
                if self.count < 3:
                    if {decoupled}:
                        request.get_response_sender().send(response)
                    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
                    return None if {decoupled} else [None]
                if {decoupled}:
                    request.get_response_sender().send(response, 1)
                    return None
                return [response]
        """,
        decoupled=decoupled,
        extra=ITERATIVE,
    )
    found = [
        float(response["OUT"][0]) for response in served.stream(FLOATS, correlation_id=7, sequence_start=True)
    ]
    assert found == ([1, 2, 3] if decoupled else [3])
