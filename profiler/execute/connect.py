"""Reaching a Ray cluster, or starting one on this machine, and how many workers fit into it."""

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray  # pyright: ignore[reportMissingImports]

from profiler.compute.devices import available_cores
from profiler.execute.executor import NoCluster

CONNECT_S = 5.0
GREET_S = 15.0  # a busy head may take its time
# Ray speaks gRPC, which is HTTP/2: both sides begin with their settings (RFC 9113, section 3.4).
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
SETTINGS = b"\4"  # the type of such a frame, after three bytes of its length
HERE = "local"  # Ray's word for a cluster of this machine alone
STORE_BYTES = 200_000_000  # shared memory: only image sets and events pass through it


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to Ray for the length of a block.

    A program that is connected already stays so, before and after.

    Args:
        address: `host:port`, "auto", or None for `RAY_ADDRESS` or else this machine alone.

    Raises:
        NoCluster: Nobody answers there, or with another version of Ray or Python.
    """
    address = address or os.environ.get("RAY_ADDRESS") or HERE
    _check(address)
    if ray.is_initialized():
        yield
        return
    try:
        _connect(address)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    own = {
        "num_cpus": available_cores(),
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
    }
    try:
        with _signals_kept(), warnings.catch_warnings():
            # JAX fears for programs that fork and go on; Ray's become other programs at once.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
            ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **(own if address == HERE else {}),
            )
    except (Exception, SystemExit) as error:  # Ray ends the program where a head does not answer
        raise NoCluster(
            f"There is no Ray cluster to be had at {address!r} ({_line(error)}). Start one with "
            "`ray start --head`, run this command on a machine that is part of it, with the same "
            "Ray and Python, or leave out --address to use this machine alone; nothing was changed."
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Leave Ctrl-C and SIGTERM to whoever has them: Ray would end the program by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _check(address: str) -> None:
    """Refuse at once what Ray would find out after minutes."""
    if address.startswith("ray://"):
        raise NoCluster(
            f"{address} is for Ray's client, over which events cannot be followed. Run this "
            "command on a machine of the cluster with --address auto, or by `ray job submit`."
        )
    if address in (HERE, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise NoCluster(f"--address {address} is not host:port, such as 10.0.0.1:6379, or auto.")
    try:
        head = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S)
    except OSError as error:
        raise NoCluster(
            f"Nothing answers at {address} ({error}). Is the cluster's head up (`ray status` "
            "there), and is this its port? Start one with `ray start --head`, or leave out "
            "--address to use this machine alone; nothing was changed."
        ) from error
    with head:
        if problem := _no_ray(head):
            raise NoCluster(
                f"What answers at {address} is not Ray ({problem}). Give the port of the cluster's "
                "head, as `ray start --head` says it: 6379 unless --port chose another, not that "
                "of the dashboard (8265). Nothing was changed."
            )


def _no_ray(head: socket.socket) -> str:
    """Why what is connected cannot be the head of a cluster; empty if it may be."""
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return ""  # the greeting would have to be encrypted
    head.settimeout(GREET_S)
    try:
        head.sendall(GREETING)
        with head.makefile("rb") as said:
            answer = said.read(9)  # all of a frame's head, in however many pieces it comes
    except TimeoutError:
        return f"it said nothing within {GREET_S:.0f} s"
    except OSError as error:
        return f"it hung up: {error.strerror or error}"
    if not answer:
        return "it hung up"
    return "" if answer[3:4] == SETTINGS else f"it begins with {answer!r}"


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines and not isinstance(error, SystemExit) else "no answer"


class Places(NamedTuple):
    """What workers a cluster has room for.

    Attributes:
        workers: How many are to be started; those without room wait for it.
        cores: Of each.
        gpus: Of each, 0 or 1.
        machines: How many machines there are now.
        waiting: How many of the workers have no room yet, if nobody else takes any.
    """

    workers: int
    cores: int
    gpus: int
    machines: int
    waiting: int = 0

    @property
    def sentence(self) -> str:
        """The same, for people."""
        wait = f"; {self.waiting} of them when it has room" if self.waiting else ""
        gpu = ", each with a GPU" if self.gpus else ""
        return (
            f"Ray cluster of {_many(self.machines, 'machine')}: {_many(self.workers, 'worker')} of "
            f"{_many(self.cores, 'core')}{gpu}{wait}."
        )


def places(nodes: Iterable[Mapping[str, Any]], *, workers: int | None) -> Places:
    """Divide the machines of a cluster among workers.

    Args:
        nodes: As `ray.nodes()` lists them.
        workers: How many are wanted; by default one for each GPU, or for each core.

    Returns:
        As many cores for each as leave room for all of them.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in alive)
    useful = [node for node in alive if node.get("GPU", 0)] if gpus else alive
    cores = [int(node.get("CPU", 0)) for node in useful]
    wanted = workers or gpus or max(1, sum(cores))
    if gpus:
        per_gpu = [int(node.get("CPU", 0) // node["GPU"]) for node in useful]
        return Places(wanted, max(1, min(per_gpu)), 1, len(alive), max(0, wanted - gpus))
    fits = (n for n in range(max(cores, default=1), 1, -1) if _seats(cores, n) >= wanted)
    return Places(wanted, next(fits, 1), 0, len(alive), max(0, wanted - sum(cores)))


def does_not_answer(nodes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a machine does not answer that Ray takes for alive: it needs 15 s to find out.

    Args:
        nodes: As `ray.nodes()` lists them.
    """
    try:
        for node in nodes:
            if node["Alive"]:
                place = (node["NodeManagerAddress"], node["NodeManagerPort"])
                socket.create_connection(place, timeout=CONNECT_S).close()
    except OSError:
        return True
    return False


def _seats(cores: Iterable[int], share: int) -> int:
    return sum(n // share for n in cores)


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"
