"""Reaching a cluster: what is refused at once, and how workers are placed."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")

from profiler.execute import connect
from profiler.execute.connect import Places, connected, does_not_answer, places
from profiler.execute.executor import NoCluster


def node(*, alive: bool = True, **resources: float) -> dict:
    return {"Alive": alive, "Resources": resources}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_machine_that_does_not_answer_though_ray_takes_it_for_alive():
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": server.getsockname()[1]}
        gone = here | {"NodeManagerPort": free_port()}
        assert not does_not_answer([here | {"Alive": True}, gone | {"Alive": False}])
        assert does_not_answer([here | {"Alive": True}, gone | {"Alive": True}])


def test_an_address_where_no_cluster_is():
    start = time.monotonic()
    with (
        pytest.raises(NoCluster, match=r"Nothing answers at 127\.0\.0\.1:.*nothing was changed"),
        connected(f"127.0.0.1:{free_port()}"),
    ):
        pass
    assert time.monotonic() - start < 30


@pytest.fixture
def answering() -> Iterator[Callable[[bytes | None], str]]:
    """Starts servers that say something to their first guest, or nothing at all."""
    with ExitStack() as at_end:

        def start(said: bytes | None) -> str:
            server = at_end.enter_context(socket.create_server(("127.0.0.1", 0)))
            if said is not None:
                thread = threading.Thread(target=answer, args=(server, said))
                thread.start()
                at_end.callback(thread.join)
            return f"127.0.0.1:{server.getsockname()[1]}"

        yield start


def answer(server: socket.socket, said: bytes) -> None:
    guest, _ = server.accept()
    with guest:
        guest.recv(100)
        guest.sendall(said)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.0 400 Bad request", "it begins with b'HTTP/1.0 '"),
        (b"SSH", "it begins with b'SSH'"),
        (b"", "it hung up"),
        (None, "it said nothing within 1 s"),
    ],
)
def test_a_port_that_is_not_rays_is_refused_at_once(answering, said, reason, monkeypatch):
    monkeypatch.setattr(connect, "GREET_S", 1.0)
    address, start = answering(said), time.monotonic()
    with pytest.raises(NoCluster, match=f"not Ray .{re.escape(reason)}.*6379 unless") as caught:
        connect._check(address)
    assert str(caught.value).startswith(f"What answers at {address} ")
    assert time.monotonic() - start < 10


def test_a_head_that_is_encrypted_is_not_greeted(answering, monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    connect._check(answering(None))


def test_the_head_of_a_cluster_is_known(cluster):
    connect._check(cluster.address)


@pytest.mark.parametrize("address", ["head", "head:", "10.0.0.1", ":6379", "head:port"])
def test_an_address_that_is_none(address):
    with (
        pytest.raises(NoCluster, match=r"is not host:port, such as 10\.0\.0\.1:6379"),
        connected(address),
    ):
        pass


def test_rays_client_is_refused():
    with (
        pytest.raises(NoCluster, match="ray://head:10001 is for Ray's client"),
        connected("ray://head:10001"),
    ):
        pass


def test_one_worker_for_each_core():
    assert places([node(CPU=16), node(CPU=8)], workers=None) == Places(24, 1, 0, 2)


@pytest.mark.parametrize(
    ("workers", "cores"),
    [(1, 16), (2, 16), (3, 8), (4, 8), (5, 5), (6, 5), (7, 4), (32, 1), (100, 1)],
)
def test_workers_share_the_cores_so_that_all_have_room(workers, cores):
    waiting = max(0, workers - 32)
    found = places([node(CPU=16), node(CPU=16)], workers=workers)
    assert found == Places(workers, cores, 0, 2, waiting)


def test_one_worker_for_each_gpu_and_none_beside():
    machines = [node(CPU=32, GPU=4), node(CPU=16, GPU=4), node(CPU=64)]
    assert places(machines, workers=None) == Places(8, 4, 1, 3)


def test_machines_that_are_gone_do_not_count():
    assert places([node(CPU=4), node(CPU=4, alive=False)], workers=None) == Places(4, 1, 0, 1)


def test_a_cluster_that_has_yet_to_grow():
    assert places([node()], workers=None) == Places(1, 1, 0, 1, 1)
    told = "Ray cluster of 1 machine: 3 workers of 1 core; 2 of them when it has room."
    assert places([node(CPU=1)], workers=3).sentence == told
