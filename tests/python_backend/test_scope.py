"""Each instance of a model imports its own files, by the names that they have in a process of its own."""

import gc
import importlib
import linecache
import logging
import pickle
import sys
import sysconfig
import textwrap
import threading
import traceback
import types
import weakref
import zipfile
from pathlib import Path

import pytest

from triton_backend_sdk.python_backend.facade import Facade, calling_scope
from triton_backend_sdk.python_backend.pb_error import told
from triton_backend_sdk.python_backend.scope import Scope

UTILS = types.ModuleType("triton_python_backend_utils")


class Repository:
    """Model directories below a folder, and the scopes of their instances."""

    def __init__(self, folder):
        self.folder = folder
        self.scopes = []

    def write(self, model, files):
        for name, text in files.items():
            path = self.folder / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(textwrap.dedent(text))
        return self.folder / model

    def scope(self, model="m", version="1"):
        directory = self.folder / model
        backend = self.folder / "the_backend"
        backend.mkdir(parents=True, exist_ok=True)
        scope = Scope(
            f"{model}_0_0", directory / version, directory, backend, {"triton_python_backend_utils": UTILS}
        )
        self.scopes.append(scope)
        return scope

    def load(self, model="m", files=None, **kwargs):
        self.write(model, files or {})
        return self.scope(model, **kwargs).load()

    def close(self):
        for scope in self.scopes:
            scope.close()


@pytest.fixture
def repository(tmp_path):
    modules, path = dict(sys.modules), list(sys.path)
    meta_path, importers = list(sys.meta_path), set(sys.path_importer_cache)
    repository = Repository(tmp_path / "models")
    yield repository
    repository.close()
    ours = [
        name for name in sys.modules if name not in modules and ("__m" in name or name.startswith("help"))
    ]
    assert ours == []
    assert (sys.path, sys.meta_path) == (path, meta_path)
    assert {
        entry for entry in sys.path_importer_cache if entry not in importers and str(tmp_path) in entry
    } == set()


HELPER = """
    import dataclasses, typing

    NAME = __name__
    state = []

    class Thing:
        def __init__(self, value): self.value = value
        def __eq__(self, other): return type(other) is Thing and other.value == self.value
        __hash__ = None

    @dataclasses.dataclass
    class Point:
        x: "int"
        near: "typing.ClassVar[Thing]" = None
"""

