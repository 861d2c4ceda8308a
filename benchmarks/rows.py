"""What is measured: the backends, the models they serve, the rows of the table and the targets."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """A backend under measurement."""

    key: str
    label: str
    #: As in ``backend:`` of config.pbtxt, and the name of its folder.
    backend: str


STOCK = Peer("stock", "stock Python backend", "python")
FLOOR = Peer("floor", "C floor", "floor")
OURS = Peer("ours", "this SDK", "identity")
BATCHED = Peer("batched", "this SDK, @batched", "batched_identity")
PEERS = (STOCK, FLOOR, OURS, BATCHED)


@dataclass(frozen=True)
class Model:
    """An identity model: IN is copied to OUT. Shapes are fixed, so that perf_analyzer need not be told."""

    name: str
    datatype: str
    elements: int
    max_batch_size: int = 0

    def config(self, backend: str) -> str:
        """Write config.pbtxt: the same text for every backend but for its name."""
        tensor = f"data_type: TYPE_{self.datatype} dims: [{self.elements}]"
        lines = [
            f'backend: "{backend}"',
            f"max_batch_size: {self.max_batch_size}",
            f'input [{{ name: "IN" {tensor} }}]',
            f'output [{{ name: "OUT" {tensor} }}]',
            "instance_group [{ kind: KIND_CPU count: 1 }]",
        ]
        if self.max_batch_size:
            preferred = f"preferred_batch_size: [{self.max_batch_size}]"
            lines.append(f"dynamic_batching {{ {preferred} max_queue_delay_microseconds: 500 }}")
        return "\n".join(lines) + "\n"


SMALL = Model("small", "FP32", 16)
LARGE = Model("large", "FP32", 4 << 20)
STRINGS = Model("strings", "STRING", 10_000)
BATCH = Model("batch", "FP32", 16, max_batch_size=64)
MODELS = (SMALL, LARGE, STRINGS, BATCH)

IN_PROCESS, GRPC = "in-process", "gRPC"


@dataclass(frozen=True)
class Target:
    """A ratio that this SDK must reach against a peer."""

    metric: str
    peer: str
    ratio: float

    @property
    def sign(self) -> str:
        """Give the direction in which it is reached: less time, more requests."""
        return "<=" if self.metric == "p50" else ">="

    def reached(self, ratio: float) -> bool:
        """Tell whether the measured ratio reaches it."""
        return ratio <= self.ratio if self.metric == "p50" else ratio >= self.ratio


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    key: str
    title: str
    model: Model
    service: str
    #: Arguments for perf_analyzer beside those that every row has.
    arguments: tuple[str, ...] = ()
    #: All processes of the row on one core, see README.md.
    pinned: bool = False
    #: What the table shows: "p50", the median latency, and "rate", the requests per second.
    metrics: tuple[str, ...] = ("rate",)
    peers: tuple[Peer, ...] = (STOCK, FLOOR, OURS)
    targets: tuple[Target, ...] = field(default=())


_SHARED_MEMORY = ("--shared-memory", "system", "--output-shared-memory-size", str(4 * LARGE.elements))

ROWS = (
    Row(
        "small",
        "16 floats, in-process",
        SMALL,
        IN_PROCESS,
        pinned=True,
        metrics=("p50", "rate"),
        targets=(Target("p50", "stock", 0.25), Target("p50", "floor", 1.6)),
    ),
    Row("small-unpinned", "16 floats, in-process, unpinned", SMALL, IN_PROCESS, metrics=("p50", "rate")),
    Row(
        "large",
        "16 MB, in-process",
        LARGE,
        IN_PROCESS,
        pinned=True,
        targets=(Target("rate", "stock", 3.5), Target("rate", "floor", 0.9)),
    ),
    Row("strings", "10,000 strings, in-process", STRINGS, IN_PROCESS, ("--string-length", "16"), pinned=True),
    Row("grpc-small", "16 floats, gRPC", SMALL, GRPC),
    Row("grpc-large", "16 MB, gRPC + shared memory", LARGE, GRPC, _SHARED_MEMORY),
    Row(
        "grpc-batch",
        "64 at once, dynamic batching, gRPC",
        BATCH,
        GRPC,
        ("--async",),
        peers=(STOCK, FLOOR, OURS, BATCHED),
        targets=(Target("rate", "stock", 1.4),),
    ),
)
