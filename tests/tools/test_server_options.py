"""ServerOptions against the real tritonserver: its flags, its refusals, its words."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.server_options import checks, files, probe
from triton_backend_sdk.tools.server_options.deprecated import DEPRECATED
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags
from triton_backend_sdk.tools.server_options.values import InvalidOptionError

FULL = ServerOptions(
    model_repository=["a", "b"],
    model_control_mode="explicit",
    load_model=["one", "two"],
    disable_auto_complete_config=True,
    exit_on_error=False,
    http_port=9000,
    http_restricted_api={"health,metadata": ("key", "value"), "trace": ("k", "v=w")},
    sagemaker_safe_port_range=(1, 2000),
    trace_config={"": {"rate": "1"}, "triton": {"file": "x", "log-frequency": "3"}},
    backend_config={"python": {"shm-default-byte-size": "1"}, "": {"min-compute": "2"}},
    cache_config={"local": {"size": "1048576"}},
    metrics_config={"": {"summary_latencies": "true"}},
    host_policy={"gpu_0": {"numa-node": "0", "cpu-cores": "0-3"}},
    rate_limit_resource={"R": 4, "S": {0: 1, 1: 2}},
    cuda_memory_pool_byte_size={0: 1 << 20},
    model_load_gpu_limit={0: 0.5},
    min_supported_compute_capability=6.0,
    log_verbose=1,
)


LEVELS = ("TIMESTAMPS", "TENSORS")


@pytest.fixture(scope="module")
def server():
    return find_server()


def test_there_is_a_field_for_every_flag(server):
    known = {flag.name for flag in flags().values()} | set(DEPRECATED) | {"help"}
    assert probe.known_flags(server.binary) <= known


def test_flags_say_since_when_they_are(server):
    version = tuple(int(part) for part in server.version.split(".")[:2])
    for flag in flags().values():
        assert (flag.name in probe.known_flags(server.binary)) == (flag.since <= version), flag


#: First release tag of the server's repository whose parser has the flag; all others are older.
RELEASES = {
    "2.7": "buffer-manager-thread-count",
    "2.8": "grpc-use-ssl-mutual repoagent-directory",
    "2.9": "grpc-infer-response-compression-level",
    "2.11": ("allow-sagemaker host-policy sagemaker-port sagemaker-safe-port-range sagemaker-thread-count"),
    "2.13": (
        "grpc-http2-max-ping-strikes grpc-http2-max-pings-without-data "
        "grpc-http2-min-recv-ping-interval-without-data grpc-keepalive-permit-without-calls "
        "grpc-keepalive-time grpc-keepalive-timeout"
    ),
    "2.14": "rate-limit rate-limit-resource",
    "2.15": "metrics-interval-ms",
    "2.16": "allow-vertex-ai vertex-ai-default-model vertex-ai-port vertex-ai-thread-count",
    "2.21": "grpc-address http-address",
    "2.23": "log-format",
    "2.24": "disable-auto-complete-config model-load-thread-count",
    "2.25": "model-load-gpu-limit",
    "2.26": "allow-cpu-metrics log-file reuse-grpc-port reuse-http-port",
    "2.32": "cache-config cache-directory model-namespacing",
    "2.33": (
        "grpc-header-forward-pattern grpc-restricted-protocol http-header-forward-pattern "
        "metrics-config trace-config"
    ),
    "2.34": "metrics-address",
    "2.40": "cuda-virtual-address-size http-restricted-api",
    "2.42": "grpc-max-connection-age grpc-max-connection-age-grace model-load-retry-count",
    "2.46": "model-config-name",
    "2.47": "enable-peer-access",
    "2.56": "grpc-max-response-pool-size",
    "2.57": "grpc-infer-thread-count",
    "2.59": "http-max-input-size",
    "2.68": "allow-client-shm",
}


def test_flags_are_since_the_release_whose_parser_has_them():
    since = {name: version for version, names in RELEASES.items() for name in names.split()}
    for flag in flags().values():
        assert ".".join(map(str, flag.since)) == since.get(flag.name, "2.4"), flag.name


def test_argv_there_and_back():
    assert ServerOptions.from_argv(FULL.to_argv()) == FULL


def test_dict_there_and_back():
    assert ServerOptions.from_dict(json.loads(json.dumps(FULL.to_dict()))).to_argv() == FULL.to_argv()


def test_names_with_dashes_are_names():
    assert ServerOptions.from_dict({"http-port": 1}).http_port == 1


def test_unknown_names_are_refused_with_the_closest():
    with pytest.raises(TypeError, match="no option 'htp_port'; did you mean 'http_port'"):
        ServerOptions(htp_port=1)


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--http-port", "1"], "http_port", 1),
        (["--http-po=1"], "http_port", 1),  # a prefix that is clear
        (["--http-port=1", "--http-port=2"], "http_port", 2),
        (["--log-verbose=true"], "log_verbose", 1),
        (["--allow-http=OFF"], "allow_http", False),
        (["--disable-auto-complete-config"], "disable_auto_complete_config", True),
        (["--http-port= 5"], "http_port", 5),
        (["--backend-config=a=b,c=d"], "backend_config", {"a=b": {"c": "d"}}),
        (["--metrics-config=a=b,c=d"], "metrics_config", {"": {"a": "b,c=d"}}),
        (
            ["--trace-config=level=TIMESTAMPS", "--trace-config=level=TENSORS"],
            *("trace_config", {"": {"level": ["TIMESTAMPS", "TENSORS"]}}),
        ),
        (["--model-load-gpu-limit=0:0.1", "--model-load-gpu-limit=0:0.9"], "model_load_gpu_limit", {0: 0.1}),
        (
            ["--cuda-memory-pool-byte-size=0:1", "--cuda-memory-pool-byte-size=0:9"],
            *("cuda_memory_pool_byte_size", {0: 9}),
        ),
        (
            ["--rate-limit-resource=R:4", "--rate-limit-resource=R:3", "--rate-limit-resource=R:2:0"],
            *("rate_limit_resource", {"R": {-1: 3, 0: 2}}),
        ),
    ],
)
def test_argv_is_read_as_tritonserver_reads_it(argv, field, value):
    options = ServerOptions.from_argv(argv)
    assert getattr(options, field) == value
    assert ServerOptions.from_argv(options.to_argv()) == options


@pytest.mark.parametrize(
    ("fields", "argv"),
    [
        ({"http_port": "8000"}, ["--http-port=8000"]),
        ({"allow_http": "off"}, ["--allow-http=false"]),
        ({"allow_http": 0}, ["--allow-http=false"]),
        ({"disable_auto_complete_config": "false"}, []),
        ({"log_verbose": True}, ["--log-verbose=1"]),
    ],
)
def test_plain_values_have_their_type_whatever_they_came_as(fields, argv):
    options = ServerOptions(**fields)
    assert options.to_argv() == argv
    assert {type(value) for value in options.given().values()} <= {bool, int}


@pytest.mark.parametrize(
    ("argv", "modern"),
    [
        (["--model-store=m"], ["--model-repository=m"]),
        (["--strict-model-config=true"], ["--disable-auto-complete-config"]),
        (["--strict-model-config=false"], []),
        (["--response-cache-byte-size=7"], ["--cache-config=local,size=7"]),
        (["--trace-file=f", "--trace-rate=9"], ["--trace-config=triton,file=f", "--trace-config=rate=9"]),
        (["--trace-log-frequency=2"], ["--trace-config=triton,log-frequency=2"]),
        (["--trace-level=MAX"], ["--trace-config=level=TIMESTAMPS"]),
        (["--trace-level=MIN", "--trace-level=TENSORS"], [f"--trace-config=level={x}" for x in LEVELS]),
        (["--trace-level=MAX", "--trace-level=OFF"], ["--trace-config=level=OFF"]),
        (["--trace-count=4"], ["--trace-config=count=4"]),
        # of several the last, and what is said in today's words before all of them
        (["--trace-count=4", "--trace-count=5"], ["--trace-config=count=5"]),
        (["--trace-config=rate=1", "--trace-rate=9"], ["--trace-config=rate=1"]),
        (["--strict-model-config=true", "--strict-model-config=off"], []),
        (
            ["--strict-model-config=false", "--disable-auto-complete-config"],
            ["--disable-auto-complete-config"],
        ),
        (
            ["--strict-model-config=true", "--disable-auto-complete-config"],
            ["--disable-auto-complete-config"],
        ),
        (["--model-store=m", "--model-repository=n"], ["--model-repository=m", "--model-repository=n"]),
        (["--backend-config=tensorflow,version=2"], []),
    ],
)
def test_old_flags_are_translated(argv, modern):
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        assert ServerOptions.from_argv(argv).to_argv() == modern
    with pytest.raises(InvalidOptionError, match="is deprecated"):
        ServerOptions.from_argv(argv, strict=True)


REFUSED = [
    "--model-control-mode=foo",
    "--log-format=x",
    "--rate-limit=x",
    "--load-model=a",
    "--cache-config=local",
    "--cache-config=size=1",
    "--backend-config=,a=b",
    "--backend-config=a",
    "--metrics-config=x",
    "--host-policy=x",
    "--trace-config=bad,x=1",
    "--trace-config=mode=foo",
    "--allow-http=7",
    "--http-port=x",
    "--http-restricted-api=foo:k=v",
    "--http-restricted-api=health:k=v --http-restricted-api=health,trace:k2=v",
    "--grpc-restricted-protocol=health,k=v",
    "--grpc-infer-response-compression-level=x",
    "--http-port=18000 --grpc-port=18000",
    "--sagemaker-safe-port-range=1",
    "--rate-limit-resource=a",
    "--cuda-memory-pool-byte-size=1",
    "--model-config-name=",
    "--min-supported-compute-capability=x",
    "--model-load-gpu-limit=0:2.0",
    "--model-control-mode=explicit --load-model=* --load-model=a",
    "stray",
    "--http-port=99999999999",
    "--log-format=iso8601",
    "--disable-auto-complete-config=true",
    "--backend-config=a=b,c",
    "--cache-config=size=1,x",
    "--metrics-config=a,b=c",
    "--metrics-config=,a=b",
    "--trace-config=,a=b",
    "--trace-config=level",
    "--trace-config=rate=x",
    "--trace-config=level=x",
    "--trace-config=triton,log-frequency=x",
    "--trace-config=mode=opentelemetry --trace-config=opentelemetry,bsp_schedule_delay=x",
    "--host-policy=p,color=1",
    "--http-restricted-api=health:a=b --http-restricted-api=health:c=d",
    "--http-restricted-api=health,health:a=b",
    "--allow-sagemaker=true --sagemaker-safe-port-range=1-100",
    "--allow-sagemaker=true --sagemaker-port=8000",
    "--strict-model-config=perhaps",
    "--response-cache-byte-size=x",
    "--response-cache-byte-size=1 --cache-config=local,size=1",
    "--trace-level=x",
    "--trace-rate=x",
    "--trace-count=99999999999",
]


@pytest.mark.filterwarnings("ignore:.* is deprecated")
@pytest.mark.parametrize("line", REFUSED)
def test_what_tritonserver_refuses_is_refused_before_in_its_words(server, tmp_path, line):
    argv = [f"--model-repository={tmp_path}", "--allow-metrics=false", *line.split()]
    done = subprocess.run([server.binary, *argv], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    try:
        said = checks.faults(ServerOptions.from_argv(argv))
    except InvalidOptionError as error:
        said = [str(error)]
    theirs = [sentence(text) for text in done.stderr.splitlines() if is_said(text)]
    assert any(text in ours.replace("_", "-") for text in theirs for ours in said), (said, theirs)


NO_SENTENCES = ("\t", "  --", "Usage:", "Warning:", "Bad option:", "I1", "W1", "E1")


def is_said(line):
    return bool(line.strip()) and not line.startswith(NO_SENTENCES) and not line.endswith(":")


def sentence(line):
    """Give what tritonserver says without who says it; some of its texts have another spelling of a flag."""
    return re.sub("^error: .*? - |^.*/tritonserver: ", "", line.strip()).replace("_", "-")


@pytest.mark.parametrize("place", [None, "nowhere"])
def test_a_repository_that_is_none_is_refused_in_its_words(server, tmp_path, place):
    argv = [f"--model-repository={tmp_path}/{place}"] if place else []
    done = subprocess.run(
        [server.binary, *argv, "--allow-metrics=false"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [ours] = checks.faults(ServerOptions.from_argv(argv))
    assert ours.partition(": there is")[0] in done.stderr


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_repository": None}, "--model-repository must be specified"),
        ({"model_repository": ["nowhere"]}, "failed to stat file nowhere"),
        ({"http_port": 70000}, "--http-port=70000 is out of bounds; it can be 1 to 65535"),
        ({"grpc_infer_thread_count": 1}, "it can be 2 to 128"),
        ({"http_port": 8001, "grpc_address": "127.0.0.1"}, "same address and port 127.0.0.1:8001"),
        ({"repository_poll_secs": 3}, "no effect without --model-control-mode=poll"),
        ({"grpc_server_cert": "no.pem", "grpc_use_ssl": True}, "there is no file no.pem"),
        ({"grpc_root_cert": __file__}, "no effect without --grpc-use-ssl"),
        ({"backend_directory": "nowhere"}, "there is no folder nowhere"),
        ({"preload": ["no.so"]}, "there is no library no.so"),
        ({"http_port": "80x"}, "would take it for 80"),
        ({"http_port": "70000"}, "--http-port=70000 is out of bounds"),
        ({"http_address": "localhost"}, "--http-address=localhost: tritonserver would listen where nobody"),
        ({"metrics_address": "::1"}, "or ipv6:::1"),
        ({"grpc_address": "::1"}, "is written as [::1]"),
        ({"load_model": 5}, "--load-model wants a list, not 5"),
        ({"disable_auto_complete_config": "maybe"}, "is true or false, not 'maybe'"),
        ({"backend_config": {"python": "x"}}, "wants {NAME: {SETTING: VALUE}}, not {'python': 'x'}"),
        ({"http_restricted_api": {"health": ("k",)}}, "wants {API: (KEY, VALUE)}"),
        ({"sagemaker_safe_port_range": 5}, "wants (FIRST, LAST), not 5"),
        ({"rate_limit_resource": ["R"]}, "wants {NAME: COUNT} or {NAME: {DEVICE: COUNT}}"),
        # what is written would be read as another setting, of another name
        ({"backend_config": {"": {"a": "b,c=d"}}}, "would read {'a=b': {'c': 'd'}}"),
        ({"http_restricted_api": {"health": ("k=", "v")}}, "would read {'health': ('k', '=v')}"),
        ({"cuda_memory_pool_byte_size": {0: -1}}, "out of bounds; it can be 0 or more"),
        ({"allow_sagemaker": True, "sagemaker_port": 8000}, "SageMaker requests at the same address"),
        ({"allow_vertex_ai": True, "vertex_ai_port": 8002}, "Vertex AI requests at the same address"),
    ],
)
def test_what_tritonserver_would_not_say(tmp_path, fields, words):
    found = checks.faults(ServerOptions(**{"model_repository": [tmp_path], **fields}))
    assert len(found) == 1
    assert words in found[0]


def test_sound_options_have_no_fault(tmp_path):
    assert checks.faults(ServerOptions(model_repository=[tmp_path], http_port=18000, load_model=[])) == []


def test_a_flag_that_the_server_lacks(server):
    newer = flags()["allow_client_shm"]
    if newer.name in probe.known_flags(server.binary):
        pytest.skip(f"tritonserver {server.version} has --{newer.name}")
    with pytest.raises(probe.UnsupportedFlagError, match=r"no --allow-client-shm: it came with 2\.68"):
        probe.check_flags(server, [newer])
    probe.check_flags(server, [flags()["http_port"]])


def test_what_is_no_tritonserver(tmp_path):
    binary = tmp_path / "tritonserver"
    binary.write_text("#!/bin/sh\necho hello\n")
    binary.chmod(0o755)
    with pytest.raises(HandledError, match="names no flags"):
        probe.known_flags(binary)


def test_yaml_there_and_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.save(FULL, tmp_path / "options.yaml")
    assert "http-port: 9000\n" in (tmp_path / "options.yaml").read_text()
    assert files.load(tmp_path / "options.yaml").to_argv() == FULL.absolute(tmp_path).to_argv()


def test_yaml_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text(
        "model-repository: [../models, 's3://bucket/models', /abs]\npreload: libops.so\nlog_file: x.log\n"
    )
    options = files.load(tmp_path / "conf" / "a.yaml")
    assert options.model_repository == [tmp_path / "conf/../models", "s3://bucket/models", Path("/abs")]
    assert options.preload == [tmp_path / "conf" / "libops.so"]
    assert options.to_argv()[0] == f"--log-file={tmp_path}/conf/x.log"


def test_one_may_be_given_for_several():
    assert ServerOptions(model_repository="a", load_model="b").to_argv() == [
        "--model-repository=a",
        "--load-model=b",
    ]


def test_yaml_with_old_flags_is_translated(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "strict-model-config: true\ntrace-rate: 7\ntrace_count: 2\ntrace-config: {'': {rate: 9}}\n"
    )
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        options = files.load(file)
    assert options.disable_auto_complete_config is True
    assert options.trace_config == {"": {"rate": 9, "count": "2"}}
    with pytest.raises(HandledError, match=r"a\.yaml: --strict-model-config is deprecated"):
        files.load(file, strict=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("htp-port: 1", "a.yaml: tritonserver has no option 'htp-port'; did you mean 'http-port'"),
        ("htp_port: 1", "a.yaml: tritonserver has no option 'htp_port'; did you mean 'http_port'"),
        ("- http-port", "holds no options"),
        ("http-port: [", "cannot read"),
        (None, r"cannot read .*a\.yaml: No such file or directory"),
    ],
)
def test_yaml_that_is_none(tmp_path, text, words):
    if text is not None:
        (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(HandledError, match=words):
        files.load(tmp_path / "a.yaml")


def test_an_empty_yaml_sets_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert files.load(tmp_path / "a.yaml") == ServerOptions()


def test_yaml_that_cannot_be_written(tmp_path):
    with pytest.raises(HandledError, match="cannot write"):
        files.save(FULL, tmp_path / "nowhere" / "a.yaml")