#: Case -> (more files, the body of a function in model.py)
IN_A_MODEL = {
    "absolute": ({}, "import helper; assert helper.NAME.endswith('.helper')"),
    "from": ({}, "from helper import Thing; assert Thing(1) == Thing(1)"),
    "as": ({}, "import helper as h; assert h.state == []"),
    "star": ({"1/model.py": "from helper import *\ndef check(): assert Thing(2).value == 2"}, None),
    "one copy": ({}, "import helper; helper.state.append(1); from helper import state; assert state == [1]"),
    "relative": ({}, "from . import helper; from .helper import Thing; assert helper.Thing is Thing"),
    "relative is another copy": ({}, "from . import helper as r; import helper as a; assert r is not a"),
    "parent": (
        {"above.py": "x = 7"},
        "from .. import above; from ..above import x; assert above.x == x == 7",
    ),
    "model directory": ({"above.py": "x = 7"}, "import above; assert above.x == 7"),
    "version directory first": (
        {"helper.py": "NAME = 'wrong'"},
        "import helper; assert helper.NAME != 'wrong'",
    ),
    "backend directory last": (
        {"../the_backend/shared.py": "x = 8", "../the_backend/helper.py": ""},
        "import shared, helper; assert shared.x == 8; helper.Thing",
    ),
    "itself": ({}, "import model; assert model.__file__ == __file__; assert model.check is not check"),
    "itself by version": ({}, "import importlib; assert importlib.import_module('1.model').check is check"),
    "package": (
        {
            "1/pack/__init__.py": "from . import sub\nfrom .sub import y",
            "1/pack/sub.py": "import helper\ny = 3",
        },
        "import pack.sub; assert pack.sub.y == pack.y == 3; import pack.sub as s; assert s is pack.sub",
    ),
    "package from": (
        {"1/pack/__init__.py": "", "1/pack/sub.py": "from . import other", "1/pack/other.py": "z = 4"},
        "from pack import sub; from pack.sub import other; assert other.z == 4 and sub.other is other",
    ),
    "package, then a part of it": (
        {"1/pack/__init__.py": "", "1/pack/sub.py": ""},
        "import pack; from pack import sub",
    ),
    "a library's import of a submodule": (
        {"1/pack/__init__.py": "", "1/pack/sub.py": "class C: ..."},
        """
        import pickle
        found = pickle._loads(b"cpack.sub\\nC\\n.")
        import pack, pack.sub, sys
        assert pack.sub is sys.modules["pack.sub"] and pack.sub.C is found and "several" not in repr(pack.sub)
        """,
    ),
    "namespace package": (
        {"1/spaced/one.py": "x = 1", "spaced/two.py": "x = 2"},
        "import spaced.one, spaced.two; assert spaced.one.x + spaced.two.x == 3",
    ),
    "circular": (
        {"1/a.py": "import b\ndef f(): return b.g()", "1/b.py": "import a\ndef g(): return a.__name__"},
        "import a; assert a.f().endswith('.a')",
    ),
    "circular from": (
        {"1/a.py": "X = 1\nfrom b import Y", "1/b.py": "from a import X\nY = X + 1"},
        "from a import Y; assert Y == 2",
    ),
    "__import__": ({}, "assert __import__('helper').Thing is __import__('helper', fromlist=['Thing']).Thing"),
    "import_module": (
        {"1/pack/__init__.py": "", "1/pack/sub.py": ""},
        """
        import importlib, helper, pack.sub
        from importlib import import_module
        assert importlib.import_module("helper") is import_module("helper") is helper
        assert import_module("pack.sub") is import_module(".sub", "pack") is pack.sub
        assert import_module(".helper", __package__).__name__ == __package__ + ".helper"
        assert import_module("json") is __import__("json")
        """,
    ),
    "a library's import_module": (
        {},
        """
        import helper, pkgutil
        assert pkgutil.resolve_name("helper:Thing") is helper.Thing
        """,
    ),
    "find_spec": (
        {},
        """
        import importlib.util as util, helper
        assert util.find_spec("helper").origin == helper.__file__
        assert util.find_spec("no_such_helper") is None
        assert util.find_spec("json").name == "json"
        assert util.find_spec("sys") and util.find_spec(".helper", __package__)
        """,
    ),
    "spec_from_file_location": (
        {"1/odd-name.py": "import helper, dataclasses\n@dataclasses.dataclass\nclass C:\n    x: 'int' = 5"},
        """
        import importlib.util, os, pickle, sys, helper
        path = os.path.join(os.path.dirname(__file__), "odd-name.py")
        spec = importlib.util.spec_from_file_location("helper_odd", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["helper_odd"] = module
        spec.loader.exec_module(module)
        assert module.helper is helper
        import helper_odd
        assert helper_odd is module and module.C().x == 5
        assert pickle.loads(pickle.dumps(module.C(6))) == module.C(6)
        """,
    ),
    "sys.modules": (
        {},
        """
        import sys, helper
        assert sys.modules["helper"] is helper and "helper" in sys.modules
        assert sys.modules[__name__].check is check
        assert sys.modules.get("no_such") is None and sys.modules["sys"] is sys
        assert "helper" in list(sys.modules) and len(sys.modules) > 10 and sys.modules.copy()["helper"] is helper
        sys.modules["helper_alias"] = helper
        import helper_alias
        assert helper_alias is helper
        del sys.modules["helper"]
        import helper as again
        assert again is not helper
        """,
    ),
    "sys.modules blocks": (
        {},
        """
        import sys
        sys.modules["helper"] = None
        try: import helper
        except ModuleNotFoundError as error: assert "__m" not in str(error), error
        else: raise AssertionError
        """,
    ),
    "sys.path insert": (
        {"1/lib/deep.py": "x = 9"},
        """
        import os, sys
        from sys import path
        assert path is sys.path
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
        import deep
        assert deep.x == 9 and deep.__name__ != "deep"
        """,
    ),
    "sys.path replaced": (
        {"1/lib/deep.py": "x = 9"},
        """
        import os, sys
        sys.path = [os.path.join(os.path.dirname(__file__), "lib")]
        import deep
        try: import helper
        except ModuleNotFoundError: pass
        else: raise AssertionError
        """,
    ),
    "sys.path slice": (
        {"1/lib/deep.py": "x = 9"},
        """
        import os, sys
        sys.path[:] = [*sys.path, os.path.join(os.path.dirname(__file__), "lib")]
        import deep
        sys.path.pop(); sys.path.remove(os.path.dirname(os.path.dirname(__file__)))
        """,
    ),
    "sys.path insert wins over installed": (
        {"1/lib/pluggy.py": "x = 9", "1/lib/json.py": "x = 9"},
        """
        import os, sys
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))
        import json, pluggy
        assert pluggy.x == 9 and json.dumps
        """,
    ),
    "site": (
        {"1/lib/deep.py": "x = 9", "1/lib/more.pth": "../lib2", "1/lib2/deeper.py": "x = 10"},
        """
        import os, site, sys
        site.addsitedir(os.path.join(os.path.dirname(__file__), "lib"))
        import deep, deeper
        assert deep.x + deeper.x == 19
        """,
    ),
    "zip": (
        {"1/zipped.zip": "ZIP"},
        """
        import os, sys
        sys.path.append(os.path.join(os.path.dirname(__file__), "zipped.zip"))
        import zipped_one, zipped_pack.two
        assert zipped_one.helper is sys.modules["helper"] and zipped_pack.two.x == 2
        import inspect
        assert "x = 2" in inspect.getsource(zipped_pack.two)
        """,
    ),
    "bytecode only": ({"1/bare.pyc": "PYC"}, "import bare, helper; assert bare.helper is helper"),
    "extension": (
        {},
        "from . import _bisect; assert _bisect.insort_right and _bisect.__file__.endswith('1/_bisect.so')",
    ),
    "stdlib wins": ({"1/json.py": "", "1/queue.py": ""}, "import json, queue; json.dumps; queue.Queue"),
    "installed wins": (
        {"1/pluggy.py": "", "1/numpy.py": ""},
        "import pluggy, numpy; pluggy.HookspecMarker; numpy.array",
    ),
    "shared": ({}, "import numpy, sys; assert numpy.array is __import__('numpy').array"),
    "submodules of shared": (
        {},
        "import xml.dom.minidom as m, os.path; from concurrent import futures; m.parse",
    ),
    "given": (
        {},
        """
        import triton_python_backend_utils as utils, importlib, sys
        assert utils.MARK == 'given' and sys.modules['triton_python_backend_utils'] is utils
        from triton_python_backend_utils import MARK
        assert importlib.import_module('triton_python_backend_utils') is utils
        """,
    ),
    "pickle": (
        {},
        """
        import pickle, copy, helper, model
        for thing in (helper.Thing(1), Own(2)):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                assert pickle.loads(pickle.dumps(thing, protocol)) == thing
            assert pickle._loads(pickle._dumps(thing)) == thing
            assert copy.deepcopy(thing) == thing
        """,
    ),
    "pickle by short names": (
        {},
        """
        import pickle
        for load in (pickle.loads, pickle._loads):
            thing = load(b"chelper\\nThing\\n.")
            import helper
            assert thing is helper.Thing
            assert load(b"c1.model\\nOwn\\n.") is Own
            import model
            assert load(b"cmodel\\nOwn\\n.") is model.Own
        """,
    ),
    "pickle of an instance that is no more": (
        {},
        """
        import pickle, helper
        for load in (pickle.loads, pickle._loads):
            assert load(b"cold_model_0__m0.helper\\nThing\\n.") is helper.Thing
            assert load(b"cold_model_0__m0.1.model\\nOwn\\n.") is Own
        """,
    ),
    "pickle in a thread": (
        {},
        """
        import pickle, concurrent.futures as futures
        def load(): return pickle.loads(b"chelper\\nThing\\n.")
        with futures.ThreadPoolExecutor(2) as pool:
            found = pool.submit(load).result(10)
        import helper
        assert found is helper.Thing
        """,
    ),
    "an unpickler of one's own": (
        {},
        """
        import io, pickle
        class Unpickler(pickle.Unpickler):
            def find_class(self, module, name): return super().find_class(module, name)
        found = Unpickler(io.BytesIO(b"chelper\\nThing\\n.")).load()
        import helper
        assert found is helper.Thing
        """,
    ),
    "copyreg": (
        {},
        """
        import copyreg, pickle, helper
        copyreg.pickle(helper.Thing, lambda thing: (helper.Thing, (thing.value + 1,)))
        assert pickle.loads(pickle.dumps(helper.Thing(1))).value == 2
        del copyreg.dispatch_table[helper.Thing]
        """,
    ),
    "dataclass": (
        {},
        "import dataclasses, helper; assert [f.name for f in dataclasses.fields(helper.Point)] == ['x']",
    ),
    "type hints": (
        {},
        """
        import typing, helper
        def f(x: "helper.Thing") -> "Own": ...
        space = {**globals(), "helper": helper}
        assert typing.get_type_hints(f, space) == {"x": helper.Thing, "return": Own}
        assert typing.get_type_hints(Own) == {"other": Own}
        """,
    ),
    "enum and namedtuple": (
        {},
        """
        import collections, enum, pickle
        global Colour, Pair
        Colour, Pair = enum.Enum("Colour", "RED"), collections.namedtuple("Pair", "a b")
        assert Colour.RED.__class__.__module__ == __name__
        assert pickle.loads(pickle.dumps(Pair(1, 2))) == (1, 2)
        """,
    ),
    "logging": ({}, "import logging; assert logging.getLogger(__name__).name == __name__"),
    "inspect": (
        {},
        """
        import inspect, helper
        assert inspect.getsource(helper.Thing).startswith("class Thing")
        assert inspect.getsource(check).startswith("def check")
        assert inspect.getmodule(helper.Thing) is helper and inspect.getfile(Own) == __file__
        """,
    ),
    "reload": (
        {},
        "import importlib, helper; old = helper.Thing; assert importlib.reload(helper) is helper; assert helper.Thing is not old",
    ),
    "pkgutil": (
        {"1/pack/__init__.py": "", "1/pack/sub.py": "", "1/pack/data.txt": "text"},
        """
        import pkgutil, pack, sys, importlib.resources
        assert [m.name for m in pkgutil.walk_packages(pack.__path__, "pack.")] == ["pack.sub"]
        assert pkgutil.get_data("pack", "data.txt") == b"text"
        assert importlib.resources.files("pack").joinpath("data.txt").read_text() == "text"
        assert importlib.resources.files(pack).joinpath("data.txt").read_text() == "text"
        """,
    ),
    "runpy": (
        {"1/script.py": "import helper\nresult = helper.Thing(3)"},
        """
        import os, runpy, helper
        assert runpy.run_path(os.path.join(os.path.dirname(__file__), "script.py"))["result"] == helper.Thing(3)
        assert runpy.run_module("script")["result"] == helper.Thing(3)
        """,
    ),
    "exec": ({}, "space = {}; exec('import helper', space); import helper; assert space['helper'] is helper"),
    "async": (
        {},
        """
        import asyncio
        async def lazily():
            await asyncio.sleep(0)
            import helper
            return helper
        import helper
        assert asyncio.run(lazily()) is helper
        """,
    ),
    "threads": (
        {},
        """
        import threading
        found = []
        def lazily():
            from helper import Thing
            found.append(Thing)
        threads = [threading.Thread(target=lazily) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(10)
        assert len(found) == 8 and len(set(map(id, found))) == 1
        """,
    ),
    "sys": (
        {},
        """
        import sys, types
        assert isinstance(sys, types.ModuleType) and sys.argv == [""] and sys.__name__ == "sys"
        assert sys.version_info >= (3, 10) and sys.stdout and "path" in dir(sys)
        try: raise ValueError
        except ValueError: assert sys.exc_info()[0] is ValueError
        sys.mark_of_a_test = 1
        assert sys.mark_of_a_test == 1
        del sys.mark_of_a_test
        assert not hasattr(sys, "mark_of_a_test") and not hasattr(sys, "no_such")
        """,
    ),
    "builtins": (
        {"1/uses.py": "def f(): return len([1])"},
        "import builtins, uses; builtins.len = lambda x: 99; assert uses.f() == 99 == len(''); del builtins.len",
    ),
    "names": (
        {},
        "assert __name__.split('.')[-2:] == ['1', 'model'] and __package__ == __name__.rpartition('.')[0]",
    ),
    "type checking": (
        {"1/model.py": "import typing\nif typing.TYPE_CHECKING:\n    import nowhere\ndef check(): pass"},
        None,
    ),
}

