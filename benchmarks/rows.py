"""What is measured: the backends, the models they serve, the rows of the table and the targets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A backend under measurement."""

    key: str
    label: str
    #: What its backend for a kind of work is called.
    pattern: str

    def backend(self, work: str) -> str:
        """Give the name of its backend for a kind of work, as in ``backend:`` of config.pbtxt."""
        return self.pattern.format(work)


STOCK = Peer("stock", "stock Python backend", "python")
FLOOR = Peer("floor", "C floor", "floor_{}")
OURS = Peer("ours", "this SDK", "{}")
BATCHED = Peer("batched", "this SDK, @batched", "batched_{}")
#: The stock backend's very model.py, in the server's process.
COMPAT = Peer("compat", "model.py, in-process", "python_inprocess")
PEERS = (STOCK, FLOOR, OURS, BATCHED, COMPAT)
ALL = (STOCK, FLOOR, OURS, COMPAT)


@dataclass(frozen=True)
class Model:
    """A model from IN to OUT, both of one shape. Shapes are fixed, so that perf_analyzer need not be told."""

    name: str
    datatype: str
    elements: int
    max_batch_size: int = 0
    #: What it does: "identity", "sleep" (identity after 100 ms), "call" (what another model answers),
    #: "stream" (0, 1, ... IN - 1).
    work: str = "identity"
    #: The keys of the peers for which it is decoupled.
    decoupled: tuple[str, ...] = ()

    def config(self, peer: Peer) -> str:
        """Write config.pbtxt: the same text for every peer but for the backend's name, and ``decoupled``."""
        tensor = f"data_type: TYPE_{self.datatype} dims: [{self.elements}]"
        lines = [
            f'backend: "{peer.backend(self.work)}"',
            f"max_batch_size: {self.max_batch_size}",
            f'input [{{ name: "IN" {tensor} }}]',
            f'output [{{ name: "OUT" {tensor} }}]',
            "instance_group [{ kind: KIND_CPU count: 1 }]",
        ]
        if self.max_batch_size:
            preferred = f"preferred_batch_size: [{self.max_batch_size}]"
            lines.append(f"dynamic_batching {{ {preferred} max_queue_delay_microseconds: 500 }}")
        if peer.key in self.decoupled:
            lines.append("model_transaction_policy { decoupled: true }")
        return "\n".join(lines) + "\n"


SMALL = Model("small", "FP32", 16)
LARGE = Model("large", "FP32", 4 << 20)
STRINGS = Model("strings", "STRING", 10_000)
BATCH = Model("batch", "FP32", 16, max_batch_size=64)
MEGA = Model("mega", "FP32", 1 << 18)
STREAM = Model("stream", "INT32", 1, work="stream", decoupled=tuple(peer.key for peer in ALL))
CALL_SMALL = Model("call_small", "FP32", 16, work="call")
CALL_MEGA = Model("call_mega", "FP32", 1 << 18, work="call")
# The stock backend takes a second request before the first is answered only in a decoupled model.
SLEEP = Model("sleep", "FP32", 16, work="sleep", decoupled=("stock",))

IN_PROCESS, GRPC = "in-process", "gRPC"


@dataclass(frozen=True)
class Target:
    """What this SDK must reach: a ratio to a peer, or a number of microseconds."""

    metric: str
    #: The key of a peer, IDEAL, or None where ``limit`` is in us.
    peer: str | None
    limit: float
    #: The key of the peer that must reach it.
    of: str = OURS.key

    @property
    def sign(self) -> str:
        """Give the direction in which it is reached: less time, more requests."""
        return "<=" if self.metric == "p50" else ">="

    def reached(self, value: float) -> bool:
        """Tell whether the measured ratio or time reaches it."""
        return value <= self.limit if self.metric == "p50" else value >= self.limit


