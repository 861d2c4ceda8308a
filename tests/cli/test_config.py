import sys

import click
import numpy as np
import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.client import infer
from triton_backend_sdk.tools.errors import HandledError

PLUGIN = """
import numpy as np
from triton_backend_sdk import *

SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [-1])],
    outputs=[TensorSpec("OUT", "FP32", [-1])],
    max_batch_size=8,
    dynamic_batching=DynamicBatching(),
    parameters=[Parameter("scale", float, 2.0, "what IN is multiplied by")],
    instance_groups=[InstanceGroup("cpu", 2)],
)

@hookimpl
def execute(instance, requests):
    scale = instance.model.parameters.get_float("scale")
    return [Response({"OUT": scale * request["IN"].numpy()}) for request in requests]
"""


@pytest.fixture(autouse=True)
def _leave_nothing_imported():
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "scale"]:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path):
    return write(tmp_path / "declared", PLUGIN)


def write(root, plugin):
    (root / "scale").mkdir(parents=True)
    (root / "scale" / "__init__.py").touch()
    (root / "scale" / "plugin.py").write_text(plugin)
    (root / "pyproject.toml").write_text('[tool.tbsdk]\nbackend = "scale"\n')
    return root


EXPECTED = """\
# Written by `tbsdk config` from the Signature in scale/plugin.py: change it there.

backend: "scale"
max_batch_size: 8
dynamic_batching { }

input [
  {
    name: "IN"
    data_type: TYPE_FP32
    dims: [ -1 ]
  }
]

output [
  {
    name: "OUT"
    data_type: TYPE_FP32
    dims: [ -1 ]
  }
]

# what IN is multiplied by
parameters {
  key: "scale"
  value { string_value: "2.0" }
}

instance_group [
  {
    kind: KIND_CPU
    count: 2
  }
]
"""


def test_stdout_holds_the_config_and_nothing_else(project, capsys):
    assert run(["config", str(project)]) == 0

    printed = capsys.readouterr()
    assert printed.out == EXPECTED
    assert printed.err == ""


def test_the_real_server_takes_it_as_it_is(project, tritonserver):
    model = project / "model_repository" / "thrice"
    (model / "1").mkdir(parents=True)
    run(["config", str(project), "--model", "thrice", "-p", "scale=3", "-o", str(model / "config.pbtxt")])

    server = tritonserver(project, disable_auto_complete_config=True)

    answer = infer(server.http_url, "http", "thrice", {"IN": np.float32([[1, 2]])})
    assert answer.outputs["OUT"].tolist() == [[3, 6]]


def test_check(project, capsys):
    file = project / "model_repository" / "scale" / "config.pbtxt"
    with pytest.raises(HandledError, match="is missing"):
        run(["config", str(project), "--check"])

    run(["config", str(project), "-o", str(file)])
    run(["config", str(project), "--check"])
    assert f"{file} is up to date" in capsys.readouterr().err

    file.write_text("# mine\n" + file.read_text().replace("[ -1 ]", "[-1]"))
    run(["config", str(project), "--check"])

    file.write_text(file.read_text().replace("max_batch_size: 8", "max_batch_size: 4"))
    with pytest.raises(HandledError, match="does not say what the plugin declares") as caught:
        run(["config", str(project), "--check"])
    assert "-max_batch_size: 4" in caught.value.details
    assert "+max_batch_size: 8" in caught.value.details
    assert caught.value.next_step == f"write it again: tbsdk config -o {file}"


def test_the_file_keeps_its_parameters(project):
    file = project / "model_repository" / "fast" / "config.pbtxt"
    words = ["config", str(project), "--model", "fast"]
    run([*words, "-p", "scale=3", "-o", str(file)])
    before = file.read_text()
    assert 'value { string_value: "3" }' in before

    run([*words, "--check"])
    run([*words, "-o", str(file)])
    assert file.read_text() == before

    run([*words, "-p", "scale=4", "-o", str(file)])
    assert 'value { string_value: "4" }' in file.read_text()


def test_what_is_the_operators_stays(tmp_path):
    project = write(tmp_path / "p", PLUGIN.replace('    instance_groups=[InstanceGroup("cpu", 2)],\n', ""))
    file = project / "model_repository" / "scale" / "config.pbtxt"
    file.parent.mkdir(parents=True)
    file.write_text("""
        parameters [ { key: "instance_thread" value { string_value: "own" } } ]
        instance_group [ { kind: KIND_CPU count: 5 } ]
    """)
    run(["config", str(project), "-o", str(file)])
    text = file.read_text()
    assert 'key: "instance_thread"\n  value { string_value: "own" }' in text
    assert "count: 5" in text
    run(["config", str(project), "--check"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "scale=big"], "parameter 'scale' of model 'scale' is 'big'; it must be a number"),
        (["-p", "size=3"], "the Signature declares no parameter 'size'; it has scale"),
    ],
)
def test_a_wrong_parameter(project, words, said):
    with pytest.raises(HandledError, match=said):
        run(["config", str(project), *words])


def test_a_parameter_without_value(project):
    with pytest.raises(click.BadParameter, match="'scale' is not KEY=VALUE"):
        run(["config", str(project), "-p", "scale"])


def test_a_parameter_without_default_has_to_be_given(tmp_path, capsys):
    project = write(tmp_path, PLUGIN.replace("float, 2.0", "float, None"))

    with pytest.raises(HandledError, match="parameter 'scale' has no default") as caught:
        run(["config", str(project)])

    assert caught.value.next_step == "tbsdk config -p scale=VALUE"
    run(["config", str(project), "-p", "scale=4"])
    assert 'value { string_value: "4" }' in capsys.readouterr().out


HOOK = """
@hookimpl
def auto_complete_config(model, config):
    config.add_input(TensorSpec("SIZED", "INT8", [len(model.name)]))
    config.set_field("version_policy", {"all": {}})
"""


def test_the_hook_counts_and_nothing_of_it_is_ignored(tmp_path, capsys):
    source = PLUGIN[: PLUGIN.index("SIGNATURE")] + PLUGIN[PLUGIN.index("@hookimpl") :]
    project = write(tmp_path, source + HOOK)

    run(["config", str(project), "--model", "four"])

    printed = capsys.readouterr().out
    assert "from auto_complete_config in scale/plugin.py" in printed
    assert "dims: [ 4 ]" in printed
    assert "version_policy {\n  all { }\n}" in printed or "version_policy { all { } }" in printed


def test_what_the_hook_adds_beyond_the_signature_is_an_error(tmp_path):
    project = write(tmp_path, PLUGIN + HOOK)

    with pytest.raises(HandledError, match=r"config\.pbtxt has input 'SIZED', the plugin declares IN"):
        run(["config", str(project)])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "from triton_backend_sdk import hookimpl\n@hookimpl\ndef execute(requests): ...",
            "says nothing from",
        ),
        ("import not_installed_anywhere", "does not load: No module named 'not_installed_anywhere'"),
        ("", "no execute hook found"),
        (PLUGIN.replace('"FP32"', '"FP33"', 1), "'FP33' is no Triton datatype"),
    ],
)
def test_a_plugin_that_gives_no_config(tmp_path, source, said):
    with pytest.raises(HandledError, match=said):
        run(["config", str(write(tmp_path, source))])
