# SPDX-License-Identifier: MIT
"""No memory is asked of the heap per request: worker threads are counted from inside."""
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon import SANITIZED
from wire import request

SOURCE = Path(__file__).resolve().parent / "preload" / "malloc_count.c"
# growth of a slab or the like: not one for each of thousands of requests
A_HANDFUL = 10


@pytest.fixture
def counted(tmp_path, weir):
    """counted(backends, ...) -> (daemon, calls): calls() is the count so far"""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    if SANITIZED:
        pytest.skip("sanitizers have a heap of their own")
    library, count = tmp_path / "malloc_count.so", tmp_path / "malloc_count"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-fno-builtin",
                    "-o", str(library), str(SOURCE)], check=True)
    count.write_bytes(bytes(8))

    def start(backends, **kwargs):
        env = {"LD_PRELOAD": str(library), "MALLOC_COUNT_FILE": str(count)}
        daemon = weir(backends, env=env, **kwargs)
        return daemon, lambda: int.from_bytes(count.read_bytes(), "little")
    return start


def run(clients, rounds, ask):
    for _ in range(rounds):
        for client in clients:
            ask(client)


def assert_steady(counted, backends, ask, **kwargs):
    """After a warm-up, 3000 times `ask` on ten connections."""
    daemon, calls = counted(backends, **kwargs)
    clients = [daemon.connect() for _ in range(10)]
    run(clients, 50, ask)
    before = calls()
    assert before > 0, "the counter does not work: workers have allocated their slabs"
    run(clients, 300, ask)
    assert calls() - before <= A_HANDFUL, f"{calls() - before} for 3000 requests"
    for client in clients:
        client.close()


def test_get(counted, app):
    assert_steady(counted, app(2).addresses, lambda client: client.ask(), workers=2)


def test_post(counted, app):
    assert_steady(counted, app(2).addresses,
                  lambda client: client.ask("POST", body=b"x" * 5000), workers=1)


def test_pipelined(counted, app):
    def ask(client):
        client.send(request() * 3)
        for _ in range(3):
            client.response()
    assert_steady(counted, app(2).addresses, ask, workers=1)


def test_access_log(counted, app, tmp_path):
    assert_steady(counted, app(1).addresses, lambda client: client.ask(), workers=1,
                  log={"access": {"path": str(tmp_path / "access.log")}})


def test_queue(counted, app):
    """One slot for ten connections: all of them wait in the pool queue."""
    def ask(client):
        client.send(request())

    daemon, calls = counted(app(1).addresses, workers=1,
                            pool={"limits": {"requests": 1}, "queue": {"timeout": "20s"}})
    clients = [daemon.connect() for _ in range(10)]

    def rounds(n):
        for _ in range(n):
            for client in clients:
                ask(client)
            for client in clients:
                assert client.response().status == 200
    rounds(50)
    before = calls()
    rounds(100)
    assert calls() - before <= A_HANDFUL
    pool = daemon.pools()[0]
    assert pool["backends"][0]["in_flight"] == 0
    for client in clients:
        client.close()