MODEL = """
class Own:
    other: "Own"
    def __init__(self, value): self.value = value
    def __eq__(self, other): return type(other) is type(self) and other.value == self.value
    __hash__ = None

def check():
"""


def compiled(source):
    import importlib._bootstrap_external as external

    return bytes(external._code_to_timestamp_pyc(compile(source, "bare.py", "exec")))


def zipped(two="x = 2\n"):
    import io

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("zipped_one.py", "import helper")
        archive.writestr("zipped_pack/__init__.py", "")
        archive.writestr("zipped_pack/two.py", two)
    return data.getvalue()


def extension():
    """Give an extension module of Python's own that makes no use of its name."""
    files = list(Path(sysconfig.get_config_var("DESTSHARED") or "").glob("_bisect*.so"))
    if not files:
        pytest.skip("this Python has no extension file of its own to take")
    return files[0].read_bytes()


@pytest.mark.parametrize("case", IN_A_MODEL)
def test_imports_in_a_model(repository, case):
    files, body = IN_A_MODEL[case]
    files = {"1/helper.py": HELPER, **files}
    if "1/model.py" not in files:
        files["1/model.py"] = MODEL + textwrap.indent(textwrap.dedent(body), "    ")
    if case == "zip":
        files["1/zipped.zip"] = zipped()
    if case == "bytecode only":
        files["1/bare.pyc"] = compiled("import helper")
    if case == "extension":
        files["1/_bisect.so"] = extension()
    UTILS.MARK = "given"
    repository.load("m", files).check()
    repository.load("m").check()


