# SPDX-License-Identifier: MIT
"""Verdicts of health while all else goes wrong: no control thread, a slow disk, many readers."""
import asyncio
import contextlib
import os
import signal
import threading

import pytest

from daemon import preloading
from openloop import Load
from test_health import health, named, only, until
from wire import SLOW, Closed, wait_for


def test_verdicts_without_the_control_thread(weir, app):
    backends = app(2)
    daemon = weir(named(backends.addresses), workers=1, pool={
        "health": health(), "balance": "round-robin", "outlier": "off", "retry": "off"})
    only(daemon, ["app-0", "app-1"])
    # no reader of the API, no reload and no disk can keep the control thread busier than that
    with daemon.frozen():
        backends.set(0, status=503)
        only(daemon, ["app-1"])
        backends.set(0, status=200)
        backends.set(1, status=503)
        only(daemon, ["app-0"])
    until(daemon, "b0", "up")
    assert until(daemon, "b1", "down")["reason"] == "status 503, expected 200-399"
    wait_for(lambda: any(e["message"].startswith("down: ") and e["backend"] == "b1"
                         for e in daemon.events()), what="people hear of it afterwards")


# ---- beside everything else ----

class Readers:
    """So many connections to the status socket that ask for much, in a row, all the time."""

    def __init__(self, path, n):
        self.path, self.n, self.read = path, n, 0
        self.stopping = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()

    async def run(self):
        await asyncio.gather(*(self.one() for _ in range(self.n)))

    async def one(self):
        ask = b"GET /v1/pools HTTP/1.1\r\nHost: weir\r\n\r\n" * 10
        while not self.stopping:
            try:
                reader, writer = await asyncio.open_unix_connection(self.path)
                while not self.stopping:
                    writer.write(ask)
                    data = await asyncio.wait_for(reader.read(65536), 1)
                    if not data:
                        break
                    self.read += len(data)
                    await asyncio.sleep(0.01)
                writer.close()
            except (OSError, asyncio.TimeoutError):
                pass
            await asyncio.sleep(0.01)


@pytest.fixture
def slow_disk(tmp_path):
    """The environment in which each step towards the disk takes its time."""
    return preloading(tmp_path, "slow_disk", DISK_MS="30")


def test_verdicts_stay_right_whatever_happens_beside(weir, app, tmp_path, slow_disk):
    """Many readers, reloads, a log that nobody takes and a slow disk, all at once, under load."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    backends = app(2)
    pools = {"app": {"backends": named(backends.addresses), "health": health(timeout="3s"),
                     "outlier": "off", "retry": {"on": ["connect", "reset", "500"], "budget": "100%"}},
             "many": {"backends": [f"127.0.0.2:{port}" for port in range(1000, 1600)]}}
    daemon = weir(pools=pools, log={"access": {"path": str(fifo)}}, env=slow_disk,
                  state={"directory": str(tmp_path / "state")},
                  routes=[{"match": {"path": "/many"}, "pool": "many"}, {"pool": "app"}])
    daemon.fd_check = False  # what is kept on the slow disk is open later
    labels = 'pool="app",backend="%s"'

    def metrics():
        """None: there was no place among the readers this time."""
        with contextlib.suppress(OSError, AssertionError, Closed):
            return daemon.admin.metrics()
        return None

    def up(name):
        return (metrics() or {}).get(f"weir_backend_up{{{labels % name}}}")
    wait_for(lambda: up("b0") == 1 and up("b1") == 1)
    # with a sanitizer two thousand answers in a row take longer than anybody waits
    with Readers(daemon.sock, 200 // SLOW ** 3) as readers, Load(daemon.port, 50) as load:
        load.wait_for(20)
        for _ in range(3):
            backends.set(1, status=500)
            daemon.kill(signal.SIGHUP)
            wait_for(lambda: up("b1") == 0)
            backends.set(1, status=200)
            daemon.kill(signal.SIGHUP)
            wait_for(lambda: up("b1") == 1)
        wait_for(lambda: readers.read > 1_000_000)
    counted = wait_for(metrics)
    assert not load.failed and set(load.statuses) == {200}, (load.failed, load.statuses)
    assert counted[f'weir_backend_checks_total{{{labels % "b0"},result="fail"}}'] == 0
    assert counted[f'weir_backend_checks_total{{{labels % "b1"},result="fail"}}'] >= 9