#: Stands among the peers for the rate that nobody can exceed, where a row has one.
IDEAL = "ideal"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    key: str
    title: str
    model: Model
    service: str
    #: Arguments for perf_analyzer beside those that every row has.
    arguments: tuple[str, ...] = ()
    #: Requests in flight.
    concurrency: int = 1
    #: How many answers a request asks of a stream, each of them counted for the rate; 0: the model echoes.
    responses: int = 0
    #: All processes of the row on one core, see README.md.
    pinned: bool = False
    #: What the table shows: "p50", the median latency, and "rate", the requests per second.
    metrics: tuple[str, ...] = ("rate",)
    peers: tuple[Peer, ...] = (STOCK, FLOOR, OURS)
    targets: tuple[Target, ...] = ()
    #: Measured with our own client, see client/client.c, not with perf_analyzer.
    own_client: bool = False
    #: The model that the measured one calls; only our own client loads it.
    callee: Model | None = None
    #: The callee is measured too, in turn, and the median latency is what the caller adds to it.
    less_callee: bool = False
    #: The rate that nobody can exceed.
    ideal_rate: float | None = None

    def loaded(self) -> list[tuple[Model, bool]]:
        """Give the models that our own client loads, in order, each with whether it is measured."""
        callee = [(self.callee, self.less_callee)] if self.callee is not None else []
        return [*callee, (self.model, True)]

    @property
    def unit(self) -> str:
        """Give what is counted."""
        return "responses/s" if self.responses else "requests/s"


#: What the stock backend's model.py must gain in-process: in requests/s.
_THREEFOLD = Target("rate", "stock", 3, of=COMPAT.key)
_FOURFOLD = Target("rate", "stock", 4, of=COMPAT.key)

_SHARED_MEMORY = ("--shared-memory", "system", "--output-shared-memory-size", str(4 * LARGE.elements))

ROWS = (
    Row(
        "small",
        "16 floats, in-process",
        SMALL,
        IN_PROCESS,
        pinned=True,
        metrics=("p50", "rate"),
        peers=ALL,
        targets=(Target("p50", "stock", 0.25), Target("p50", "floor", 1.6), _THREEFOLD),
    ),
    Row("small-unpinned", "16 floats, in-process, unpinned", SMALL, IN_PROCESS, metrics=("p50", "rate")),
    Row(
        "large",
        "16 MB, in-process",
        LARGE,
        IN_PROCESS,
        pinned=True,
        peers=ALL,
        targets=(Target("rate", "stock", 3.5), Target("rate", "floor", 0.9), _THREEFOLD),
    ),
    Row(
        "strings",
        "10,000 strings, in-process",
        STRINGS,
        IN_PROCESS,
        ("--string-length", "16"),
        pinned=True,
        peers=ALL,
        targets=(_THREEFOLD,),
    ),
    Row(
        "stream",
        "8 streams of 1,000 ints, in-process",
        STREAM,
        IN_PROCESS,
        pinned=True,
        peers=ALL,
        targets=(Target("rate", "stock", 5),),
        concurrency=8,
        responses=1000,
        own_client=True,
    ),
    Row(
        "call-hop",
        "16 floats, a call to another model adds",
        CALL_SMALL,
        IN_PROCESS,
        pinned=True,
        metrics=("p50",),
        peers=ALL,
        targets=(Target("p50", None, 15),),
        own_client=True,
        callee=SMALL,
        less_callee=True,
    ),
    Row(
        "call-large",
        "1 MB through a call to another model",
        CALL_MEGA,
        IN_PROCESS,
        pinned=True,
        peers=ALL,
        targets=(Target("rate", "stock", 4), _FOURFOLD),
        own_client=True,
        callee=MEGA,
    ),
    Row(
        "sleep",
        "200 at once that sleep 100 ms, in-process",
        SLEEP,
        IN_PROCESS,
        pinned=True,
        peers=(STOCK, OURS),
        targets=(Target("rate", IDEAL, 0.9),),
        concurrency=200,
        own_client=True,
        ideal_rate=2000,
    ),
    Row("grpc-small", "16 floats, gRPC", SMALL, GRPC),
    Row("grpc-large", "16 MB, gRPC + shared memory", LARGE, GRPC, _SHARED_MEMORY),
    Row(
        "grpc-batch",
        "64 at once, dynamic batching, gRPC",
        BATCH,
        GRPC,
        ("--async",),
        concurrency=64,
        peers=(STOCK, FLOOR, OURS, BATCHED),
        targets=(Target("rate", "stock", 1.4),),
    ),
    Row(
        "grpc-stream",
        "8 streams of 100 ints, gRPC",
        STREAM,
        GRPC,
        ("--async", "--streaming"),
        concurrency=8,
        responses=100,
    ),
)


def models(peer: Peer, own_client: bool) -> list[Model]:
    """Give the models of a peer that our own client measures, or those that perf_analyzer measures."""
    loaded = [row.loaded() for row in ROWS if peer in row.peers and row.own_client is own_client]
    return list(dict.fromkeys(model for pairs in loaded for model, _ in pairs))
