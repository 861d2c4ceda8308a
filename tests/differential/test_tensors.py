"""Names, tensors, DLPack and conversions, as a model finds them."""

from __future__ import annotations

from tests.differential.table import LIFTED, STOCK_BUG, Case, Differs, probes

#: The stock backend of 24.10 takes from_dlpack of memory of the CPU for one of a GPU's, and its stub dies.
DIES = "from_dlpack of CPU memory ends the stock stub"


NO_DTYPE = Differs(STOCK_BUG, "triton_dtype()", r"\d", "Unable to convert function return value")
MORE = Differs(LIFTED, "the utils module has the names of the C module too", "True", "AttributeError|False")


def dlpack(ours: str) -> Differs:
    return Differs(STOCK_BUG, DIES, ours, stock=None)


TABLE = [
    Case(
        "names",
        probes=probes(
            "module functions classes classes_of_c more_classes methods_of_tensor methods_of_request methods_of_response methods_of_sender "
            "methods_of_iterator methods_of_error methods_of_trace methods_of_logger methods_of_family "
            "methods_of_metric methods_of_model_config constants memory_constants memory_repr memory_other_names "
            "metric_kinds metric_kinds_elsewhere histogram log_levels log_level_class error_codes error_code_text "
            "string_to_numpy string_to_numpy_is_a_dict numpy_of_module is_model_ready no_such_name star c_module "
            "c_module_more class_names modules_of_classes exception_bases exception_raised model_dir "
            "model_dir_argument",
            more_classes=MORE,
            memory_other_names=MORE,
            metric_kinds_elsewhere=MORE,
        ),
    ),
    Case(
        "tensors",
        probes=probes(
            "basics shape_kind scalar_array numpy_scalar python_scalar list_of_ints list_of_floats list_of_texts "
            "tuple_of_ints text nothing no_arguments name_only keyword_arguments too_many empty_name name_none "
            "name_int name_bytes name_unicode dtypes objects fixed_bytes fixed_unicode complex_numbers dates "
            "structured longdouble big_endian not_contiguous stepped reversed_objects same_memory "
            "as_numpy_is_the_array empty subclass_of_array memoryview repr new_attribute subclass "
            "as_numpy_argument equal",
            basics=NO_DTYPE,
            dtypes=NO_DTYPE,
            objects=NO_DTYPE,
            fixed_bytes=NO_DTYPE,
            subclass_of_array=Differs(
                STOCK_BUG, "subclasses of ndarray", r"\(2,\)", "no attribute 'c_contiguous'"
            ),
        ),
    ),
    Case(
        "dlpack",
        probes=probes(
            "of_an_array of_a_capsule of_an_object of_every_dtype of_bool of_complex of_a_transposed of_a_stepped "
            "of_an_empty of_a_scalar of_one_column of_a_list of_nothing empty_name no_name capsule_twice "
            "on_an_object to_numpy to_capsule there_and_back tensor_of_tensor bool_to_numpy strings device "
            "with_stream with_stream_positional shares_memory outlives_its_source export_outlives_tensor "
            "input_exported",
            on_an_object=Differs(
                LIFTED, "from_dlpack called on an object", "'U'", "incompatible function arguments"
            ),
            of_an_array=dlpack(
                r"\('T', \[2, 3\], 11, \[\[0\.0, 1\.0, 2\.0\], \[3\.0, 4\.0, 5\.0\]\], True\)"
            ),
            of_a_capsule=dlpack(r"\(\[3\], \[0, 1, 2\]\)"),
            of_an_object=dlpack(r"\[0, 1, 2\]"),
            of_every_dtype=dlpack(r"\[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12\]"),
            of_bool=dlpack("1"),
            of_complex=dlpack("TritonModelException: complex64 is no datatype"),
            of_a_stepped=dlpack("DLPack tensor is not contiguous"),
            of_an_empty=dlpack(r"\[0, 3\]"),
            of_a_scalar=dlpack(r"\[\]"),
            of_one_column=dlpack(r"\[6, 1\]"),
            capsule_twice=dlpack("Error|Exception"),
            shares_memory=dlpack(r"\[0.0, 5.0, 0.0\]"),
            outlives_its_source=dlpack("3000.0"),
        ),
    ),
    Case(
        "conversions",
        probes=probes(
            "to_numpy to_numpy_of_others to_numpy_of_bf16 to_numpy_text to_triton to_triton_of_types to_triton_of_others of_string of_unknown_string "
            "of_bf16 serialize serialize_empty serialize_fixed serialize_unicode serialize_numbers serialize_list "
            "serialize_matrix serialize_numpy_bytes deserialize deserialize_nothing deserialize_short "
            "deserialize_short_length deserialize_array deserialize_memoryview input_config output_config "
            "config_text decoupled decoupled_missing input_by_name input_by_keyword input_of_none output_by_name "
            "output_by_keyword output_of_list",
            of_bf16=Differs(LIFTED, "BF16 has a NumPy type", "bfloat16|float32", "KeyError"),
            to_numpy_of_bf16=Differs(LIFTED, "BF16 has a NumPy type", "bfloat16|float32", "None"),
        ),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
