# SPDX-License-Identifier: MIT
"""A unix socket that has as many waiting to be accepted as it may: the kernel says so at once,
where with TCP it waits.  weir waits in its place, as long as timeouts.connect."""
import socket
import threading

import pytest

from backends import Scripted, answer_all
from h2peer import answering
from wire import request, wait_for


@pytest.fixture
def full(tmp_path):
    """A listener without room: .path, .accept() lets in who waits and begins to serve."""
    class Full:
        path = f"{tmp_path}/app.sock"

        def __init__(self):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            self.listener.listen(1)
            self.waiting, self.served = [], None
            try:
                while True:
                    self.waiting.append(socket.socket(socket.AF_UNIX))
                    self.waiting[-1].setblocking(False)
                    self.waiting[-1].connect(self.path)
            except BlockingIOError:
                pass

        def accept(self, handler):
            """As a server that was stopped goes on."""
            for each in self.waiting:
                each.close()
            self.served = Scripted.__new__(Scripted)
            self.served.handler, self.served.lock = handler, threading.Lock()
            self.served.connections = self.served.bytes_in = 0
            self.served.requests, self.served.errors, self.served.peers = [], [], []
            self.served.listener = self.listener
            threading.Thread(target=self.served.accept, daemon=True).start()

        def close(self):
            if self.served:
                self.served.close()
            self.listener.close()
            for each in self.waiting:
                each.close()
    listener = Full()
    yield listener
    listener.close()


@pytest.mark.parametrize("protocol, handler", [("http1", answer_all), ("h2", answering())])
def test_a_connect_waits_for_its_turn(weir, full, protocol, handler):
    daemon = weir([f"unix:{full.path}"], pool={"protocol": protocol, "timeouts": {"connect": "20s"}})
    clients = [daemon.connect() for _ in range(5)]
    for client in clients:
        client.send(request())
    wait_for(lambda: daemon.sum("in_flight") == 5)
    full.accept(handler)
    assert [client.response().status for client in clients] == [200] * 5
    assert daemon.sum("connect_failures") == 0


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_no_longer_than_connects_may_take(weir, full, protocol):
    daemon = weir([f"unix:{full.path}"], pool={"protocol": protocol, "timeouts": {"connect": "50ms"}})
    assert daemon.connect().ask().status == 504
    assert set(daemon.admin.get("/v1/status")["outcomes"]) == {"connect_timeout"}


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_the_listener_ends_meanwhile(weir, full, protocol):
    daemon = weir([f"unix:{full.path}"], pool={"protocol": protocol, "timeouts": {"connect": "20s"}})
    client = daemon.connect()
    client.send(request())
    wait_for(lambda: daemon.sum("in_flight") == 1)
    full.listener.close()
    assert client.response().status == 502
    assert set(daemon.admin.get("/v1/status")["outcomes"]) == {"connect_refused"}


@pytest.mark.parametrize("kind", [{"type": "tcp"}, {"path": "/"}])
def test_a_check_waits_as_well(weir, full, kind):
    daemon = weir([f"unix:{full.path}"], pool={"health": {**kind, "interval": "100ms", "timeout": "200ms"}})
    checks = lambda: next(iter(daemon.backends().values()))["checks"]
    wait_for(checks)
    assert "timed out" in checks()[0]["reason"] and "connecting" in checks()[0]["reason"], checks()
    full.accept(answer_all)
    wait_for(lambda: next(iter(daemon.backends().values()))["state"] == "up" and checks()[0]["ok"])
