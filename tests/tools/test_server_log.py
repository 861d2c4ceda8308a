import pytest

from triton_backend_sdk.tools.server_log import (
    model_failures,
    port_in_use,
    start_error,
    text_of,
    waits_in_vain,
)

PREFIX = "E1120 19:32:51.259091 5064 model_lifecycle.cc:642] "
USAGE = ["Usage: tritonserver [options]", "  --help", "\tPrint usage", ""]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (PREFIX + '"Started"', "Started"),
        (PREFIX + r'"a \"quoted\" word\nand a line"', 'a "quoted" word\nand a line'),
        ('2026-11-20T19:32:51Z 5064 E model.cc:1] "Started"', "Started"),
        (PREFIX, ""),
        ("error: creating server", "error: creating server"),
        ('"', '"'),
    ],
)
def test_text_of_a_line(line, text):
    assert text_of(line) == text


def test_model_failures_are_given_once_and_in_order():
    failures = [
        "Poll failed for model directory 'b': failed to read text proto",
        "failed to load 'a' version 1: Internal: no",
        "failed to poll model 'x': model not found in any model repository.",
        "failed to load model 'bare': at least one version must be available under the version policy",
        "Invalid argument: ensemble pipe contains models that are not available or ambiguous: x",
        "Invalid argument: circular dependency between ensembles: pipe -> other -> pipe",
    ]
    lines = [PREFIX + f'"{text}"' for text in (*failures, "failed to load 'a'", failures[-1])]
    assert model_failures(lines) == failures


def test_a_config_that_cannot_be_read_is_given_with_its_place():
    lines = [
        '[libprotobuf ERROR /b/text_format.cc:337] Error parsing text-format inference.ModelConfig: 4:1: Expected ","',
        PREFIX + "\"Poll failed for model directory 'b': failed to read text proto from /m/b/config.pbtxt\"",
        PREFIX + "\"Poll failed for model directory 'c': failed to read text proto from /m/c/config.pbtxt\"",
    ]
    assert model_failures(lines) == [
        "Poll failed for model directory 'b': failed to read text proto from /m/b/config.pbtxt:4:1: Expected \",\"",
        "Poll failed for model directory 'c': failed to read text proto from /m/c/config.pbtxt",
    ]


LOADED = ["loading: m:1", "successfully loaded 'm'"]
FAILED = ["loading: m:1", "failed to load 'm' version 1: Internal: no", "failed to load 'm'"]
GONE = "successfully unloaded 'm' version 1"
LIVE = "Timeout {}: Found {} live models and 0 in-flight non-inference requests"


@pytest.mark.parametrize(
    ("texts", "vain"),
    [
        ([*LOADED, *FAILED, LIVE.format(30, 2), GONE, LIVE.format(29, 1)], True),
        ([*LOADED, *FAILED, LIVE.format(30, 2), GONE], False),  # not counted again yet
        ([*LOADED, *FAILED, LIVE.format(30, 2), LIVE.format(29, 2)], False),  # a model that ends slowly
        ([*LOADED, *FAILED, "loading: n:1", LIVE.format(30, 3), GONE, LIVE.format(29, 2)], False),
        ([*LOADED, LIVE.format(30, 1), GONE, LIVE.format(29, 1)], False),  # counted a moment before it went
        ([*FAILED, LIVE.format(30, 0)], False),
        ([*LOADED, *FAILED, LIVE.format(30, 2).replace(" 0 in", " 1 in"), GONE], False),
        ([], False),
    ],
)
def test_a_stop_waits_in_vain_for_reloads_that_failed_alone(texts, vain):
    assert waits_in_vain([f'{PREFIX}"{text}"' for text in texts]) == vain


def test_port_in_use():
    assert port_in_use([PREFIX + "\"failed: Socket '127.0.0.1:18000' already in use \""]) == 18000
    assert port_in_use([PREFIX + '"Started"']) is None


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["x", "error: creating server: Internal - no"], "creating server: Internal - no"),
        ([PREFIX + '"failed to start HTTP service: x"'], "failed to start HTTP service: x"),
        (["/bin/tritonserver: unrecognized option '--frob=1'", *USAGE], "unrecognized option '--frob=1'"),
        ([*USAGE, 'Bad option: "--log-verbose".', "Invalid option value. Got x", "", ""],
         'Bad option: "--log-verbose". Invalid option value. Got x'),
        (["Segmentation fault"], None),
        ([], None),
    ],
)  # fmt: skip
def test_start_error(lines, error):
    assert start_error(lines) == error
