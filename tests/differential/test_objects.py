"""Requests and responses that a model makes, and the requests that it gets."""

from __future__ import annotations

from tests.differential.table import IN_PROCESS, LIFTED, NEWER, STOCK_BUG, Case, Differs, probes

#: What is asked of a request that the model made itself goes to address 0 of the stock backend's server.
WITH = "parameters of responses"
FLOATS = Differs(LIFTED, "floats as parameters", "bool/int/str/float", "bool/int/str")
OWN = "the stock server dies of a made request's sender or is_cancelled"

TABLE = [
    Case(
        "requests",
        probes=probes(
            "defaults all_arguments positional nothing no_model_name unknown_keyword inputs_none inputs_array "
            "inputs_with_none inputs_tuple inputs_generator no_inputs outputs_text outputs_none outputs_with_none "
            "outputs_empty_name outputs_twice outputs_kind model_name_int version_text version_float "
            "request_id_int correlation_id_negative correlation_id_text correlation_id_none correlation_id_big "
            "correlation_id_too_big flags_negative flags_none timeout_negative timeout_float parameters_text "
            "parameters_list parameters_int_key parameters_none_value parameters_list_value parameters_float "
            "parameters_order parameters_empty parameters_numpy trace_none trace_of_request trace_context "
            "memory_none memory_int memory memory_keywords memory_of_int memory_nothing set_flags set_flags_text "
            "set_flags_keyword release_flags_wrong release_flags_all release_flags_text release_flags_zero "
            "sender_of_own own_is_cancelled is_cancelled received received_kinds received_outputs received_input "
            "same_input_objects same_array new_attribute subclass_of_pb",
            correlation_id_negative=Differs(
                STOCK_BUG, "what cannot be a correlation id", "TypeError", "Unable to cast"
            ),
            correlation_id_too_big=Differs(
                STOCK_BUG, "what cannot be a correlation id", "TypeError", "Unable to cast"
            ),
            parameters_text=Differs(
                STOCK_BUG, "pybind11's name of dict", "must be a dict", "N8pybind114dictE"
            ),
            parameters_list=Differs(
                STOCK_BUG, "pybind11's name of dict", "must be a dict", "N8pybind114dictE"
            ),
            parameters_float=Differs(LIFTED, "floats as parameters", '{"a": 1.5}', "bool/int/str"),
            parameters_none_value=FLOATS,
            parameters_list_value=FLOATS,
            parameters_numpy=FLOATS,
            correlation_id_none=Differs(
                NEWER, "correlation ids of text", "must be integer or string", "incompatible"
            ),
            trace_none=Differs(LIFTED, "None is as if not given", "InferenceRequest object", "TypeError"),
            memory_none=Differs(LIFTED, "None is as if not given", "InferenceRequest object", "TypeError"),
            received_input=Differs(STOCK_BUG, "triton_dtype()", "13", "Unable to convert"),
            sender_of_own=Differs(
                STOCK_BUG, OWN, "TritonModelException: Unable to send response", stock=None
            ),
            own_is_cancelled=Differs(STOCK_BUG, OWN, "False|Exception", stock=None),
        ),
    ),
    Case(
        "responses",
        probes=probes(
            "nothing tensors keywords positional_error tensors_none tensors_with_none tensors_array tensors_arrays "
            "one_tensor tensors_tuple tensors_generator tensors_dict error_text error_exception "
            "error_model_exception unknown_keyword with_parameters without_parameters parameters_list "
            "parameters_int_key parameters_bytes changed_list changed_result same_tensor error_default_code "
            "error_with_code error_keywords error_int_code error_none error_of_exception error_of_int "
            "error_nothing error_empty error_unicode error_bytes error_code_none raise_error error_is_exception "
            "code_compared codes_written",
            codes_written=Differs(
                IN_PROCESS, "constants can be changed, to one's own harm", "None", "no setter"
            ),
            with_parameters=Differs(NEWER, WITH, '{"b": 1, "a": "x", "c": true}', "TypeError"),
            without_parameters=Differs(NEWER, WITH, "{}", "AttributeError"),
            parameters_int_key=Differs(NEWER, WITH, "Expect parameters keys to have type str", "TypeError"),
            parameters_bytes=Differs(NEWER, WITH, "Expect parameters values to have type", "TypeError"),
        ),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
