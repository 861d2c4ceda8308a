"""Every flag of tritonserver, as a typed field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.server_options.flags import (
    BY_DEVICE,
    RANGE,
    RESOURCES,
    RESTRICTED,
    SETTINGS,
    SWITCH,
    flag,
)

#: Setting to value, by the name of what it is a setting of; "" where it is one of all.
Settings = Mapping[str, Mapping[str, object]]
PORT = (1, 65535)


@dataclass(kw_only=True)
class Fields:
    """The flags, in the groups of tritonserver's help; what is None is left to the server."""

    # Server
    id: str | None = flag("2.4", "Server", "name of the server in its metadata")
    exit_timeout_secs: int | None = flag(
        "2.4", "Server", "seconds that requests in flight have when the server stops", int, bounds=(0, None)
    )

    # Logging
    log_verbose: int | None = flag("2.4", "Logging", "0 is off; higher says more", int, bounds=(0, None))
    log_info: bool | None = flag("2.4", "Logging", "log information", bool)
    log_warning: bool | None = flag("2.4", "Logging", "log warnings", bool)
    log_error: bool | None = flag("2.4", "Logging", "log errors", bool)
    log_format: str | None = flag(
        "2.23", "Logging", "how a line's time is written", choices=("default", "ISO8601")
    )
    log_file: Path | str | None = flag("2.26", "Logging", "where to log instead of the terminal", Path)

    # Model repository
    model_repository: Sequence[str | Path] | None = flag(
        "2.4", "Model repository", "folder of models, or s3://, gs://, as://", repeats=True
    )
    exit_on_error: bool | None = flag(
        "2.4", "Model repository", "end when a model fails to load at the start", bool
    )
    disable_auto_complete_config: bool | None = flag(
        "2.24", "Model repository", "take each config.pbtxt as it is, and require it", bool, form=SWITCH
    )
    strict_readiness: bool | None = flag("2.4", "Model repository", "ready only when every model is", bool)
    model_control_mode: str | None = flag(
        "2.4",
        "Model repository",
        "when models are loaded: at the start, when their files change, or when asked to",
        choices=("none", "poll", "explicit"),
    )
    repository_poll_secs: int | None = flag(
        "2.4",
        "Model repository",
        "seconds between looks at the repository in poll mode",
        int,
        bounds=(0, None),
    )
    load_model: Sequence[str] | None = flag(
        "2.4", "Model repository", "model to load at the start in explicit mode; * for all", repeats=True
    )
    model_config_name: str | None = flag(
        "2.46", "Model repository", "use configs/NAME.pbtxt of each model that has it"
    )
    model_load_thread_count: int | None = flag(
        "2.24", "Model repository", "threads that load models", int, bounds=(1, None)
    )
    model_load_retry_count: int | None = flag(
        "2.42", "Model repository", "how often a load that failed is tried again", int, bounds=(0, None)
    )
    model_namespacing: bool | None = flag(
        "2.32", "Model repository", "allow equal names in several repositories", bool
    )
    enable_peer_access: bool | None = flag(
        "2.47", "Model repository", "let GPUs read each other's memory", bool
    )

    # HTTP
    allow_http: bool | None = flag("2.4", "HTTP", "answer HTTP", bool)
    http_address: str | None = flag("2.21", "HTTP", "address to listen on")
    http_port: int | None = flag("2.4", "HTTP", "port of HTTP", int, bounds=PORT)
    reuse_http_port: bool | None = flag(
        "2.26", "HTTP", "share the port with other servers that say so too", bool
    )
    http_header_forward_pattern: str | None = flag(
        "2.33", "HTTP", "headers that become request parameters, as a regular expression"
    )
    http_thread_count: int | None = flag("2.4", "HTTP", "threads that answer HTTP", int, bounds=(1, None))
    http_max_input_size: int | None = flag("2.59", "HTTP", "largest request in bytes", int, bounds=(1, None))
    http_restricted_api: Mapping[str, tuple[str, str]] | None = flag(
        "2.40", "HTTP", "APIs that need a header", repeats=True, form=RESTRICTED
    )

    # gRPC
    allow_grpc: bool | None = flag("2.4", "gRPC", "answer gRPC", bool)
    grpc_address: str | None = flag("2.21", "gRPC", "address to listen on")
    grpc_port: int | None = flag("2.4", "gRPC", "port of gRPC", int, bounds=PORT)
    reuse_grpc_port: bool | None = flag(
        "2.26", "gRPC", "share the port with other servers that say so too", bool
    )
    grpc_header_forward_pattern: str | None = flag(
        "2.33", "gRPC", "headers that become request parameters, as a regular expression"
    )
    grpc_infer_thread_count: int | None = flag(
        "2.57", "gRPC", "threads that take requests", int, bounds=(2, 128)
    )
    grpc_infer_allocation_pool_size: int | None = flag(
        "2.4", "gRPC", "request objects that are kept for reuse", int, bounds=(0, None)
    )
    grpc_max_response_pool_size: int | None = flag(
        "2.56", "gRPC", "response objects that may wait in the queue", int, bounds=(1, None)
    )
    grpc_use_ssl: bool | None = flag("2.4", "gRPC", "talk TLS", bool)
    grpc_use_ssl_mutual: bool | None = flag("2.8", "gRPC", "ask clients for a certificate, too", bool)
    grpc_server_cert: Path | str | None = flag("2.4", "gRPC", "PEM file of the server's certificate", Path)
    grpc_server_key: Path | str | None = flag("2.4", "gRPC", "PEM file of the server's key", Path)
    grpc_root_cert: Path | str | None = flag("2.4", "gRPC", "PEM file of the root certificate", Path)
    grpc_infer_response_compression_level: str | None = flag(
        "2.9", "gRPC", "how much responses are compressed", choices=("none", "low", "medium", "high")
    )
    grpc_keepalive_time: int | None = flag("2.13", "gRPC", "milliseconds between keepalive pings", int)
    grpc_keepalive_timeout: int | None = flag(
        "2.13", "gRPC", "milliseconds that an answer to a ping may take", int
    )
    grpc_keepalive_permit_without_calls: bool | None = flag(
        "2.13", "gRPC", "ping also when no call is under way", bool
    )
    grpc_http2_max_pings_without_data: int | None = flag(
        "2.13", "gRPC", "pings without data between; 0 for any number", int
    )
    grpc_http2_min_recv_ping_interval_without_data: int | None = flag(
        "2.13", "gRPC", "milliseconds between pings of a client without data between", int
    )
    grpc_http2_max_ping_strikes: int | None = flag(
        "2.13", "gRPC", "bad pings until a connection is closed; 0 for any number", int
    )
    grpc_max_connection_age: int | None = flag("2.42", "gRPC", "milliseconds that a connection may live", int)
    grpc_max_connection_age_grace: int | None = flag(
        "2.42", "gRPC", "milliseconds that its calls have then", int
    )
    grpc_restricted_protocol: Mapping[str, tuple[str, str]] | None = flag(
        "2.33", "gRPC", "protocols that need a header", repeats=True, form=RESTRICTED
    )

    # Sagemaker
    allow_sagemaker: bool | None = flag("2.11", "Sagemaker", "answer Sagemaker", bool)
    sagemaker_port: int | None = flag("2.11", "Sagemaker", "port of Sagemaker", int, bounds=PORT)
    sagemaker_safe_port_range: tuple[int, int] | None = flag(
        "2.11", "Sagemaker", "ports that other endpoints may have", int, form=RANGE
    )
    sagemaker_thread_count: int | None = flag(
        "2.11", "Sagemaker", "threads that answer Sagemaker", int, bounds=(1, None)
    )

    # Vertex
    allow_vertex_ai: bool | None = flag("2.16", "Vertex", "answer Vertex AI", bool)
    vertex_ai_port: int | None = flag("2.16", "Vertex", "port of Vertex AI", int, bounds=PORT)
    vertex_ai_thread_count: int | None = flag(
        "2.16", "Vertex", "threads that answer Vertex AI", int, bounds=(1, None)
    )
    vertex_ai_default_model: str | None = flag("2.16", "Vertex", "model of requests that name none")

    # Metrics
    allow_metrics: bool | None = flag("2.4", "Metrics", "give metrics", bool)
    allow_gpu_metrics: bool | None = flag("2.4", "Metrics", "give metrics of GPUs", bool)
    allow_cpu_metrics: bool | None = flag("2.26", "Metrics", "give metrics of CPU and memory", bool)
    metrics_address: str | None = flag("2.34", "Metrics", "address to listen on; that of HTTP if not given")
    metrics_port: int | None = flag("2.4", "Metrics", "port of the metrics", int, bounds=PORT)
    metrics_interval_ms: int | None = flag(
        "2.15", "Metrics", "milliseconds between two measurements", int, bounds=(1, None)
    )
    metrics_config: Settings | None = flag(
        "2.33",
        "Metrics",
        "setting of the metrics, such as summary_latencies=true",
        repeats=True,
        form=SETTINGS,
    )

    # Tracing
    trace_config: Settings | None = flag(
        "2.33",
        "Tracing",
        "setting of the traces: level=, rate=, count=, mode=, triton,file=, opentelemetry,url=",
        repeats=True,
        form=SETTINGS,
    )

    # Backend
    backend_directory: Path | str | None = flag("2.4", "Backend", "where NAME/libtriton_NAME.so lies", Path)
    backend_config: Settings | None = flag(
        "2.4", "Backend", "setting of a backend, or of all", repeats=True, form=SETTINGS
    )

    # Repository agent
    repoagent_directory: Path | str | None = flag(
        "2.8", "Repository agent", "where repository agents lie", Path
    )

    # Response cache
    cache_config: Settings | None = flag(
        "2.32",
        "Response cache",
        "setting of a cache, such as local,size=1048576",
        repeats=True,
        form=SETTINGS,
    )
    cache_directory: Path | str | None = flag("2.32", "Response cache", "where caches lie", Path)

    # Rate limiter
    rate_limit: str | None = flag(
        "2.14", "Rate limiter", "whether instances wait for resources", choices=("execution_count", "off")
    )
    rate_limit_resource: Mapping[str, int | Mapping[int, int]] | None = flag(
        "2.14", "Rate limiter", "how much of a resource there is", int, repeats=True, form=RESOURCES
    )

    # Memory and devices
    pinned_memory_pool_byte_size: int | None = flag(
        "2.4", "Memory and devices", "bytes of pinned memory", int, bounds=(0, None)
    )
    cuda_memory_pool_byte_size: Mapping[int, int] | None = flag(
        "2.4",
        "Memory and devices",
        "bytes of a GPU's memory pool",
        int,
        repeats=True,
        form=BY_DEVICE,
        bounds=(0, None),
    )
    cuda_virtual_address_size: Mapping[int, int] | None = flag(
        "2.40",
        "Memory and devices",
        "bytes of address space for a growable state",
        int,
        repeats=True,
        form=BY_DEVICE,
        bounds=(0, None),
    )
    min_supported_compute_capability: float | None = flag(
        "2.4", "Memory and devices", "GPUs below it are not used", float
    )
    buffer_manager_thread_count: int | None = flag(
        "2.7", "Memory and devices", "threads that copy tensors", int, bounds=(0, None)
    )
    host_policy: Settings | None = flag(
        "2.11",
        "Memory and devices",
        "setting of a host policy: NAME,numa-node= or NAME,cpu-cores=",
        repeats=True,
        form=SETTINGS,
    )
    model_load_gpu_limit: Mapping[int, float] | None = flag(
        "2.25",
        "Memory and devices",
        "part of a GPU's memory from which loads are refused",
        float,
        repeats=True,
        form=BY_DEVICE,
    )

    # Shared memory
    allow_client_shm: bool | None = flag("2.68", "Shared memory", "let clients register shared memory", bool)
