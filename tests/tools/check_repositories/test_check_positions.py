import pytest

from triton_backend_sdk.tools.check.config_file import ConfigFile

TEXT = """\
# the model
name: "m"   max_batch_size: 4
input [
  { name: "A" data_type: TYPE_FP32 dims: [ 1, -1 ] },
  < name: 'B' dims: 3; dims: 4 >
]
output { name: "a" "b" }
instance_group: { gpus: [ ] }
parameters { key: "x" value { string_value: "}" } }
dynamic_batching { priority_queue_policy [ { key: 1 value { max_queue_size: 2 } } ] }
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("name",), (2, 1)),
        (("max_batch_size",), (2, 13)),
        (("input", 0), (4, 3)),
        (("input", 0, "dims"), (4, 36)),
        (("input", 0, "dims", 1), (4, 47)),
        (("input", 1), (5, 3)),
        (("input", 1, "dims", 0), (5, 21)),
        (("input", 1, "dims", 1), (5, 30)),
        (("output", 0, "name"), (7, 10)),
        (("instance_group", 0, "gpus"), (8, 19)),
        (("parameters",), (9, 1)),
        (("parameters", 0, "value", "string_value"), (9, 31)),
        (("dynamic_batching", "priority_queue_policy"), (10, 20)),
        # What is not written stands where the nearest around it does.
        (("input", 1, "data_type"), (5, 3)),
        (("output", 4, "dims"), (7, 1)),
        (("version_policy",), (None, None)),
    ],
    ids=str,
)
def test_where_a_field_stands(path, place):
    found = ConfigFile("config.pbtxt", TEXT).place(*path)

    assert (found.line, found.column) == place


def test_a_field_in_two_parts_is_counted_on():
    config = ConfigFile("f", "input { name: 'A' }\nmax_batch_size: 1\ninput { name: 'B' }\n")

    assert (config.place("input", 0).line, config.place("input", 1).line) == (1, 3)


@pytest.mark.parametrize(
    "text", ["", "# nothing", "\n\n", "name: 'unclosed", "input {", "\x00", "ü: 1", "a { b < c: [1, } >"]
)
def test_a_text_that_is_no_config_is_an_error_or_nothing(text):
    config = ConfigFile("f", text)

    assert (config.error is None) == (config.message is not None)
    assert config.place("name").line is None
