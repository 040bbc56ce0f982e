# SPDX-License-Identifier: MIT
"""What clients can bring about at will is not held against a backend."""
import threading

import hpack
import pytest

from backends import answer_all, free_port
from h2peer import H2Server, answering
from h2wire import raw
from wire import Closed, Truncated, chunked, request, wait_for

STRICT = {"balance": "round-robin", "outlier": {"consecutive_errors": 3, "eject": "300s"}}


@pytest.fixture
def pair(weir, scripted):
    """pair(handler, ...) -> a daemon with two backends of that handler"""
    def start(handler, protocol="http1", **pool):
        backends = [scripted(handler) for _ in range(2)]
        named = [{"address": each.address, "name": f"b{i}"} for i, each in enumerate(backends)]
        daemon = weir(named, pool={**STRICT, "protocol": protocol, **pool}, workers=1)
        daemon.peers = backends
        return daemon
    return start


def nobody_is_blamed(daemon):
    rows = daemon.backends()
    assert {r["state"] for r in rows.values()} == {"up"}, rows
    assert {r["errors"] for r in rows.values()} == {0}, rows


def blamed(daemon):
    return [r["state"] for r in daemon.backends().values()].count("ejected")


def head(peer, text):
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + text + b"\r\n")


@pytest.mark.parametrize("status", [501, 505, 506, 507, 508, 510, 511])
def test_a_status_that_speaks_of_the_request(pair, status):
    def handler(peer):
        while peer.request():
            peer.respond(status=status)
    daemon = pair(handler)
    client = daemon.connect()
    assert {client.ask("BREW").status for _ in range(10)} == {status}
    nobody_is_blamed(daemon)


def test_a_status_that_does_not(pair):
    def handler(peer):
        while peer.request():
            peer.respond(status=500)
    daemon = pair(handler)
    client = daemon.connect()
    assert {client.ask().status for _ in range(10)} == {500}
    wait_for(lambda: blamed(daemon) == 1)


FIELDS = {
    "a long redirect": b"Location: /%s\r\n" % (b"x" * 70000),
    "many": b"".join(b"Set-Cookie: c%d=1\r\n" % i for i in range(257)),
    "a control byte": b"Location: /\x01\r\n",
    "a line feed": b"Location: /\nX: y\r\n",
    "a fold": b"Location: /\r\n y\r\n",
}
LIMITS = {"a long redirect": "response_header_bytes (65536)",
          "many": "response_header_count (256)"}


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_that_a_client_may_have_sent(pair, kind):
    def handler(peer):
        while peer.request():
            head(peer, FIELDS[kind])
    daemon = pair(handler)
    for _ in range(8):
        response = daemon.ask()
        assert response.status == 502
    nobody_is_blamed(daemon)
    if kind in LIMITS:
        assert LIMITS[kind].partition(" ")[0].encode() in response.body
        daemon.says(f"passes pools.app.limits.{LIMITS[kind]}")


