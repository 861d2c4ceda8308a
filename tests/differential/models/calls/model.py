import threading

import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


def request(*texts, model="callee", outputs=("OUT",), inputs=None, **more):
    if inputs is None:
        inputs = [pb_utils.Tensor("IN", np.array(texts, object))]
    return pb_utils.InferenceRequest(
        model_name=model, requested_output_names=list(outputs), inputs=inputs, **more
    )


def shown(response):
    if response.has_error():
        return "error", str(response.error().code()), response.error().message()
    return [(tensor.name(), tensor.as_numpy().tolist()) for tensor in response.output_tensors()]


class TritonPythonModel(Probes):
    def good(self):
        return shown(request("a", "ü").exec())

    def error_is_none(self):
        return request("a").exec().error()

    def two_outputs(self):
        return shown(request("a", outputs=["TOLD", "OUT"], request_id="7").exec())

    def told(self):
        return shown(
            request(
                "a",
                outputs=["TOLD"],
                request_id="x",
                correlation_id=5,
                flags=1,
                timeout=99999999,
                parameters={"b": 1, "a": "ü", "c": True},
            ).exec()
        )

    def no_outputs(self):
        return [name for name, _ in shown(request("a", outputs=[]).exec())]

    def version(self):
        return shown(request("a", model_version=1).exec())

    def wrong_version(self):
        return shown(request("a", model_version=3).exec())

    def unknown_model(self):
        return shown(request("a", model="no_such_model").exec())

    def empty_model_name(self):
        return shown(request("a", model="").exec())

    def unknown_output(self):
        return shown(request("a", outputs=["NO"]).exec())

    def unknown_input(self):
        return shown(request(inputs=[pb_utils.Tensor("NO", np.array(["a"], object))]).exec())

    def no_input(self):
        return shown(request(inputs=[]).exec())

    def wrong_datatype(self):
        return shown(request(inputs=[pb_utils.Tensor("IN", np.zeros(1, np.float32))]).exec())

    def wrong_shape(self):
        return shown(request(inputs=[pb_utils.Tensor("IN", np.array([["a"]], object))]).exec())

    def input_twice(self):
        tensor = pb_utils.Tensor("IN", np.array(["a"], object))
        return shown(request(inputs=[tensor, tensor]).exec())

    def empty_input(self):
        return shown(request().exec())

    def callee_raises(self):
        return shown(request("raise").exec())

    def callee_errors(self):
        codes = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS CANCELLED"
        return [shown(request(code).exec()) for code in codes.split()]

    def output_by_name(self):
        response = request("a").exec()
        return pb_utils.get_output_tensor_by_name(response, "OUT").as_numpy().tolist()

    def input_passed_on(self):
        return shown(request(inputs=[self.request.inputs()[0]]).exec())

    def output_passed_on(self):
        first = request("a").exec().output_tensors()[0]
        return shown(request(inputs=[pb_utils.Tensor("IN", first.as_numpy())]).exec())

    def output_tensor_renamed(self):
        first = request("a").exec().output_tensors()[0]
        return shown(request(inputs=[first]).exec())

    def same_request_twice(self):
        r = request("a")
        return shown(r.exec()), shown(r.exec())

    def exec_none(self):
        return request("a").exec(decoupled=None)

    def exec_positional(self):
        return shown(request("a").exec(False))

    def exec_text(self):
        return request("a").exec("yes")

    def received_executed(self):
        return shown(self.request.exec())

    def in_thread(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(shown(request("thread").exec())))
        thread.start()
        thread.join(10)
        return found

    def in_threads(self):
        found = [None] * 4

        def run(number):
            found[number] = shown(request(str(number)).exec())

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return found

    def preferred_memory(self):
        memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU)
        tensor = request("a", preferred_memory=memory).exec().output_tensors()[0]
        return tensor.is_cpu(), tensor.as_numpy().tolist()

    def preferred_memory_keywords(self):
        memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)
        return shown(request("a", preferred_memory=memory).exec())

    def with_trace(self):
        return shown(request("a", trace=self.request.trace()).exec())

    def decoupled_of_default(self):
        return [shown(response) for response in request("a").exec(decoupled=True)]

    def async_outside(self):
        return request("a").async_exec()

    def sequence(self):
        start, end = (
            pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
            pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
        )
        found = []
        for number, flags in ((1, start), (2, 0), (3, end)):
            tensor = pb_utils.Tensor("IN", np.array([number], np.int32))
            found.append(
                shown(
                    request(model="callee_sequence", inputs=[tensor], correlation_id=11, flags=flags).exec()
                )
            )
        return found

    def sequence_set_flags(self):
        tensor = pb_utils.Tensor("IN", np.array([5], np.int32))
        r = request(model="callee_sequence", inputs=[tensor], correlation_id=12)
        r.set_flags(
            pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
            | pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
        )
        return shown(r.exec())

    def sequence_without_start(self):
        tensor = pb_utils.Tensor("IN", np.array([5], np.int32))
        return shown(request(model="callee_sequence", inputs=[tensor], correlation_id=13).exec())

    def sequence_text(self):
        tensor = pb_utils.Tensor("IN", np.array([5], np.int32))
        return shown(request(model="callee_sequence", inputs=[tensor], correlation_id="text", flags=1).exec())

    def add_sub(self):
        a = np.array([[1, 2, 3, 4]], np.float32)
        tensors = [pb_utils.Tensor("A", a), pb_utils.Tensor("B", a.T.reshape(1, 4))]
        return shown(request(model="add_sub", inputs=tensors, outputs=["DIFFERENCE", "SUM"]).exec())

    def not_contiguous(self):
        a = np.arange(8, dtype=np.float32).reshape(1, 8)[:, ::2]
        return shown(
            request(model="add_sub", inputs=[pb_utils.Tensor(n, a) for n in "AB"], outputs=["SUM"]).exec()
        )

    def large(self):
        text = "x" * 2_000_000
        [(_, [found])] = shown(request(text).exec())
        return found == text.encode()

    def many(self):
        return sum(shown(request(str(n)).exec()) == [("OUT", [str(n).encode()])] for n in range(50))

    def kept_outputs(self):
        kept = [request(str(n)).exec().output_tensors()[0] for n in range(5)]
        return [tensor.as_numpy().tolist() for tensor in kept]

    def response_kind(self):
        return type(request("a").exec()).__name__

    def output_written(self):
        a = np.array([[1, 2, 3, 4]], np.float32)
        response = request(
            model="add_sub", inputs=[pb_utils.Tensor(n, a) for n in "AB"], outputs=["SUM"]
        ).exec()
        array = response.output_tensors()[0].as_numpy()
        array[0, 0] = 99
        return array.tolist()
