"""A child process that cannot outlive its parent, with its output drained and remembered."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from triton_backend_sdk.tools.errors import HandledError

# PR_SET_PDEATHSIG asks the kernel to kill the child when the parent is gone, however it went. It is set by a
# short program that then becomes the child: Popen's preexec_fn would run Python between fork and exec, which
# can deadlock where threads are about. Python ignores SIGPIPE, and a thread may block signals, SIGTERM among
# them; exec keeps both, so they are put back.
# What is for the dynamic loader comes last: LD_PRELOAD would be this Python's, too.
_BOUND_EXEC = """
import ctypes, json, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    env = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
    try:
        os.execve(sys.argv[3], sys.argv[3:], {**env, **json.loads(sys.argv[2])})
    except OSError as error:
        print(f"error: cannot run {sys.argv[3]}: {error.strerror}", flush=True)
os._exit(126)
"""

#: Seconds between two looks at a process that shall end.
_LOOK_S = 0.2
#: So long the kernel may take to end a process that was killed: it gives back its memory, a GPU's too.
_KILLED_S = 60.0
LineCallback = Callable[[str], None]


class BoundProcess:
    """A running program: last lines of its output, exit status, stop.

    The kernel ties the child to the *thread* that started it, so the thread that drains the output starts it,
    and ends only after it. The child has its own session: Ctrl-C in the terminal reaches only the parent.

    :param env: in place of this process's environment.
    :param on_line: called on that thread for each line; it is dropped for good when it raises.
    :param keep: how many of the last lines are remembered.
    :raises OSError: the program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        on_line: LineCallback | None = None,
        keep: int = 5000,
    ) -> None:
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=keep)
        #: How many lines there were in all.
        self._added = 0
        started: Future[subprocess.Popen[bytes]] = Future()
        env = {**(os.environ if env is None else env)}
        self._thread = threading.Thread(
            target=self._run, args=(argv, env, started), name="tbsdk-drain", daemon=True
        )
        self._thread.start()
        self._process = started.result()
        self._groups = [self._process.pid]

    def _run(
        self, argv: Sequence[str], env: dict[str, str], started: Future[subprocess.Popen[bytes]]
    ) -> None:
        late = json.dumps({name: value for name, value in env.items() if name.startswith("LD_")})
        ours = {name: value for name, value in os.environ.items() if name.startswith("LD_")}
        env = {name: value for name, value in env.items() if not name.startswith("LD_")} | ours
        command = [sys.executable, "-I", "-S", "-c", _BOUND_EXEC, str(os.getpid()), late, *argv]
        try:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(process)
        assert process.stdout is not None
        with process.stdout as output:
            for raw in output:
                self._add(raw.decode(errors="replace").rstrip("\r\n"))
        process.wait()

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._added += 1
        if self._on_line is not None:
            try:
                self._on_line(line)
            except Exception:
                # An exception here would end this thread, and with it the child.
                self._on_line = None

    @property
    def pid(self) -> int:
        """The process id, also of its process group."""
        return self._process.pid

    def lines(self) -> list[str]:
        """Give the last lines of output, stdout and stderr as they came."""
        return list(self._lines)

    def poll(self) -> int | None:
        """Give the exit status, -N where signal N ended it; None while it runs."""
        status = self._process.poll()
        if status is not None:
            # Bounded, as the pipe stays open while a grandchild holds it.
            self._thread.join(timeout=1)
        return status

    def wait(self, timeout: float) -> int | None:
        """Wait for the end and give the exit status; None: it runs still."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.poll()

    def stop(self, timeout: float, in_vain: Callable[[], bool] = lambda: False) -> int:
        """SIGTERM, then SIGKILL after ``timeout`` seconds; also what is left of its process group.

        ``in_vain`` is asked after new lines of output, unless some were lost, whether waiting on makes no
        sense; the status is 0 then.
        """
        self._process.terminate()  # nothing where it has ended
        end, seen, vain = time.monotonic() + timeout, -1, False
        try:
            while not vain and self.wait(min(_LOOK_S, max(0, end - time.monotonic()))) is None:
                if time.monotonic() >= end:
                    break
                if self._added != seen:
                    seen = self._added
                    vain = self._is_whole() and in_vain()
        finally:  # Ctrl-C means: do not wait
            status = self.kill()
        return 0 if vain or (status and self._is_whole() and in_vain()) else status

    def _is_whole(self) -> bool:
        return self._added == len(self._lines)

    def kill(self) -> int:
        """SIGKILL the process group now, and give the exit status.

        :raises HandledError: the kernel holds it.
        """
        # Once only, by the one who got it: later the kernel may give the number to another group.
        with contextlib.suppress(IndexError, ProcessLookupError, PermissionError):
            os.killpg(self._groups.pop(), signal.SIGKILL)
        try:
            status = self._process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:
            raise HandledError(
                f"process {self.pid} was killed, but is still there after {_KILLED_S:.0f} s",
                f"the kernel holds it, often in a driver or a file system: ps -o stat,wchan {self.pid}",
            ) from None
        self._thread.join(timeout=1)
        return status


def output_of(
    argv: Sequence[str], env: Mapping[str, str] | None, limit: float
) -> tuple[int | None, list[str]]:
    """Run a program to its end and give its exit status and output; None: it had to be ended."""
    process = BoundProcess(argv, env=env)
    try:
        return process.wait(limit), process.lines()
    finally:
        process.kill()
