"""Imports of a model's own files, and what models and instances see of each other."""

from __future__ import annotations

from tests.differential.calls import Infer, Together, request
from tests.differential.table import IN_PROCESS, LIFTED, Case, Differs, probes, step

HELPERS = "words lazy counted counted_again missing"
ABOVE = Differs(
    IN_PROCESS, "the instance's root is above all of its packages", "leaf", "beyond top-level package"
)
EARLY = "all names are there while model.py is imported"
X = request(IN="x")

TABLE = [
    Case(
        "imports",
        probes=probes(
            "names spec helpers_are_two relative package package_relative files lazy lazy_again lazy_from "
            "lazy_missing lazy_missing_name relative_missing relative_above of_version_package model_dir "
            "import_model import_itself import_module import_module_relative dunder_import in_sys_modules "
            "sys_modules_is_helper sys_path sys_path_has_utils sys_argv sys_path_appended sys_path_first pickled "
            "pickled_of_helper pickle_made_elsewhere reloaded circular standard_library numpy_is_shared "
            "shadowed_standard star find_spec namespace_package data_file package_resources main_module "
            "class_module globals_name dataclass type_hints triton_module_again utils_in_sys_modules",
            package_relative=ABOVE,
            of_version_package=Differs(
                IN_PROCESS, ABOVE.note, "No module named 'nothing'", "beyond top-level"
            ),
            import_model=Differs(
                LIFTED, "import model, where model.py has relative imports", "model.py", "no known parent"
            ),
            sys_path_has_utils=Differs(IN_PROCESS, "the folder of the utils module", "False", "True"),
        ),
    ),
    Case("helpers_one", probes=probes(HELPERS)),
    Case("helpers_two", probes=probes(HELPERS)),
    Case("instances", (step("two at once", Together([X, X])), step("two more", Together([X, X])))),
    Case(
        "versions",
        (
            step("newest", Infer(X)),
            step("first", Infer(request(version="1", IN="x"))),
            step("third", Infer(request(version="3", IN="x"))),
            step("none", Infer(request(version="2", IN="x"))),
        ),
    ),
    Case("other_name", (step("infer", Infer(X)),)),
    Case(
        "names_at_import",
        probes=probes("found found_later", found=Differs(LIFTED, EARLY, "'Tensor': True", "'Tensor': False")),
    ),
    Case(
        "imported_tensor",
        (step("infer", Infer(X), Differs(LIFTED, EARLY, '"x"', "NOT_FOUND")),),
        load=Differs(LIFTED, EARLY, "^$", "cannot import name"),
    ),
    Case("of_c_module", (step("infer", Infer(X)),)),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
