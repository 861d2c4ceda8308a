import importlib
import importlib.util
import os
import pickle
import sys

import helper
import in_model_dir_too
import numpy as np
import package
import triton_python_backend_utils as pb_utils
from package import inner
from package.deep.leaf import LEAF
from probes import Probes

from . import helper as relative_helper
from .relative import WORD

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def plain(path):
    return path.replace(ROOT, "ROOT")


class Kept:
    def __init__(self, value):
        self.value = value


class TritonPythonModel(Probes):
    def names(self):
        return __name__, __package__, plain(__file__)

    def spec(self):
        return __spec__.name, plain(__spec__.origin)

    def helpers_are_two(self):
        return (
            helper is relative_helper,
            helper.__name__,
            relative_helper.__name__,
            helper.WORD,
            relative_helper.WORD,
        )

    def relative(self):
        return WORD

    def package(self):
        return package.WORD, inner.WORD, LEAF, inner.__name__, package.__name__

    def package_relative(self):
        return inner.up()

    def files(self):
        return [plain(module.__file__) for module in (helper, inner)]

    def lazy(self):
        import lazy_helper

        return lazy_helper.WORD, lazy_helper.count()

    def lazy_again(self):
        import lazy_helper

        return lazy_helper.count()

    def lazy_from(self):
        from lazy_helper import count

        return count()

    def lazy_missing(self):
        import not_there  # noqa: F401

    def lazy_missing_name(self):
        from helper import not_there  # noqa: F401

    def relative_missing(self):
        from .not_there import x  # noqa: F401

    def relative_above(self):
        from ... import x  # noqa: F401

    def of_version_package(self):
        from ..nothing import x  # noqa: F401

    def model_dir(self):
        return in_model_dir_too.WORD

    def import_model(self):
        import model

        return model.__name__, plain(model.__file__), model is sys.modules[__name__]

    def import_itself(self):
        return importlib.import_module(__name__) is sys.modules[__name__]

    def import_module(self):
        return importlib.import_module("helper").WORD, importlib.import_module("package.inner").WORD

    def import_module_relative(self):
        return importlib.import_module(".helper", __package__).WORD

    def dunder_import(self):
        return __import__("helper").WORD, __import__("package.inner").inner.WORD

    def in_sys_modules(self):
        return "helper" in sys.modules, "package.inner" in sys.modules, __name__ in sys.modules

    def sys_modules_is_helper(self):
        return sys.modules["helper"] is helper

    def sys_path(self):
        return [plain(entry) for entry in sys.path if "imports" in entry]

    def sys_path_has_utils(self):
        return any(
            os.path.isfile(os.path.join(entry, "triton_python_backend_utils.py")) for entry in sys.path
        )

    def sys_argv(self):
        return type(sys.argv).__name__, len(sys.argv) > 0

    def sys_path_appended(self):
        sys.path.append(os.path.join(pb_utils.get_model_dir(), "extra"))
        import extra_module

        return extra_module.WORD

    def sys_path_first(self):
        sys.path.insert(0, os.path.join(pb_utils.get_model_dir(), "first"))
        import first_module

        return first_module.WORD

    def pickled(self):
        return pickle.loads(pickle.dumps(Kept(3))).value

    def pickled_of_helper(self):
        return pickle.loads(pickle.dumps(helper.Thing(5))).value, pickle.dumps(helper.Thing(5)).count(
            b"helper"
        ) > 0

    def pickle_made_elsewhere(self):
        return pickle.loads(b"chelper\nThing\n(I7\ntR.").value

    def reloaded(self):
        before = helper.WORD
        helper.WORD = "changed"
        return before, importlib.reload(helper).WORD

    def circular(self):
        import circle_a

        return circle_a.both()

    def standard_library(self):
        import json

        return json.loads("[1]"), importlib.import_module("json") is json

    def numpy_is_shared(self):
        return helper.np is np

    def shadowed_standard(self):
        import string

        return hasattr(string, "ascii_letters")

    def star(self):
        return helper.starred()

    def find_spec(self):
        return plain(importlib.util.find_spec("helper").origin), importlib.util.find_spec("not_there")

    def namespace_package(self):
        import spaced.part

        return spaced.part.WORD

    def data_file(self):
        with open(os.path.join(os.path.dirname(__file__), "data.txt")) as file:
            return file.read()

    def package_resources(self):
        from importlib import resources

        return resources.files("package").joinpath("inner.py").read_text().splitlines()[0]

    def main_module(self):
        return sys.modules["__main__"].__name__

    def class_module(self):
        return Kept.__module__, TritonPythonModel.__qualname__

    def globals_name(self):
        return globals()["__name__"]

    def dataclass(self):
        return helper.data()

    def type_hints(self):
        return helper.hints()

    def triton_module_again(self):
        import triton_python_backend_utils

        return triton_python_backend_utils is pb_utils, helper.pb_utils is pb_utils

    def utils_in_sys_modules(self):
        return sys.modules["triton_python_backend_utils"].__name__
