# SPDX-License-Identifier: MIT
"""Backends that break, clients that vanish: the right answer, and nothing leaks."""
import threading
import time

import pytest

from backends import refused_address
from h2peer import H2Server
from wire import Closed, Truncated, WireError, request, wait_for

CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def one(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"retry": "off"})
    daemon.app = backend
    return daemon


# ---- backends ----

def test_backend_refuses(weir):
    daemon = weir([refused_address()])
    client = daemon.connect()
    for _ in range(20):
        assert client.ask().status == 502
    assert daemon.sum("errors") >= 20


def test_missing_unix_socket(weir, tmp_path):
    assert weir([f"unix:{tmp_path}/nobody.sock"]).ask().status == 502


@pytest.mark.parametrize("fault", ["reset=before", "cut=before", "reset=head", "cut=head",
                                   "garbage=1"])
def test_broken_before_the_head_is_complete(one, fault):
    client = one.connect()
    for _ in range(5):
        assert client.ask(target=f"/bytes/1000?{fault}").status == 502
        assert client.ask(target="/bytes/10").status == 200
    for _ in range(3):
        response = client.ask("POST", f"/bytes/1000?{fault}", body=b"x" * 1000)
        assert response.status == 502
        if "close" in response.get("Connection", ""):
            client = one.connect()


