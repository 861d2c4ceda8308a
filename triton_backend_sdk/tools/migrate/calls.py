"""Calls that mean something else in the server's process than in a process of one's own."""

from __future__ import annotations

from typing import NamedTuple

from triton_backend_sdk.tools.migrate.names import words

NOTE, LOOK, STOCK, BROKEN = range(4)


class Meaning(NamedTuple):
    """What a call does in process, and what to do about it."""

    level: int
    reason: str
    mend: str


_FORK = Meaning(
    STOCK,
    "{name} forks the server, with all its threads and locks",
    "threads, or start a program of its own with subprocess; with start method 'spawn' it can be tried",
)
_KILL = Meaning(STOCK, "{name} ends the whole server, not this model", "raise an exception instead")
_SIGNAL = Meaning(
    STOCK,
    "{name} works in a process's main thread only, and the server has its own handlers",
    "remove it; clean up in finalize",
)
_WHOLE = "{name} changes it for the whole server: the other models see it too"
_OWN_THREAD = 'parameters {{ key: "instance_thread" value {{ string_value: "own" }} }} in config.pbtxt'
_THREAD = Meaning(
    LOOK,
    "{name} is bound to the thread that runs initialize, and execute runs on another",
    _OWN_THREAD.replace("{{", "{").replace("}}", "}"),
)

#: Dotted name of what is called, by its end.
CALLS: dict[str, Meaning] = {
    "os.fork": _FORK,
    "os.forkpty": _FORK,
    "multiprocessing.Process": _FORK,
    "multiprocessing.Pool": _FORK,
    "multiprocessing.Manager": _FORK,
    "torch.multiprocessing.Process": _FORK,
    "torch.multiprocessing.Pool": _FORK,
    "torch.multiprocessing.spawn": _FORK,
    "concurrent.futures.ProcessPoolExecutor": _FORK,
    "os._exit": _KILL,
    "os.abort": _KILL,
    "os.kill(os.getpid())": _KILL,
    "os.kill": Meaning(LOOK, "{name}: the process is the whole server now", "make sure whom it ends"),
    "signal.signal": _SIGNAL,
    "signal.alarm": _SIGNAL,
    "signal.setitimer": _SIGNAL,
    "os.chdir": Meaning(LOOK, _WHOLE, "use absolute paths, from args['model_repository']"),
    "os.umask": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "os.nice": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "os.putenv": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "os.environ.update": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "os.environ.setdefault": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "resource.setrlimit": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "locale.setlocale": Meaning(LOOK, _WHOLE, "set it where tritonserver is started"),
    "socket.setdefaulttimeout": Meaning(LOOK, _WHOLE, "give timeouts to the sockets"),
    "sys.setrecursionlimit": Meaning(LOOK, _WHOLE, "fine if no other model minds"),
    "sys.setswitchinterval": Meaning(LOOK, _WHOLE, "fine if no other model minds"),
    "random.seed": Meaning(LOOK, _WHOLE, "a generator of the model's own: random.Random(seed)"),
    "np.random.seed": Meaning(LOOK, _WHOLE, "a generator of the model's own: np.random.default_rng(seed)"),
    "numpy.random.seed": Meaning(LOOK, _WHOLE, "a generator of the model's own"),
    "torch.manual_seed": Meaning(LOOK, _WHOLE, "a generator of the model's own: torch.Generator()"),
    "torch.set_num_threads": Meaning(LOOK, _WHOLE, "one setting for all models of the server"),
    "torch.set_default_dtype": Meaning(LOOK, _WHOLE, "give dtype= where tensors are made"),
    "gc.disable": Meaning(LOOK, _WHOLE, "fine if no other model minds"),
    "gc.freeze": Meaning(LOOK, _WHOLE, "fine if no other model minds"),
    "sys.exit": Meaning(LOOK, "{name} ends no process: it is an error like any other", "raise an exception"),
    "atexit.register": Meaning(
        LOOK, "{name}: that runs when the server ends, not when the model is unloaded", "finalize"
    ),
    "logging.basicConfig": Meaning(
        NOTE, "{name} does nothing where logging goes to Triton's log already", ""
    ),
    "nest_asyncio.apply": Meaning(LOOK, _WHOLE, "remove it: there is no running loop in execute"),
    "breakpoint": Meaning(LOOK, "{name} would wait for a terminal in the server", "remove it"),
    "pdb.set_trace": Meaning(LOOK, "{name} would wait for a terminal in the server", "remove it"),
}

#: Calls that bind something to the thread, where they stand in initialize.
IN_INITIALIZE: dict[str, Meaning] = {
    "sqlite3.connect": _THREAD,
    "threading.local": _THREAD,
    "asyncio.get_event_loop": _THREAD,
    "asyncio.set_event_loop": _THREAD,
    "torch.set_grad_enabled": _THREAD,
    "torch.cuda.set_device": _THREAD,
    "torch.set_default_device": _THREAD,
    "tf.device": _THREAD,
    "np.seterr": _THREAD,
    "numpy.seterr": _THREAD,
    "decimal.getcontext": _THREAD,
}

#: NumPy's names that went away with 2.0 (and 1.24), and what to write.
NUMPY_GONE = dict(
    pair.split("=")
    for pair in sorted(
        words("""float_=float64 complex_=complex128 unicode_=str_ string_=bytes_ object0=object_ bool8=bool_
    cfloat=complex128 longfloat=longdouble singlecomplex=complex64 longcomplex=clongdouble infty=inf
    Inf=inf Infinity=inf NaN=nan PINF=inf NINF=-inf NZERO=-0.0 PZERO=0.0 round_=round product=prod
    cumproduct=cumprod sometrue=any alltrue=all msort=sort asfarray=asarray mat=asmatrix
    find_common_type=result_type cast=asarray source=inspect.getsource row_stack=vstack trapz=trapezoid
    in1d=isin asscalar=ndarray.item float=float64 int=int64 complex=complex128 object=object_ str=str_
    unicode=str_ issubclass_=issubclass issubsctype=issubdtype maximum_sctype=max obj2sctype=dtype""")
    )
)
#: They are there again, or not gone yet.
NUMPY_STAYS = frozenset(["trapz", "in1d", "row_stack", "source"])