@pytest.mark.parametrize("text", [b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_framing_is_its_own_fault(pair, text):
    def handler(peer):
        while peer.request():
            head(peer, text)
    daemon = pair(handler)
    for _ in range(8):
        assert daemon.ask().status == 502
    wait_for(lambda: blamed(daemon) == 1)


def fields(peer, n, size):
    while peer.request():
        head(peer, b"".join(b"X-%d: %s\r\n" % (i, b"v" * size) for i in range(n)))


@pytest.mark.parametrize("n,size", [(250, 10), (1, 60000), (3, 20000)])
def test_a_large_head_passes(pair, n, size):
    """More than a listener's limits for requests, which are none for responses."""
    daemon = pair(lambda peer: fields(peer, n, size))
    response = daemon.ask()
    assert response.status == 200
    assert sum(1 for name, _ in response.headers if name.startswith("X-")) >= n
    nobody_is_blamed(daemon)


def test_a_head_that_has_no_room_once_weir_has_said_its_own(pair):
    """Not a byte has gone to the client, who is told so, and has not left."""
    daemon = pair(lambda peer: fields(peer, 1, 65536 - 50))
    client = daemon.connect()
    for _ in range(4):
        response = daemon.ask()
        assert response.status == 502 and b"is too large to be forwarded" in response.body, response
    assert client.ask("HEAD").status == 502
    name = 'weir_exchanges_total{outcome="response_too_large"}'
    wait_for(lambda: daemon.admin.metrics()[name] == 5)
    nobody_is_blamed(daemon)


MORE = {"routes": [{"pool": "app", "response_headers": {"set": {"X-More": "m" * 100}}}]}
FULL = 65536  # what a head or trailers may have, and all that there is room for


def filled(*lines):
    """Lines and one that makes them as large as may be."""
    text = b"".join(line + b"\r\n" for line in lines)
    return text + b"X-Fill: " + b"v" * (FULL - len(text) - 12) + b"\r\n\r\n"


def test_an_upgrade_that_has_no_room_is_told(pair):
    def handler(peer):
        peer.request()
        peer.send(filled(b"HTTP/1.1 101 Switching Protocols", b"Connection: upgrade", b"Upgrade: x"))
        peer.until_end()
    daemon = pair(handler)
    daemon.reload({**daemon.conf, **MORE})
    response = daemon.ask(headers=[("Connection", "upgrade"), ("Upgrade", "x")])
    assert response.status == 502 and b"is too large to be forwarded" in response.body, response
    name = 'weir_exchanges_total{outcome="response_too_large"}'
    wait_for(lambda: daemon.admin.metrics()[name] == 1)
    nobody_is_blamed(daemon)


def test_trailers_that_have_no_room_are_named(weir, scripted, tmp_path):
    """The answer is cut, for half of it is with the client; the log says why."""
    def handler(peer):
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
            peer.send(filled())
    log = tmp_path / "access.log"
    daemon = weir([scripted(handler).address], log={"access": {"path": str(log)}})
    with pytest.raises((Truncated, Closed, ConnectionResetError)):
        daemon.ask(headers=[("TE", "trailers")])
    wait_for(lambda: log.read_text().count("\n"))
    assert '"outcome":"response_too_large"' in log.read_text()
    assert "or its trailers, is too large" in log.read_text()
    nobody_is_blamed(daemon)


def test_an_interim_head_that_has_no_room_is_told(pair):
    def handler(peer):
        while peer.request():
            peer.send(filled(b"HTTP/1.1 103 Early Hints"))
            peer.respond()
    daemon = pair(handler)
    daemon.reload({**daemon.conf, **MORE})
    response = daemon.ask()
    assert response.status == 502 and b"is too large to be forwarded" in response.body, response
    nobody_is_blamed(daemon)


def uncoded(server):
    """Its strings go as they are: to code much of them takes python seconds."""
    encode = server.h2.encoder.encode
    server.h2.encoder.encode = lambda headers: encode(headers, huffman=False)
    return server


def fields_h2(peer, n, size):
    server = uncoded(H2Server(peer))
    for stream, _ in server.requests():
        server.head(stream, headers=[(f"x-{i}", "v" * size) for i in range(n)], end=True)


@pytest.mark.parametrize("n,size", [(250, 10), (1, 50000), (3, 15000)])
def test_a_large_head_passes_over_http2(pair, n, size):
    daemon = pair(lambda peer: fields_h2(peer, n, size), "h2")
    response = daemon.ask()
    assert response.status == 200
    assert sum(1 for name, _ in response.headers if name.startswith("x-")) >= n
    nobody_is_blamed(daemon)


@pytest.mark.parametrize("n,size,limit", [(257, 1, b"response_header_count"),
                                          (5, 15000, b"response_header_bytes")])
def test_too_large_over_http2(pair, n, size, limit):
    daemon = pair(lambda peer: fields_h2(peer, n, size), "h2")
    for _ in range(8):
        response = daemon.ask()
        assert response.status == 502 and limit in response.body, response
    nobody_is_blamed(daemon)


@pytest.mark.parametrize("size", [70_000, 400_000, 1_200_000])
def test_a_field_beyond_what_http2_can_have(pair, size):
    """The one who asked for it is told why, also where weir gives up the connection."""
    daemon = pair(lambda peer: fields_h2(peer, 1, size), "h2")
    for _ in range(4):
        response = daemon.ask()
        assert response.status == 502 and b"response_header_bytes" in response.body, response
    nobody_is_blamed(daemon)


KNOWN, AFTER = ("x-known", "a" * 50), ("x-after", "b" * 50)


LARGE = {
    "a string": [("x-large", "X" * 70_000)],
    "a block of eight frames": [("x-large", "X" * 110_000)],
    "a string of a megabyte, nearly": [("x-large", "X" * 1_000_000)],
    "ten frames of small fields": [(f"x-{i}", "v" * 100) for i in range(1500)],
    "as many as are no flood": [(f"x-{i}", "v" * 100) for i in range(9000)],
    "an octet each": [("x-same", "v" * 100)] * 200_000,
}
INDEXED, PLAIN = hpack.HeaderTuple, hpack.NeverIndexedHeaderTuple


@pytest.mark.parametrize("large, kind", [(large, kind) for large in LARGE for kind in (INDEXED, PLAIN)
                                         if (large, kind) != ("an octet each", PLAIN)])
def test_a_head_that_is_too_large_ends_its_stream_alone(weir, scripted, large, kind):
    """The others of the connection go on, and weir's table is as the backend's still."""
    connections = []

    def handler(peer):
        connections.append(peer)
        server = uncoded(H2Server(peer))

        def head(target, *fields, **more):
            found = server.until(lambda: target in {r.get(":path") for r in server.streams.values()})
            assert found
            stream = next(i for i, r in server.streams.items() if r.get(":path") == target)
            server.head(stream, headers=[*fields], **more)
            return stream
        slow = head("/slow", KNOWN)
        server.until(lambda: len(server.streams) == 3)
        head("/bad", KNOWN, *[kind(*field) for field in LARGE[large]], AFTER, end=True)
        head("/good", KNOWN, AFTER, end=True)
        server.data(slow, b"whole", end=True)
        server.until_end()
    daemon = weir([{"address": scripted(handler).address, "name": "b0"}],
                  pool={"protocol": "h2", "retry": "off"}, workers=1)
    slow, other = daemon.connect(), daemon.connect()
    slow.send(request(target="/slow"))
    wait_for(lambda: connections)
    other.send(request(target="/good"))
    response = daemon.ask(target="/bad")
    assert response.status == 502 and b"response_header" in response.body, response
    good = other.response()
    assert good.status == 200
    assert (good.headers.get("x-known"), good.headers.get("x-after")) == (KNOWN[1], AFTER[1])
    assert slow.response().body == b"whole"
    assert len(connections) == 1
    nobody_is_blamed(daemon)


def test_trailers_that_are_too_large_end_their_stream_alone(weir, scripted):
    connections = []

    def handler(peer):
        connections.append(peer)
        server = uncoded(H2Server(peer))
        stream, _ = server.request()
        server.until(lambda: len(server.streams) == 2)
        server.head(stream, headers=[KNOWN])
        server.data(stream, b"some")
        server.h2.send_headers(stream, [KNOWN, *LARGE["ten frames of small fields"], AFTER],
                               end_stream=True)
        server.flush()
        server.streams.pop(stream)
        stream, _ = server.request()
        server.answer(stream, b"good", headers=[KNOWN, AFTER])
        server.until_end()
    daemon = weir([scripted(handler).address], pool={"protocol": "h2", "retry": "off"}, workers=1)
    client, other = daemon.connect(), daemon.connect()
    client.send(request())
    wait_for(lambda: connections)
    other.send(request())
    with pytest.raises((Truncated, Closed, ConnectionResetError)):
        client.response()
    good = other.response()
    assert (good.body, good.headers.get("x-known"), good.headers.get("x-after")) == \
        (b"good", KNOWN[1], AFTER[1])
    assert len(connections) == 1


def test_a_flood_of_continuations_ends_the_connection(weir, scripted):
    """Its bound is 1 MiB, or 1024 frames; whose head it was is told why."""
    ends = []

    def handler(peer, payload):
        server = H2Server(peer)
        stream, _ = server.request()
        peer.send(raw(1, 0, stream, b"\x88"))
        for _ in range(2000):
            peer.send(raw(9, 0, stream, payload))
        server.until_end()
        ends.append(server.goaway)
    for payload in (b"", b"\x00\x01x\x7e" + b"v" * 126, b"\x88" * 16384):
        daemon = weir([scripted(lambda peer: handler(peer, payload)).address],
                      pool={"protocol": "h2", "retry": "off"}, workers=1)
        response = daemon.ask()
        assert response.status == 502, response
        assert (b"response_header_bytes" in response.body) == (payload != b"")


BLOCK = (b"\x00\x01x\x7e" + b"v" * 126) * 124  # fields for a frame


def begin_block(server, stream, frames=10):
    """Of a head that is too large, and no flood yet."""
    server.peer.send(raw(1, 0, stream, b"\x88"))
    for _ in range(frames):
        server.peer.send(raw(9, 0, stream, BLOCK))


def test_while_a_head_that_is_too_large_comes_others_go_elsewhere(weir, scripted):
    """Nothing else can come on its connection, and nobody knows for how long, or whether it ends."""
    connections, go = [], threading.Event()

    def handler(peer):
        connections.append(peer)
        server = H2Server(peer)
        if len(connections) > 1:
            for stream, _ in server.requests():
                server.answer(stream)
            return
        server.until(lambda: len(server.streams) == 2)
        first, second = sorted(server.streams)
        begin_block(server, second)
        go.wait(60)
        peer.send(raw(9, 4, second, b""))
        server.answer(first, b"first")
        server.until_end()
    daemon = weir([scripted(handler).address], pool={"protocol": "h2", "retry": "off"}, workers=1)
    slow = daemon.connect()
    slow.send(request())
    wait_for(lambda: connections)
    response = daemon.ask()
    assert response.status == 502 and b"response_header_bytes" in response.body, response
    assert [daemon.ask("POST", body=b"x").status for _ in range(5)] == [200] * 5
    assert len(connections) == 2
    go.set()
    assert slow.response().body == b"first"


@pytest.mark.parametrize("most", [0, 1])
def test_heads_without_end_cost_one_connection_at_a_time(weir, scripted, most):
    """Also where there may be no more than that one: it makes room for the next at once."""
    ends = []

    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        begin_block(server, stream)
        server.until_end()
        ends.append(peer)
    backend = scripted(handler)
    daemon = weir([backend.address], pool={"protocol": "h2", "retry": "off", "outlier": "off",
                                           "limits": {"connections": most}}, workers=1)
    for _ in range(10):
        response = daemon.ask()
        assert response.status == 502 and b"response_header_bytes" in response.body, response
    assert backend.connections == 10
    wait_for(lambda: len(ends) == 9)


def test_the_limits_are_settings(pair):
    daemon = pair(lambda peer: fields(peer, 5, 300),
                  limits={"response_header_bytes": "1KiB"})
    response = daemon.ask()
    assert response.status == 502 and b"limits.response_header_bytes" in response.body
    daemon = pair(lambda peer: fields(peer, 5, 300), limits={"response_header_count": 4})
    response = daemon.ask()
    assert response.status == 502 and b"limits.response_header_count" in response.body


def test_http10_without_host_to_http2(pair):
    seen = []
    daemon = pair(answering(seen), "h2")
    for _ in range(8):
        client = daemon.connect()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        response = client.response()
        assert response.status == 200, response
    assert [each.get(":authority") for each in seen] == [f"127.0.0.1:{daemon.port}"] * 8
    nobody_is_blamed(daemon)
    client = daemon.connect()
    client.send(b"GET /a HTTP/1.0\r\nHost: weir.test\r\n\r\n")
    assert client.response().status == 200 and seen[-1].get(":authority") == "weir.test"


def test_a_request_that_the_backend_hates(pair):
    def handler(peer):
        server = H2Server(peer)
        for stream, _ in server.requests():
            server.reset(stream, 1)
    daemon = pair(handler, "h2", retry="off")
    for _ in range(8):
        assert daemon.ask().status == 502
    nobody_is_blamed(daemon)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_body_that_is_held_back(pair, end):
    """Backends have time-outs of their own for it."""
    def handler(peer):
        while peer.request_head():
            if end == "reset":
                peer.reset()
            return
    daemon = pair(handler)
    for _ in range(8):
        client = daemon.connect()
        client.send(request("POST", headers=[("Transfer-Encoding", "chunked")]))
        client.send(chunked([b"x"])[:-5])
        assert client.response().status == 502
    nobody_is_blamed(daemon)


def test_closing_on_a_whole_request_is_a_fault(pair):
    daemon = pair(lambda peer: peer.request_head(), retry="off")
    for _ in range(8):
        assert daemon.ask("POST", body=b"x").status == 502
    wait_for(lambda: blamed(daemon) == 1)


def test_nothing_at_all(pair):
    daemon = pair(answer_all)
    assert daemon.ask().status == 200
    nobody_is_blamed(daemon)


# ---- better than nobody ----

CHECKS = {"interval": "50ms", "fast_interval": "50ms", "slow_interval": "50ms", "timeout": "1s"}


def close_all(backend):
    backend.close()
    backend.thread.join(5)


def eject(daemon, name, ask=lambda daemon: daemon.ask()):
    def ejected():
        ask(daemon)
        return daemon.backends()[name]["state"] == "ejected"
    wait_for(ejected)


def statuses(daemon, n=40):
    return {daemon.ask().status for _ in range(n)}


@pytest.mark.parametrize("checked", [True, False])
def test_the_last_one_is_gone_and_an_ejected_one_is_well(weir, scripted, checked):
    """It answered 500; then the other is killed."""
    status = [500]

    def handler(peer):
        while (msg := peer.request()):
            peer.respond(status=200 if msg.start[1] == "/check" else status[0])
    backends = [scripted(handler), scripted(answer_all)]
    daemon = weir([{"address": each.address, "name": f"b{i}"} for i, each in enumerate(backends)],
                  pool={**STRICT, **({"health": {**CHECKS, "path": "/check"}} if checked else {})})
    eject(daemon, "b0")
    status[0] = 200
    assert statuses(daemon) == {200} and daemon.backends()["b0"]["state"] == "ejected"
    close_all(backends[1])
    assert statuses(daemon) == {200}
    if checked:
        wait_for(lambda: daemon.backends()["b1"]["state"] == "down")
        assert statuses(daemon) == {200}
        assert daemon.backends()["b0"]["state"] == "ejected"


def test_a_restarted_one_is_back_when_its_check_passes(weir, scripted):
    backends = [scripted(answer_all), scripted(answer_all)]
    daemon = weir([{"address": each.address, "name": f"b{i}"} for i, each in enumerate(backends)],
                  pool={**STRICT, "health": {**CHECKS, "fall": 1000}}, workers=1)
    close_all(backends[0])
    eject(daemon, "b0")
    again = scripted(answer_all, address=("127.0.0.1", backends[0].port))
    wait_for(lambda: daemon.backends()["b0"]["state"] == "up")
    daemon.says("its check passes again")
    n = daemon.backends()["b0"]["requests"]
    # the worker hears of it a moment later
    wait_for(lambda: daemon.ask() and daemon.backends()["b0"]["requests"] >= n + 3)
    close_all(backends[1])
    assert statuses(daemon) == {200} and again.n_requests > 0


def test_a_strict_pin_to_an_ejected_one_is_answered_503(weir, scripted):
    status = [200]

    def handler(peer):
        while peer.request():
            peer.respond(status=status[0])
    backends = [scripted(handler), scripted(answer_all)]
    daemon = weir([{"address": each.address, "name": f"b{i}"} for i, each in enumerate(backends)],
                  pool={**STRICT, "sticky": {"cookie": "lb", "mode": "strict"}}, workers=1)

    def cookie():
        return daemon.ask().get("Set-Cookie").partition(";")[0]
    pins = {cookie(): None for _ in range(2)}
    for pin in pins:
        before = len(backends[0].requests)
        assert daemon.ask(headers=[("Cookie", pin)]).status == 200
        if len(backends[0].requests) > before:
            mine = pin
    status[0] = 500
    eject(daemon, "b0", lambda daemon: daemon.ask(headers=[("Cookie", mine)]))
    response = daemon.ask(headers=[("Cookie", mine)])
    assert response.status == 503 and b"pinned" in response.body
    close_all(backends[1])
    status[0] = 200
    assert statuses(daemon) == {200}
    wait_for(lambda: daemon.ask(headers=[("Cookie", mine)]).status == 200)


def test_a_request_that_goes_round_is_nobodys_fault(weir, app):
    """Through two weirs and round again: the one that ends it says why; a chain of two works."""
    port = free_port()
    inner = weir([f"127.0.0.1:{port}"], workers=1)
    outer = weir(listener={"bind": f"127.0.0.1:{port}"}, workers=1,
                 pools={"round": {"backends": [f"127.0.0.1:{inner.port}"]},
                        "app": {"backends": app().addresses}},
                 routes=[{"match": {"path": "/round"}, "pool": "round"}, {"pool": "app"}])
    inner.fd_check = outer.fd_check = False  # they keep connections to each other
    for _ in range(20):
        answer = outer.ask(target="/round")
        assert answer.status == 508 and b"limits.hops" in answer.body, answer
    for daemon in (inner, outer):
        assert {row["state"] for row in daemon.backends().values()} == {"up"}
    wait_for(lambda: "answered 508" in inner.stderr + outer.stderr)
    assert inner.ask(target="/x").status == 200 == outer.ask(target="/x").status
