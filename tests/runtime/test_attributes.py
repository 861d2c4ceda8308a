"""What Triton asks of a backend before any model, in the real core."""

import ctypes

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project

PLUGIN = """
import threading
import time
instances, threads = [], set()
barrier = threading.Barrier(2)

@hookimpl
def initialize(instance):
    instances.append(instance)
    if instance.model.parameters.get_bool("meet", False):
        barrier.wait(2)

@hookimpl
def execute(requests):
    threads.add(threading.get_ident())
    time.sleep(0.005)  # so that the next request finds this instance busy
    return [Response({"OUT": request["IN"]}) for request in requests]
"""
CPU = "instance_group { kind: KIND_CPU count: 2 }"


@pytest.fixture
def with_table(serve):
    """Serve PLUGIN with these lines in its [tool.tbsdk]; no instance group unless the config has one."""

    def make(table, config="", **options):
        served = serve(PLUGIN, load=False, core_options=options)
        with (served.project.root / "pyproject.toml").open("a") as file:
            file.write(table)
        build_backend(Project.find(served.project.root), served.backends, link=True)
        path = served.repository / served.name / "config.pbtxt"
        path.write_text(path.read_text().replace("instance_group { kind: KIND_CPU }", "") + config)
        return served

    return make


def names(served):
    return sorted(instance.name for instance in served.module.instances)


def test_preferred_instance_groups(with_table):
    table = 'preferred-instance-groups = [{ kind = "gpu", gpus = [97] }, { kind = "cpu", count = 3 }]'
    served = with_table(table)

    served.core.load(served.name)

    assert len(names(served)) == 3
    (group,) = served.core.model_config(served.name)["instance_group"]
    assert (group["kind"], group["count"]) == ("KIND_CPU", 3)


def test_a_config_goes_before_preferred_groups(with_table):
    served = with_table('preferred-instance-groups = [{ kind = "cpu", count = 3 }]', CPU)

    served.core.load(served.name)

    assert len(names(served)) == 2


MEET = 'parameters { key: "meet" value { string_value: "true" } }'


def test_instances_load_side_by_side(with_table):
    served = with_table("parallel-instance-loading = true", CPU + MEET)

    served.core.load(served.name)

    assert names(served) == [f"{served.name}_0_0", f"{served.name}_0_1"]


@pytest.mark.parametrize("table", ["parallel-instance-loading = false", ""])
def test_instances_load_one_after_another(with_table, table):
    served = with_table(table, CPU + MEET)

    with pytest.raises(InvalidArgError, match="BrokenBarrierError"):
        served.core.load(served.name)


@pytest.mark.parametrize(
    ("table", "policy"),
    [
        ('execution-policy = "device-blocking"', "DEVICE_BLOCKING"),
        ('execution-policy = "blocking"', "BLOCKING"),
        ("", "BLOCKING"),
    ],
)
def test_the_execution_policy_is_set(with_table, table, policy):
    served = with_table(table, CPU)

    served.core.load(served.name)

    backend = served.module.instances[0].model.backend
    assert backend.execution_policy.name == policy
    assert backend.api_version >= (1, 19)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("execution-policy=parallel", "tbsdk.conf has execution-policy=parallel; build again: tbsdk build"),
        ("preferred-instance-groups=[", None),  # Triton asks, and does not look at an error
    ],
)
def test_a_damaged_tbsdk_conf(with_table, line, said):
    served = with_table("", CPU)
    with (served.backends / served.name / "tbsdk.conf").open("a") as file:
        file.write(line + "\n")

    if said:
        with pytest.raises(InvalidArgError, match=said):
            served.core.load(served.name)
    else:
        served.core.load(served.name)
        assert "backend_attribute failed: " in served.log


def test_what_an_instance_is(with_table):
    group = """instance_group [
      { name: "work" kind: KIND_CPU profile: [ "0", "1" ] host_policy: "near"
        secondary_devices [ { kind: KIND_NVDLA device_id: 1 } ] },
      { name: "idle" kind: KIND_CPU passive: true } ]"""
    served = with_table(
        "", 'platform: "tensorrt_plan" ' + group, host_policy={"near": {"numa-node": "0", "cpu-cores": "0-1"}}
    )

    served.core.load(served.name)

    instances = {instance.name: instance for instance in served.module.instances}
    work, idle = instances["work_0"], instances["idle_0"]
    assert work.host_policy == {"near": {"numa-node": "0", "cpu-cores": "0-1"}}
    assert work.profiles == ["0", "1"]
    assert work.secondary_devices == [("KIND_NVDLA", 1)]
    assert not work.is_passive
    assert idle.is_passive
    assert (idle.profiles, idle.secondary_devices) == ([], [])

    served.core.unload(served.name)
    assert (work.host_policy, work.profiles, work.is_passive) == ({}, [], False)


def has_cuda_device():
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda_device(), reason="no CUDA device here")
@pytest.mark.parametrize(("policy", "threads"), [("device-blocking", 1), ("blocking", 2)])
def test_device_blocking_executes_the_instances_of_a_gpu_on_one_thread(with_table, policy, threads):
    group = "instance_group { kind: KIND_GPU gpus: [ 0 ] count: 2 }"
    served = with_table(f'execution-policy = "{policy}"', group)
    served.core.load(served.name)

    futures = [served.send({"IN": np.float32([1])}) for _ in range(50)]
    for future in futures:
        future.result(20)

    assert len(served.module.threads) == threads