def test_two_models_with_equal_names_each_have_their_own(repository):
    source = """
        import pickle
        import helper

        def load(data): return pickle.loads(data)
        def slow_load(data): return pickle._loads(data)
        def own(): return helper.Thing
    """
    first = repository.load("a", {"1/model.py": source, "1/helper.py": HELPER})
    second = repository.load("b", {"1/model.py": source, "1/helper.py": HELPER})
    third = repository.load("a")
    models = (first, second, third)
    assert len({model.own() for model in models}) == 3
    for model in (*models, *reversed(models)):
        assert model.load(b"chelper\nThing\n.") is model.slow_load(b"chelper\nThing\n.") is model.own()
    assert isinstance(sys.modules["helper"], Facade)
    with pytest.raises(AttributeError, match="belongs to models"):
        sys.modules["helper"].Thing  # noqa: B018
    assert not hasattr(sys.modules["helper"], "__file__")


def test_a_facade_is_the_calling_models_module(repository):
    source = """
        import pickle, sys, helper
        pickle.loads(b"chelper\\nThing\\n.")

        def touch(module):
            module.mark = __name__
            assert helper.mark == __name__ and "mark" in dir(module) and vars(module)["mark"] == __name__
            assert module.__file__ == helper.__file__ and module.__spec__ is helper.__spec__
            del module.mark
            assert not hasattr(helper, "mark")
    """
    for name in "ab":
        repository.load(name, {"1/model.py": source, "1/helper.py": HELPER}).touch(sys.modules["helper"])
    assert repr(sys.modules["helper"]) == "<module 'helper' of several models>"


