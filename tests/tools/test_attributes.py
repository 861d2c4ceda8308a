import json

import pytest

from triton_backend_sdk.tools.attributes import backend_settings
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project


def project(tmp_path, table):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "plugin.py").touch()
    (tmp_path / "pyproject.toml").write_text(f'[tool.tbsdk]\nbackend = "p"\n{table}\n')
    return Project.find(tmp_path)


def test_a_project_that_says_nothing_sets_nothing(tmp_path):
    assert backend_settings(project(tmp_path, "")) == {}


def test_all_there_is(tmp_path):
    settings = backend_settings(
        project(
            tmp_path,
            'execution-policy = "device-blocking"\nparallel-instance-loading = true\n'
            'preferred-instance-groups = [{ kind = "gpu", gpus = [0, 1] }, { kind = "cpu", count = 2 }]',
        )
    )

    assert settings["execution-policy"] == "device-blocking"
    assert settings["parallel-instance-loading"] == "true"
    assert json.loads(settings["preferred-instance-groups"]) == [
        {"kind": "gpu", "count": 1, "gpus": [0, 1]},
        {"kind": "cpu", "count": 2, "gpus": []},
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'execution-policy = "parallel"',
            "execution-policy is 'parallel'; it can be blocking or device-block",
        ),
        ('execution_policy = "blocking"', "has no key 'execution_policy': .*did you mean execution-policy"),
        ('parallel-instance-loading = "yes"', "parallel-instance-loading is 'yes'; it can be true or false"),
        ("preferred-instance-groups = 2", "preferred-instance-groups is 2; write"),
        ('preferred-instance-groups = [{ kind = "tpu" }]', "kind 'tpu'; it can be auto, cpu, gpu or model"),
        ('preferred-instance-groups = [{ kind = "cpu", count = 0 }]', "count 0; it can be 1 or more"),
        ('preferred-instance-groups = [{ kind = "gpu", gpus = ["0"] }]', r"gpus \['0'\]; it can be a list"),
        ('preferred-instance-groups = [{ kind = "cpu", n = 1 }]', "no key 'n': there are kind, count, gpus"),
    ],
)
def test_an_error_names_the_key_and_what_it_can_be(tmp_path, line, said):
    with pytest.raises(HandledError, match=said) as caught:
        backend_settings(project(tmp_path, line))

    assert caught.value.next_step == f"mend {tmp_path / 'pyproject.toml'}"
