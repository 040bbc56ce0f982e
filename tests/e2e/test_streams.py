# SPDX-License-Identifier: MIT
"""Event streams beside short requests: counted, spread and measured apart."""
import threading
import time

from wire import wait_for

EVENTS = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
          b"Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n")
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Short answers, and event streams that go on until they are told to end."""

    def __init__(self):
        self.over = threading.Event()
        self.short = 0

    def __call__(self, peer):
        while request := peer.request():
            if request.target == "/events":
                peer.send(EVENTS)
                self.over.wait()
                peer.send(b"0\r\n\r\n")
            else:
                self.short += 1
                peer.send(SHORT)


def streams(daemon):
    return [row["streams"] for row in daemon.backends().values()]


def opened(daemon, n):
    """n clients that read a stream each, one after the other."""
    clients = []
    for i in range(n):
        client = daemon.connect()
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        assert client.response_head().get("Content-Type") == "text/event-stream"
        clients.append(client)
        wait_for(lambda: sum(streams(daemon)) == i + 1, what=f"{i + 1} streams")
    return clients


def test_many_that_open_at_once_are_spread_as_well(weir, app):
    """Until it is answered, what asks for a stream is a request like others."""
    daemon = weir(app(3, "service=200ms").addresses, workers=1, pool={"balance": "least-request"})
    clients = [daemon.connect() for _ in range(30)]
    for client in clients:
        client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert {client.response_head().status for client in clients} == {101}
    wait_for(lambda: streams(daemon) == [10, 10, 10], what="they are spread")


def test_streams_are_spread_by_themselves_and_weigh_nothing(weir, scripted):
    servers = [Server() for _ in range(3)]
    daemon = weir([scripted(server).address for server in servers], workers=2,
                  pool={"balance": "least-request"})
    begin = time.monotonic()
    clients = opened(daemon, 12)
    assert streams(daemon) == [4, 4, 4]
    rows = daemon.backends().values()
    assert [row["in_flight"] for row in rows] == [4, 4, 4]
    for server in servers[1:]:
        server.over.set()
    wait_for(lambda: streams(daemon) == [4, 0, 0], what="two are rid of theirs")
    with daemon.connect() as client:
        for _ in range(300):
            assert client.ask().status == 200
    shares = [server.short for server in servers]
    assert sum(shares) == 300 and min(shares) > 50, shares  # six standard deviations
    length_us = (time.monotonic() - begin) * 1e6
    servers[0].over.set()
    wait_for(lambda: sum(streams(daemon)) == 0, what="all are over")
    for client in clients:
        client.close()

    def measured():
        rows = [row["latency"]["start"].get("total", {"n": 0})
                for row in daemon.backends().values()]
        return sum(row["n"] for row in rows) == 312 and rows
    # a stream's duration is that until it began
    assert max(row["max_us"] for row in wait_for(measured)) < length_us