def test_looking_through_sys_modules_imports_nothing(repository):
    source = """
        import inspect, pickle, sys

        def pickled(): pickle.loads(b"chelper\\nThing\\n.")
        def look():
            inspect.getmodule(compile("1", "nowhere", "exec"))
            return "helper" in sys.modules
    """
    repository.load("a", {"1/model.py": source, "1/helper.py": HELPER}).pickled()
    assert not repository.load("b", {"1/model.py": source, "1/helper.py": HELPER}).look()


@pytest.mark.parametrize(
    ("statement", "message", "name"),
    [
        ("import missing", "No module named 'missing'", "missing"),
        ("import missing.sub", "No module named 'missing'", "missing"),
        ("import helper.sub", "No module named 'helper.sub'; 'helper' is not a package", "helper.sub"),
        ("import pack.sub", "No module named 'pack.sub'", "pack.sub"),
        ("from . import missing", "cannot import name 'missing' from '1'", "1"),
        ("from .missing import x", "No module named '1.missing'", "1.missing"),
        ("from helper import missing", "cannot import name 'missing' from 'helper'", "helper"),
        ("import importlib; importlib.import_module('missing')", "No module named 'missing'", "missing"),
        (
            "import importlib; importlib.import_module('.missing', __package__)",
            "No module named '1.missing'",
            "1.missing",
        ),
        ("import importing", "No module named 'absent'", "absent"),
        ("from ... import x", "attempted relative import beyond top-level package", None),
    ],
)
def test_an_import_error_names_what_the_author_wrote(repository, statement, message, name):
    files = {
        "1/model.py": statement,
        "1/helper.py": HELPER,
        "1/pack/__init__.py": "",
        "1/importing.py": "import absent",
    }
    with pytest.raises(ImportError) as caught:
        repository.load("m", files)
    assert message in str(caught.value)
    assert "__m" not in str(caught.value)
    assert caught.value.name == name


def test_the_traceback_shows_the_authors_files_alone(repository):
    with pytest.raises(ZeroDivisionError) as caught:
        repository.load("m", {"1/model.py": "import helper", "1/helper.py": "def f():\n    1 / 0\nf()"})
    frames = traceback.extract_tb(caught.value.__traceback__)
    shown = [(Path(frame.filename).name, frame.name, frame.line) for frame in frames]
    assert shown[-3:] == [
        ("model.py", "<module>", "import helper"),
        ("helper.py", "<module>", "f()"),
        ("helper.py", "f", "1 / 0"),
    ]
    assert {name for name, _, _ in shown[:-3]} <= {"test_scope.py", "scope.py"}
    assert caught.value.__context__ is None
    assert not caught.value.__suppress_context__


