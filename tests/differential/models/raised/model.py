import json

import helper
import numpy as np
import triton_python_backend_utils as pb_utils


class Custom(Exception):
    pass


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no text")


class Multi(Exception):
    def __str__(self):
        return "first\nsecond"


def cause():
    try:
        json.loads("{")
    except ValueError as error:
        raise Custom("while reading") from error


def context():
    try:
        json.loads("{")
    except ValueError:
        raise Custom("meanwhile")


def lines(depth):
    if depth:
        lines(depth - 1)
    raise Custom("deep")


def syntax():
    compile("x = (", "given", "exec")


class TritonPythonModel:
    def execute(self, requests):
        name = pb_utils.get_input_tensor_by_name(requests[0], "WHAT").as_numpy()[0].decode()
        getattr(self, name)()
        return []

    def custom(self):
        raise Custom("text")

    def empty(self):
        raise Custom

    def unicode(self):
        raise ValueError("schlecht ü ✓ 漢")

    def several_arguments(self):
        raise Custom("a", 1)

    def key_error(self):
        return {}["key"]

    def zero(self):
        return 1 / 0

    def name_error(self):
        return missing  # noqa: F821

    def attribute(self):
        return self.nothing

    def not_callable(self):
        return None()

    def stop_iteration(self):
        raise StopIteration("over")

    def assertion(self):
        assert 1 == 2, "unequal"

    def assertion_plain(self):
        assert not self

    def cause(self):
        cause()

    def context(self):
        context()

    def deep(self):
        lines(3)

    def in_helper(self):
        helper.fails()

    def in_lambda(self):
        return (lambda: 1 / 0)()

    def in_comprehension(self):
        return [1 / x for x in (1, 0)]

    def in_library(self):
        json.loads("{")

    def in_numpy(self):
        return np.zeros((2, 3)) @ np.zeros((2, 3))

    def syntax(self):
        syntax()

    def multi_line(self):
        raise Multi

    def new_lines(self):
        raise ValueError("a\nb\n")

    def unspeakable(self):
        raise Unspeakable

    def os_error(self):
        open("/no/such/file").close()

    def model_exception(self):
        raise pb_utils.TritonModelException("of the model")

    def triton_error(self):
        raise pb_utils.TritonError("not an exception")

    def import_error(self):
        import no_such_module  # noqa: F401

    def group(self):
        raise ExceptionGroup("some", [ValueError("a"), TypeError("b")])  # noqa: F821

    def with_notes(self):
        error = ValueError("noted")
        error.add_note("a note")
        raise error

    def exec_text(self):
        exec("raise ValueError('in exec')")

    def bytes_text(self):
        raise ValueError(b"bytes")

    def null(self):
        raise ValueError("before\0after")

    def long(self):
        raise ValueError("x" * 5000)