@pytest.mark.parametrize("size", [1000, 1000000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("fault", ["reset=body", "cut=body", "wrong=short"])
def test_a_broken_body_is_never_presented_as_complete(one, fault, framing, size):
    for _ in range(3):
        client = one.connect()
        client.send(request(target=f"/bytes/{size}?{fault}&framing={framing}"))
        with pytest.raises((Truncated, ConnectionResetError, Closed)):
            client.response()
    assert one.ask(target="/bytes/10").size == 10


def test_a_reset_close_delimited_body_is_not_complete(one):
    client = one.connect()
    client.send(request(target="/bytes/1000000?reset=body&framing=close"))
    with pytest.raises((Truncated, ConnectionResetError)):
        client.response()


def test_a_broken_body_for_an_http10_client(one):
    """No length, no chunks: only a reset tells it."""
    client = one.connect()
    client.send(request(target="/bytes/100000?reset=body&framing=chunked", version="1.0"))
    with pytest.raises((Truncated, ConnectionResetError)):
        client.response()


def test_too_many_bytes_are_not_the_next_answer(weir, app):
    backend = app()
    daemon = weir(backend.addresses, workers=1)
    client = daemon.connect()
    for _ in range(5):
        assert client.ask(target="/bytes/100?wrong=long").size == 100
        # what has not arrived yet nobody can refuse: let it arrive
        wait_for(lambda: daemon.sum("upconns") == 0)
        assert client.ask(target="/bytes/50").size == 50


# name, bytes of the response, then the connection stays open
BAD_RESPONSES = [
    ("length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
     "\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("bad length", "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello"),
    ("unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nhello"),
    ("bare CR", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
    ("NUL", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    ("obs-fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 000", "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("garbage", "hello there\r\n\r\n"),
    ("SMTP", "220 mail.example.com ESMTP\r\n"),
    ("head without end", "HTTP/1.1 200 OK\r\n" + "X: " + "a" * 100000),
    ("too many headers", "HTTP/1.1 200 OK\r\n" + "X: 1\r\n" * 1000 + "Content-Length: 0\r\n\r\n"),
]


@pytest.mark.parametrize("name,data", BAD_RESPONSES, ids=[name for name, _ in BAD_RESPONSES])
def test_bad_responses_become_502(weir, scripted, name, data):
    def handler(peer):
        if peer.request():
            peer.send(data)
            peer.until_end()
    backend = scripted(handler)
    daemon = weir([backend.address], pool={"retry": "off", "timeouts": {"response": "2s"}})
    client = daemon.connect()
    for _ in range(2):
        assert client.ask().status == 502
    assert backend.connections == 2, "a connection that lied is not used again"


@pytest.mark.parametrize("body", ["x\r\nhello", "5\r\nhelloX\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
                                  "fffffffffffffffff\r\n", "5\r\nhello\r\n0\r\nbad\r\n\r\n"])
def test_bad_chunks_of_a_backend(weir, scripted, body):
    def handler(peer):
        if peer.request():
            peer.send(CHUNKED, body)
            peer.until_end()
    daemon = weir([scripted(handler).address], pool={"retry": "off"})
    client = daemon.connect()
    client.send(request())
    try:
        assert client.response().status == 502
    except (Truncated, ConnectionResetError):
        pass  # the head was gone already; what matters is that it is not complete


def test_an_answer_nobody_asked_for(weir, scripted):
    """Bytes on an idle connection end it; the next client never gets them."""
    def handler(peer):
        while peer.request():
            peer.respond(b"first")
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    daemon = weir([scripted(handler).address], workers=1)
    client = daemon.connect()
    for _ in range(10):
        assert client.ask().body == b"first"
        # what has not arrived yet nobody can refuse: let it arrive
        wait_for(lambda: daemon.sum("upconns") == 0)


def test_a_backend_that_answers_before_the_request(weir, scripted):
    def handler(peer):
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        peer.until_end()
    daemon = weir([scripted(handler).address], pool={"retry": "off"})
    response = daemon.ask()
    assert response.status in (200, 502)


def test_a_backend_that_only_says_continue(weir, scripted):
    def handler(peer):
        if peer.request():
            for _ in range(2000):
                peer.send("HTTP/1.1 100 Continue\r\n\r\n")
            peer.close()
    daemon = weir([scripted(handler).address], pool={"retry": "off"})
    client = daemon.connect()
    client.send(request())
    with pytest.raises((AssertionError, ConnectionResetError)):
        assert client.response().status != 502
        raise Closed


def test_a_backend_that_closes_while_it_is_sent_to(weir, scripted):
    def handler(peer):
        peer.request_head()
        peer.reset()
    daemon = weir([scripted(handler).address], pool={"retry": "off"})
    client = daemon.connect()
    client.send(request("POST", headers=[("Content-Length", 10000000)]), b"x" * 1000)
    assert client.response().status == 502


# ---- clients that vanish ----

LEAVE = {"close": lambda client: client.close(), "reset": lambda client: client.reset()}


@pytest.fixture(params=LEAVE)
def leave(request):
    return LEAVE[request.param]


@pytest.fixture
def impatient(weir, app):
    """Who has closed may only have ended its direction: here that is as good as gone."""
    backend = app()
    daemon = weir(backend.addresses, listener={"timeouts": {"half_closed": "50ms"}})
    daemon.app = backend
    return daemon


def test_client_leaves_without_a_word(one, leave):
    for _ in range(20):
        leave(one.connect())


def test_client_leaves_inside_the_head(one, leave):
    for _ in range(20):
        client = one.connect()
        client.send("GET / HTTP/1.1\r\nHos")
        leave(client)
    assert one.app.stats()["requests"] == 0


def test_client_leaves_inside_the_body(one, leave):
    for framing in ([("Content-Length", "100000")], [("Transfer-Encoding", "chunked")]):
        for _ in range(5):
            client = one.connect()
            client.send(request("POST", "/echo", framing), b"5000\r\n" + b"x" * 20000)
            wait_for(lambda: one.app.stats()["in_progress"] >= 1)
            leave(client)
            wait_for(lambda: one.app.stats()["in_progress"] == 0)
    assert one.app.stats()["responses"] == {}, "a cut request must not look complete"


def test_client_leaves_while_it_waits(impatient, leave):
    client = impatient.connect()
    client.send(request(target="/?head_delay=30s"))
    wait_for(lambda: impatient.app.stats()["in_progress"] == 1)
    leave(client)
    wait_for(lambda: impatient.app.stats()["in_progress"] == 0)
    assert impatient.app.stats()["aborted"] == 1


def test_client_leaves_while_it_reads(one, leave):
    client = one.connect()
    client.send(request(target="/bytes/1000000000"))
    client.fill()
    leave(client)
    wait_for(lambda: one.app.stats()["in_progress"] == 0)


def test_client_leaves_during_a_slow_body(one, leave):
    client = one.connect()
    client.send(request(target="/bytes/1000000?rate=2000"))
    client.fill()
    leave(client)
    wait_for(lambda: one.app.stats()["in_progress"] == 0)


def test_client_leaves_in_the_queue(weir, app, leave):
    backend = app(1, "hang=1")
    daemon = weir([{"address": backend.addresses[0], "max_requests": 1}],
                  pool={"queue": {"timeout": "60s"}})
    first = daemon.connect()
    first.send(request())
    wait_for(lambda: backend.stats()["in_progress"] == 1)
    for _ in range(10):
        client = daemon.connect()
        client.send(request())
        leave(client)
    backend.set(hang=0)
    backend.go()
    assert first.response().status == 200
    wait_for(daemon.is_idle)


def test_client_leaves_with_pipelined_requests(impatient, leave):
    client = impatient.connect()
    client.send(request(target="/?head_delay=30s") + request() * 50)
    wait_for(lambda: impatient.app.stats()["in_progress"] == 1)
    leave(client)
    wait_for(lambda: impatient.app.stats()["in_progress"] == 0)
    assert impatient.app.stats()["requests"] == 1


def test_client_that_closes_its_sending_side(one):
    """shutdown(SHUT_WR) after the request: it is answered all the same."""
    for _ in range(10):
        client = one.connect()
        client.send(request(target="/bytes/5000"))
        client.end_direction()
        assert client.response().size == 5000
        client.assert_closed()


def test_a_client_that_ends_its_direction_is_answered(weir, app):
    """shutdown(SHUT_WR) behind the request, or behind several: all are answered, then it ends."""
    backends = app(1, "service=150ms,workers=1")
    daemon = weir([{"address": backends.addresses[0], "max_requests": 1}], workers=1,
                  pool={"queue": {"timeout": "20s"}},
                  listener={"timeouts": {"half_closed": "20s"}})
    clients = [daemon.connect() for _ in range(3)]  # two of them wait in the queue
    for n, client in enumerate(clients, 1):
        client.send(request(target="/bytes/5000") * n)
        client.end_direction()
    for n, client in enumerate(clients, 1):
        for i in range(n):
            response = client.response()
            assert (response.status, response.size) == (200, 5000)
            assert (response.get("Connection") == "close") == (i == n - 1)
        client.assert_closed()
    assert backends.stats()["responses"] == {"200": 6}


def test_a_client_that_ended_its_direction_is_not_waited_for_in_vain(weir, app):
    """When its answer does not begin it counts as gone, with a body under way it does not."""
    backends = app()
    daemon = weir(backends.addresses, listener={"timeouts": {"half_closed": "100ms"}})
    reader, leaver = daemon.connect(), daemon.connect()
    leaver.send(request(target="/?head_delay=30s"))
    reader.send(request(target="/bytes/20000?rate=40000"))
    for client in (reader, leaver):
        client.end_direction()
    leaver.assert_closed()
    assert reader.response().size == 20000
    wait_for(lambda: backends.stats()["aborted"] == 1)


@pytest.mark.parametrize("more", [b"", request() * 1000], ids=["ended", "sent ahead"])
def test_a_client_that_resets_is_gone_at_once(weir, app, more):
    """Also when nothing more is read of it: it ended its direction before, or sent ahead."""
    backends = app()
    daemon = weir(backends.addresses, listener={"timeouts": {"half_closed": "60s"}})
    client = daemon.connect()
    client.send(request(target="/?head_delay=60s") + more)
    client.end_direction()
    wait_for(lambda: backends.stats()["requests"] == 1)
    client.assert_open()
    client.reset()
    wait_for(lambda: backends.stats()["aborted"] == 1)


def test_without_half_closed_the_end_is_the_end(weir, app):
    backends = app()
    daemon = weir(backends.addresses, listener={"timeouts": {"half_closed": "0"}})
    client = daemon.connect()
    client.send(request(target="/?head_delay=30s"))
    client.end_direction()
    client.assert_closed()
    wait_for(lambda: backends.stats()["aborted"] == 1)


def test_a_tunnel_asked_for_before_the_end(weir, scripted):
    """The client ends its direction with the request for a tunnel: the backend sees that end."""
    ends = []

    def handler(peer):
        peer.request()
        peer.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        peer.until_end()
        ends.append(True)
        peer.send("goodbye")
    daemon = weir([scripted(handler).address], listener={"timeouts": {"half_closed": "20s"}})
    client = daemon.connect()
    client.send(request(headers=[("Connection", "Upgrade"), ("Upgrade", "echo")]))
    client.end_direction()
    assert client.response().status == 101
    got = bytearray()
    client.to_end(got.extend)
    assert bytes(got) == b"goodbye" and ends


@pytest.mark.parametrize("status", [100, 102, 103])
@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_interim_responses_are_bounded(weir, scripted, status, protocol):
    """As many as limits.interim_responses go through; one more is a malformed response."""
    def http1(peer):
        while req := peer.request():
            n = int(req.target.strip("/"))
            peer.send(f"HTTP/1.1 {status} X\r\n\r\n".encode() * n)
            peer.respond(b"done")

    def http2(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            for _ in range(int(req.get(":path").strip("/"))):
                server.head(stream, status)
            server.answer(stream, b"done")
    daemon = weir([scripted({"http1": http1, "h2": http2}[protocol]).address],
                  pool={"protocol": protocol, "limits": {"interim_responses": 7}})
    client = daemon.connect()
    response = client.ask(target="/7")
    assert (response.status, len(response.infos), response.body) == (200, 7, b"done")
    response = client.ask(target="/8")
    assert (response.status, len(response.infos)) == (502, 7)
    assert b"limits.interim_responses" in response.body, response
    assert daemon.ask(target="/300").status == 502
    daemon.says("limits.interim_responses (7)")
    assert daemon.admin.metrics()['weir_rejected_requests_total{reason="too_many_interim"}'] == 2


def test_storm_of_aborts(weir, app):
    """Everything at once, at random; the fixture checks that nothing is left."""
    import random
    backends = app(3, "service=2ms,dist=exp", ["1:close_after=1ms"])
    daemon = weir([{"address": a, "max_requests": 4} for a in backends.addresses],
                  pool={"queue": {"length": 20, "timeout": "100ms"}})
    targets = ["/", "/bytes/100000", "/?reset=before", "/?cut=head", "/bytes/9999?reset=body",
               "/?garbage=1", "/bytes/50000?framing=chunked&cut=body", "/echo", "/?head_delay=20ms",
               "/bytes/100000?wrong=short", "/?early=close", "/bytes/200?framing=close"]
    odd = []

    def run(seed):
        rng = random.Random(seed)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            try:
                client = daemon.connect()
                for _ in range(rng.randrange(1, 4)):
                    body = b"x" * rng.choice((0, 0, 10, 100000))
                    client.send(request(rng.choice(("GET", "POST")), rng.choice(targets), body=body))
                    choice = rng.random()
                    if choice < 0.2:
                        client.close()
                    elif choice < 0.4:
                        client.reset()
                    elif choice < 0.5:
                        client.fill()
                        client.reset()
                    else:
                        client.response()
            except (OSError, Truncated, Closed):
                pass
            except WireError as error:
                odd.append(error)
            finally:
                client.close()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not odd, odd[:3]
    assert daemon.ask().status == 200
