import json

import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


def tensor(name="T"):
    return pb_utils.Tensor(name, np.zeros(1, np.int8))


def make(**changes):
    return pb_utils.InferenceRequest(
        **{"model_name": "m", "inputs": [tensor()], "requested_output_names": ["OUT"], **changes}
    )


class TritonPythonModel(Probes):
    def defaults(self):
        r = make()
        return (
            r.request_id(),
            r.correlation_id(),
            r.flags(),
            r.timeout(),
            r.parameters(),
            r.requested_output_names(),
            [t.name() for t in r.inputs()],
        )

    def all_arguments(self):
        r = make(
            request_id="7",
            correlation_id=8,
            model_version=2,
            flags=3,
            timeout=9,
            parameters={"a": 1, "b": "x"},
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        )
        return r.request_id(), r.correlation_id(), r.flags(), r.timeout(), r.parameters()

    def positional(self):
        r = pb_utils.InferenceRequest("id", 5, [tensor()], ["OUT"], "m", 3, 1, 100)
        return r.request_id(), r.correlation_id(), r.flags(), r.timeout()

    def nothing(self):
        return pb_utils.InferenceRequest()

    def no_model_name(self):
        return pb_utils.InferenceRequest(inputs=[], requested_output_names=[])

    def unknown_keyword(self):
        return make(nonsense=1)

    def inputs_none(self):
        return make(inputs=None)

    def inputs_array(self):
        return make(inputs=[np.zeros(1)])

    def inputs_with_none(self):
        return make(inputs=[None], request_id="r")

    def inputs_tuple(self):
        return len(make(inputs=(tensor(), tensor("U"))).inputs())

    def inputs_generator(self):
        return make(inputs=(t for t in [tensor()]))

    def no_inputs(self):
        return make(inputs=[]).inputs()

    def outputs_text(self):
        return make(requested_output_names="OUT")

    def outputs_none(self):
        return make(requested_output_names=None)

    def outputs_with_none(self):
        return make(requested_output_names=[None])

    def outputs_empty_name(self):
        return make(requested_output_names=[""], request_id="r")

    def outputs_twice(self):
        return sorted(make(requested_output_names=["B", "A", "B"]).requested_output_names())

    def outputs_kind(self):
        return type(make(requested_output_names=["B", "A"]).requested_output_names()).__name__

    def model_name_int(self):
        return make(model_name=5)

    def version_text(self):
        return make(model_version="1")

    def version_float(self):
        return make(model_version=1.5)

    def request_id_int(self):
        return make(request_id=5)

    def correlation_id_negative(self):
        return make(correlation_id=-1)

    def correlation_id_text(self):
        return make(correlation_id="abc").correlation_id()

    def correlation_id_none(self):
        return make(correlation_id=None)

    def correlation_id_big(self):
        return make(correlation_id=2**64 - 1).correlation_id()

    def correlation_id_too_big(self):
        return make(correlation_id=2**64)

    def flags_negative(self):
        return make(flags=-1)

    def flags_none(self):
        return make(flags=None)

    def timeout_negative(self):
        return make(timeout=-1)

    def timeout_float(self):
        return make(timeout=1.5)

    def parameters_text(self):
        return make(parameters="x")

    def parameters_list(self):
        return make(parameters=[1])

    def parameters_int_key(self):
        return make(parameters={1: "x"})

    def parameters_none_value(self):
        return make(parameters={"a": None})

    def parameters_list_value(self):
        return make(parameters={"a": [1]})

    def parameters_float(self):
        return make(parameters={"a": 1.5}).parameters()

    def parameters_order(self):
        return make(parameters={"b": 1, "a": True, "c": "ü"}).parameters()

    def parameters_empty(self):
        return make(parameters={}).parameters()

    def parameters_numpy(self):
        return make(parameters={"a": np.int64(1)}).parameters()

    def trace_none(self):
        return make(trace=None)

    def trace_of_request(self):
        return make(trace=self.request.trace()).trace().get_context()

    def trace_context(self):
        return self.request.trace().get_context()

    def memory_none(self):
        return make(preferred_memory=None)

    def memory_int(self):
        return make(preferred_memory=1)

    def memory(self):
        return [
            type(pb_utils.PreferredMemory(*arguments)).__name__
            for arguments in ((pb_utils.TRITONSERVER_MEMORY_CPU,), (pb_utils.TRITONSERVER_MEMORY_GPU, 1))
        ]

    def memory_keywords(self):
        kind = pb_utils.TRITONSERVER_MEMORY_CPU
        return type(pb_utils.PreferredMemory(preferred_memory_type=kind, preferred_device_id=2)).__name__

    def memory_of_int(self):
        return pb_utils.PreferredMemory(1)

    def memory_nothing(self):
        return pb_utils.PreferredMemory()

    def set_flags(self):
        r = make()
        result = r.set_flags(pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
        return result, r.flags()

    def set_flags_text(self):
        return make().set_flags("1")

    def set_flags_keyword(self):
        return make().set_flags(flags=1)

    def release_flags_wrong(self):
        return self.request.set_release_flags(3)

    def release_flags_all(self):
        return self.request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)

    def release_flags_text(self):
        return self.request.set_release_flags("1")

    def release_flags_zero(self):
        return make().set_release_flags(0)

    def sender_of_own(self):
        return make().get_response_sender().send(pb_utils.InferenceResponse([]))

    def own_is_cancelled(self):
        return make().is_cancelled()

    def is_cancelled(self):
        return self.request.is_cancelled()

    def received(self):
        r = self.request
        return r.request_id(), r.correlation_id(), r.flags(), r.timeout(), json.loads(r.parameters())

    def received_kinds(self):
        r = self.request
        found = (r.inputs(), r.request_id(), r.correlation_id(), r.parameters(), r.requested_output_names())
        return [type(item).__name__ for item in found]

    def received_outputs(self):
        return sorted(self.request.requested_output_names())

    def received_input(self):
        [tensor] = self.request.inputs()
        array = tensor.as_numpy()
        return tensor.name(), tensor.triton_dtype(), tensor.shape(), array.dtype.name, type(array[0]).__name__

    def same_input_objects(self):
        return self.request.inputs()[0] is self.request.inputs()[0]

    def same_array(self):
        tensor = self.request.inputs()[0]
        return tensor.as_numpy() is tensor.as_numpy()

    def new_attribute(self):
        try:
            self.request.note = 1
        except AttributeError:
            return "refused"

    def subclass_of_pb(self):
        class Mine(pb_utils.InferenceRequest):
            pass

        return Mine(model_name="m", inputs=[], requested_output_names=[]).request_id()