def test_the_traceback_of_a_lazy_import(repository):
    files = {
        "1/model.py": "def check():\n    import helper",
        "1/helper.py": "import second",
        "1/second.py": "def deep(n):\n    return deep(n - 1) if n else 1 / 0\ndeep(300)",
    }
    model = repository.load("m", files)
    with pytest.raises(ZeroDivisionError) as caught:
        model.check()
    names = [Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_scope.py", "model.py", "scope.py", "helper.py", *["second.py"] * 302]
    lines = [
        line.rpartition("/")[2] for line in told(caught.value).splitlines() if "frozen importlib" not in line
    ]
    assert lines[:3] == ["ZeroDivisionError: division by zero", "", "At:"]
    assert lines[3 + 302 : 3 + 304] == ["helper.py(1): <module>", "model.py(2): check"]


def test_a_syntax_error_tells_its_place(repository):
    with pytest.raises(SyntaxError) as caught:
        repository.load("m", {"1/model.py": "import helper", "1/helper.py": "x = 1\nx ="})
    assert (Path(caught.value.filename).name, caught.value.lineno) == ("helper.py", 2)


def test_no_model_file(repository):
    (repository.folder / "m" / "1").mkdir(parents=True)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named '1\.model'$"):
        repository.load("m")


def test_a_failed_import_may_be_repeated(repository):
    source = "def check():\n    import helper\n    return helper"
    model = repository.load("m", {"1/model.py": source, "1/helper.py": "raise OSError('not yet')"})
    with pytest.raises(OSError, match="not yet"):
        model.check()
    repository.write("m", {"1/helper.py": "x = 1"})
    assert model.check().x == 1


def test_a_failed_circular_import_may_be_repeated(repository):
    files = {
        "1/model.py": "def check():\n    import first\n    return first.x",
        "1/first.py": "import second\nraise OSError('not yet')",
        "1/second.py": "import first",
    }
    model = repository.load("m", files)
    with pytest.raises(OSError, match="not yet"):
        model.check()
    repository.write("m", {"1/first.py": "import second\nx = 1"})
    assert model.check() == 1


def test_a_reload_sees_another_zip_file(repository):
    source = "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), 'zipped.zip'))\nfrom zipped_pack import two"
    files = {"1/model.py": source, "1/helper.py": "", "1/zipped.zip": zipped()}
    assert repository.load("m", files).two.x == 2
    assert repository.load("m", {"1/zipped.zip": zipped("padding = 'more'\nx = 3\n")}).two.x == 3


def test_a_reload_sees_an_edit_within_the_second(repository, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for value in range(5):
        model = repository.load(
            "m", {"1/model.py": "import helper\nx = helper.x", "1/helper.py": f"x = {value}"}
        )
        assert model.x == value
    assert not list(repository.folder.rglob("__pycache__"))


def test_a_module_that_the_model_writes(repository):
    source = """
        import importlib, os

        def check(number):
            path = os.path.join(os.path.dirname(__file__), f"written{number}.py")
            try: importlib.import_module(f"written{number}")
            except ModuleNotFoundError: pass
            before = os.stat(os.path.dirname(path))
            with open(path, "w") as file: file.write("x = 1")
            os.utime(os.path.dirname(path), ns=(before.st_atime_ns, before.st_mtime_ns))  # a coarse clock
            importlib.invalidate_caches()
            return importlib.import_module(f"written{number}").x
    """
    model = repository.load("m", {"1/model.py": source})
    assert [model.check(number) for number in range(3)] == [1, 1, 1]


def test_reloads_leave_nothing(repository):
    source = """
        import helper, logging, pickle
        import numpy as np
        pickle.loads(b"chelper\\nThing\\n.")
        logging.getLogger(__name__).debug("loaded")
        def call():
            import numpy as np
            return np.zeros(3).sum()
        call()
    """
    repository.write("m", {"1/model.py": source, "1/helper.py": HELPER})
    seen = []
    for _ in range(9):
        repository.scope("m").load()
        repository.close()
        repository.scopes.clear()
        gc.collect()
        seen.append(len(gc.get_objects()))
    assert seen[-1] - seen[2] < 10


def test_a_reload_sees_a_new_file(repository):
    repository.load("m", {"1/model.py": ""})
    assert repository.load("m", {"1/model.py": "import later", "1/later.py": "x = 1"}).later.x == 1


@pytest.mark.parametrize("name", ["my.model", "my-model", "mödel", "3d", "名前", "a__m7"])
def test_model_names(repository, name):
    model = repository.load(name, {"1/model.py": "import helper", "1/helper.py": ""})
    assert model.__name__.split(".")[1:] == ["1", "model"]
    assert model.__name__.partition(".")[0].isidentifier()


def test_versions_and_a_package_for_one(repository):
    files = {"1/model.py": "x = 1", "2/__init__.py": "y = 5", "2/model.py": "from . import y\nx = 2"}
    assert repository.load("m", files).x == 1
    model = repository.load("m", version="2")
    assert (model.x, model.y) == (2, 5)


def test_another_module_of_the_version_directory(repository):
    repository.write("m", {"1/other_model.py": "x = 3"})
    assert repository.scope("m").load("other_model").x == 3


@pytest.mark.parametrize("backend", ["pluggy", "json", "a_backend"])
def test_a_backend_that_is_a_folder_with_a_model_file(repository, backend):
    source = "import importlib, helper\ndef check(): return importlib.import_module('pluggy').HookspecMarker"
    repository.write(backend, {"model.py": source, "helper.py": HELPER, "1/weights.bin": ""})
    directory = repository.folder / backend
    scope = Scope(backend, directory, directory, directory.parent, {})
    repository.scopes.append(scope)
    model = scope.load()
    assert model.check()
    assert model.__name__ == f"{scope.root}.model"
    assert f"{scope.root}.helper" == model.helper.NAME


def test_atexit_functions_run_when_the_instance_goes(repository, tmp_path, caplog):
    source = """
        import atexit, sys
        from atexit import register
        note = sys.modules["made_by_a_test"].notes.append
        atexit.register(note, 1)
        @register
        def second(): note(2)
        atexit.register(note, 4)
        def fails(): 1 / 0
        atexit.register(fails)
        atexit.register(second_never := lambda: note(3))
        atexit.unregister(second_never)
    """
    made = types.ModuleType("made_by_a_test")
    made.notes = []
    sys.modules["made_by_a_test"] = made
    try:
        repository.load("m", {"1/model.py": source})
        assert made.notes == []
        repository.close()
    finally:
        del sys.modules["made_by_a_test"]
    assert made.notes == [4, 2, 1]
    assert "ZeroDivisionError" in caplog.text


def test_a_facade_whose_module_fails(repository):
    source = """
        import pickle

        def load(): return pickle._loads(b"chelper\\nThing\\n.")
        def touch(module): return module.Thing
    """
    good = repository.load("a", {"1/model.py": source, "1/helper.py": HELPER})
    bad = repository.load("b", {"1/model.py": source, "1/helper.py": "import missing"})
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'missing'$"):
        bad.load()
    assert good.load()
    with pytest.raises(AttributeError):
        bad.load()
    with pytest.raises(
        AttributeError, match="'helper' cannot be imported: ModuleNotFoundError: No module named 'missing'"
    ):
        bad.touch(sys.modules["helper"])


def test_what_an_sdk_backend_has_is_not_there(repository, monkeypatch, tmp_path):
    folder = tmp_path / "backends" / "identity"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    package = types.ModuleType("identity_of_a_test")
    package.__spec__ = importlib.util.spec_from_file_location("identity_of_a_test", folder / "__init__.py")
    monkeypatch.setitem(sys.modules, "identity_of_a_test", package)
    source = "def check():\n    import identity_of_a_test as found\n    return found"
    with pytest.raises(ModuleNotFoundError, match="No module named 'identity_of_a_test'"):
        repository.load("a", {"1/model.py": source}).check()
    model = repository.load("b", {"1/model.py": source, "1/identity_of_a_test.py": "x = 1"})
    assert model.check().x == 1
    assert "identity_of_a_test" not in repository.scope("a").sys.modules


def test_an_sdk_backend_with_the_name_of_a_package(repository, monkeypatch, tmp_path):
    (tmp_path / "identity_or_not.py").write_text("x = 'of the package'")
    package = types.ModuleType("identity_or_not")
    package.__spec__ = importlib.util.spec_from_file_location("identity_or_not", tmp_path / "b" / "plugin.py")
    monkeypatch.setitem(sys.modules, "identity_or_not", package)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    model = repository.load("m", {"1/model.py": "import identity_or_not as found"})
    assert model.found.x == "of the package"
    assert sys.modules["identity_or_not"] is package
    sys.path_importer_cache.pop(str(tmp_path), None)


def test_what_a_library_has_made_is_there(repository, monkeypatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", types.ModuleType("made_by_hand"))
    model = repository.load("m", {"1/model.py": "import made_by_hand as found"})
    assert model.found is sys.modules["made_by_hand"]


def test_installed_packages_of_another_environment_are_one_copy(repository, tmp_path, monkeypatch):
    packages = tmp_path / "venv" / "site-packages"
    (packages / "installed_pack").mkdir(parents=True)
    (packages / "installed_pack" / "__init__.py").write_text("import installed_other\nfrom . import sub")
    (packages / "installed_pack" / "sub.py").write_text(
        "def lazily():\n    import installed_third as found\n    return found"
    )
    (packages / "installed_other.py").write_text("import json")
    (packages / "installed_third.py").write_text("")
    source = f"import sys\nsys.path.append({str(packages)!r})\nimport installed_pack as found"
    first = repository.load("a", {"1/model.py": source})
    second = repository.load("b", {"1/model.py": source})
    try:
        assert first.found is second.found is sys.modules["installed_pack"]
        assert first.found.sub.lazily().__name__ == "installed_third"
        with pytest.raises(ModuleNotFoundError):
            repository.load("c", {"1/model.py": "import installed_pack"})
    finally:
        for name in ("installed_pack", "installed_pack.sub", "installed_other", "installed_third"):
            sys.modules.pop(name, None)
        for entry in [entry for entry in sys.path_importer_cache if str(tmp_path) in entry]:
            del sys.path_importer_cache[entry]


def test_an_entry_of_the_process_is_shared(repository, tmp_path, monkeypatch):
    (tmp_path / "module_of_the_process.py").write_text("x = 1")
    repository.write("m", {"1/model.py": "import module_of_the_process as found"})
    scope = repository.scope("m")
    monkeypatch.syspath_prepend(tmp_path)  # after the scope was made
    try:
        assert scope.load().found is sys.modules["module_of_the_process"]
    finally:
        sys.modules.pop("module_of_the_process", None)
        sys.path_importer_cache.pop(str(tmp_path), None)


def test_a_models_directory_on_the_processes_path_stays_private(repository, monkeypatch):
    repository.write("m", {"1/model.py": "import helper_on_path as found", "1/helper_on_path.py": ""})
    monkeypatch.setattr(sys, "path", [*sys.path, str(repository.folder / "m" / "1")])
    assert repository.load("m").found is not repository.load("m").found
    assert "helper_on_path" not in sys.modules


def test_the_process_keeps_its_path_and_builtins(repository):
    source = "import builtins, sys\nsys.path.insert(0, 'nowhere')\nsys.argv.append('x')\nbuiltins.mark = 1"
    model = repository.load("m", {"1/model.py": source})
    assert "nowhere" not in sys.path
    assert "x" not in sys.argv
    assert "mark" not in vars(importlib.import_module("builtins"))
    assert "nowhere" in model.sys.path
    assert "nowhere" not in repository.load("other", {"1/model.py": "import sys"}).sys.path


@pytest.mark.timeout(60)
def test_many_load_at_once(repository):
    files = {
        "1/model.py": "import a, pickle\nassert pickle.loads(b'ca\\nf\\n.') is a.f\nfrom b import g",
        "1/a.py": "import b, json, decimal, wave\nfrom . import model\ndef f(): return b",
        "1/b.py": "import a, colorsys\ndef g(): return a.f()",
    }
    files["1/a.py"] = files["1/a.py"].replace("from . import model\n", "")
    for number in range(12):
        repository.write(f"m{number}", files)
    scopes = [repository.scope(f"m{number % 12}") for number in range(24)]
    found, failed = {}, []
    start = threading.Barrier(len(scopes))

    def load(scope):
        start.wait(20)
        try:
            found[scope] = scope.load()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=load, args=(scope,)) for scope in scopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed
    assert len({id(model.g()) for model in found.values()}) == len(scopes)
    assert all(model.g().__name__ == f"{scope.root}.b" for scope, model in found.items())


def test_close_forgets_everything(repository):
    source = """
        import helper, logging, pickle, pack.sub, importlib, sys, linecache
        from . import helper as again
        pickle.loads(b"chelper\\nThing\\n.")
        pickle.loads(pickle.dumps(helper.Thing(1)))
        logger = logging.getLogger(__name__)
        linecache.getline(__file__, 1)
        sys.modules["helper_alias"] = helper
        def keep(): return helper
    """
    modules, meta_path = set(sys.modules), list(sys.meta_path)
    loggers = set(logging.root.manager.loggerDict)
    repository.write(
        "m",
        {
            "1/model.py": source,
            "1/helper.py": HELPER,
            "1/pack/__init__.py": "",
            "1/pack/sub.py": "import helper",
        },
    )
    scope = repository.scope()
    model = scope.load()
    watched = [
        weakref.ref(thing)
        for thing in (scope, model, model.helper, model.helper.Thing, model.pack.sub, model.keep)
    ]
    assert set(sys.modules) - modules
    scope.close()
    scope.close()
    repository.scopes.clear()
    file = model.__file__
    del scope, model
    gc.collect()
    assert [ref() for ref in watched] == [None] * len(watched)
    assert set(sys.modules) - modules == set()
    assert sys.meta_path == meta_path
    assert set(logging.root.manager.loggerDict) == loggers
    assert file not in linecache.cache


def test_closing_one_leaves_the_others(repository):
    source = "import pickle\ndef load(): return pickle.loads(b'chelper\\nThing\\n.')"
    first = repository.load("a", {"1/model.py": source, "1/helper.py": HELPER})
    second = repository.load("b", {"1/model.py": source, "1/helper.py": HELPER})
    assert first.load() is not second.load()
    repository.scopes[0].close()
    assert isinstance(sys.modules["helper"], Facade)
    assert second.load().__module__.startswith("b_0_0__m")
    assert isinstance(sys.modules["helper"], Facade)
    repository.scopes[1].close()
    assert "helper" not in sys.modules


def test_a_facade_stays_while_a_model_has_such_a_module(repository):
    files = {
        "1/model.py": "import pickle\ndef load(): return pickle.loads(b'chelper\\nThing\\n.')",
        "1/helper.py": HELPER,
    }
    repository.load("a", files).load()
    repository.load("b", files)
    repository.load("c", {"1/model.py": ""})
    repository.scopes[0].close()
    assert "helper" in sys.modules, "a thread of b's may be between its import and its look there"
    repository.scopes[1].close()
    assert "helper" not in sys.modules


@pytest.mark.timeout(60)
def test_loads_and_closes_at_once_lose_no_names(repository):
    source = """
        import pickle, helper
        from pack import sub
        def check():
            assert pickle.loads(b"chelper\\nThing\\n.") is helper.Thing
            assert pickle._loads(b"cpack.sub\\nC\\n.") is sub.C
    """
    files = {
        "1/model.py": source,
        "1/helper.py": HELPER,
        "1/pack/__init__.py": "",
        "1/pack/sub.py": "class C: ...",
    }
    for name in "ab":
        repository.write(name, files)
    failed = []

    def work(name):
        try:
            for _ in range(20):
                scope = repository.scope(name)
                scope.load().check()
                scope.close()
        except BaseException as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
    finally:
        sys.setswitchinterval(interval)
    assert not failed


def test_code_that_outlives_its_scope(repository):
    source = "def own():\n    import helper\ndef shared():\n    import json, numpy.linalg\n    return json.dumps(1)"
    model = repository.load("m", {"1/model.py": source, "1/helper.py": HELPER})
    repository.close()
    assert model.shared() == "1"
    with pytest.raises(ImportError, match="'helper' is of a model that has been unloaded"):
        model.own()


def test_whose_code_it_is(repository):
    source = "def call(function): return function()\ndef make(): return [calling() for _ in [0]][0]"
    model = repository.load("m", {"1/model.py": source})
    scope = repository.scopes[0]
    assert model.call(calling_scope) is scope
    assert calling_scope() is None
    assert scope.owns(model)
    assert scope.owns(model.call.__globals__)
    assert not scope.owns(globals())
    assert not repository.scope("m").owns(model)


def test_a_pickle_survives_a_reload(repository):
    source = "import pickle, helper\ndef save(): return pickle.dumps(helper.Thing(4))\ndef load(data): return pickle.loads(data)"
    data = repository.load("m", {"1/model.py": source, "1/helper.py": HELPER}).save()
    repository.close()
    model = repository.load("m")
    assert model.load(data) == model.helper.Thing(4)
    with pytest.raises(AttributeError, match="of several models"):
        pickle.loads(data)
