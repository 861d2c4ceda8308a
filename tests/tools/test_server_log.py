import pytest

from triton_backend_sdk.tools.server_log import model_failures, port_in_use, start_error, text_of

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
    ]
    lines = [PREFIX + f'"{text}"' for text in (*failures, "failed to load 'a'", failures[1])]
    assert model_failures(lines) == failures


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
