# SPDX-License-Identifier: MIT
"""HTTP/2 frame by frame: what RFC 9113 forbids, and what is too much of what it allows.

Each row sends something on a fresh connection and says what must come back: the
code of a GOAWAY, of a RST_STREAM on stream 1, or a status.  After each row another
connection must be served as if nothing had happened.
"""
import pytest

from backends import pattern
from h2wire import (CALM, CLOSED, COMPRESSION, FLOW, GET, H2, PREFACE, PROTOCOL,
                    SIZE, post, raw)
from wire import wait_for

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
U32 = (0).to_bytes(4, "big")


def fields(*more, without=(), **pseudo):
    base = [(n, pseudo.pop(n[1:], v)) for n, v in GET if n not in without]
    return base + list(more)


def head(*more, **kw):
    return lambda c: c.headers(1, fields(*more, **kw))


def setting(key, value):
    return raw(SETTINGS, 0, 0, key.to_bytes(2, "big") + value.to_bytes(4, "big"))


CONNECTION = [
    # section, what, bytes, codes of GOAWAY
    ("3.4 no SETTINGS first", raw(PING, 0, 0, bytes(8)), {PROTOCOL}, False),
    ("4.2 frame too large", (16385).to_bytes(3, "big") + bytes([DATA, 0]) + U32, {SIZE}, True),
    ("5.1 DATA on idle stream", raw(DATA, 0, 1, b"x"), {PROTOCOL}, True),
    ("5.1 RST_STREAM on idle stream", raw(RST, 0, 1, U32), {PROTOCOL}, True),
    ("5.1 WINDOW_UPDATE on idle stream", raw(WINDOW, 0, 1, b"\0\0\0\1"), {PROTOCOL}, True),
    ("5.1.1 even stream", lambda c: c.headers(2), {PROTOCOL}, True),
    ("5.1 DATA after END_STREAM", lambda c: c.headers(1, fields(path="/?service=300ms")) +
     c.data(1, b"x"), {CLOSED}, True),
    ("6.9 window 0 of a stream", lambda c: c.headers(1, fields(path="/?service=300ms")) +
     raw(WINDOW, 0, 1, U32), {PROTOCOL}, True),
    ("6.1 DATA on stream 0", raw(DATA, 0, 0, b"x"), {PROTOCOL}, True),
    ("6.1 padding too long", lambda c: c.headers(1, post(), end=False) +
     raw(DATA, 8, 1, b"\x05abc"), {PROTOCOL}, True),
    ("6.2 HEADERS on stream 0", raw(HEADERS, 5, 0, b"\x82"), {PROTOCOL}, True),
    ("6.2 frame inside a block", lambda c: c.headers(1, end_headers=False) + c.ping(),
     {PROTOCOL}, True),
    ("6.4 RST_STREAM on stream 0", raw(RST, 0, 0, U32), {PROTOCOL}, True),
    ("6.4 RST_STREAM size", lambda c: c.headers(1) + raw(RST, 0, 1, b"abc"), {SIZE}, True),
    ("6.5 SETTINGS ack with payload", raw(SETTINGS, 1, 0, bytes(6)), {SIZE}, True),
    ("6.5 SETTINGS on a stream", raw(SETTINGS, 0, 1), {PROTOCOL}, True),
    ("6.5 SETTINGS size", raw(SETTINGS, 0, 0, b"abc"), {SIZE}, True),
    ("6.5.2 ENABLE_PUSH 2", setting(2, 2), {PROTOCOL}, True),
    ("6.5.2 window too large", setting(4, 1 << 31), {FLOW}, True),
    ("6.5.2 frame size too small", setting(5, 100), {PROTOCOL}, True),
    ("6.6 PUSH_PROMISE", raw(PUSH, 4, 1, U32), {PROTOCOL}, True),
    ("6.7 PING on a stream", raw(PING, 0, 1, bytes(8)), {PROTOCOL}, True),
    ("6.7 PING size", raw(PING, 0, 0, b"abc"), {SIZE}, True),
    ("6.9 window 0 of the connection", raw(WINDOW, 0, 0, U32), {PROTOCOL}, True),
    ("6.9.1 overflow of the connection", raw(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), {FLOW}, True),
    ("6.10 CONTINUATION alone", raw(CONT, 4, 1, b"\x82"), {PROTOCOL}, True),
    ("RFC 7541 bad index", raw(HEADERS, 5, 1, b"\xff\xff\x7f"), {COMPRESSION}, True),
]
STREAM = [
    # what, bytes, codes of RST_STREAM or statuses
    ("6.9.1 overflow of a stream", lambda c: c.headers(1, fields(path="/?service=300ms")) +
     raw(WINDOW, 0, 1, b"\x7f\xff\xff\xff"), {FLOW}),
    ("8.1.1 length too small", lambda c: c.headers(1, post(3), end=False) +
     c.data(1, b"abcdef", True), {PROTOCOL}),
    ("8.1.1 length too large", lambda c: c.headers(1, post(9), end=False) +
     c.data(1, b"abc", True), {PROTOCOL}),
    ("8.1.1 length without DATA", lambda c: c.headers(1, post(9)), {PROTOCOL}),
    ("8.2.1 upper case", head(("X-Upper", "1")), {PROTOCOL}),
    ("8.2.1 CR in a value", head(("x-a", "a\rb")), {PROTOCOL}),
    ("8.2.1 LF in a value", head(("x-a", "a\nGET / HTTP/1.1")), {PROTOCOL}),
    ("8.2.1 NUL in a value", head(("x-a", "a\0b")), {PROTOCOL}),
    ("8.2.1 space in a name", head(("x a", "b")), {PROTOCOL}),
    ("8.2.1 colon in a name", head(("x:a", "b")), {PROTOCOL}),
    ("8.2.2 connection", head(("connection", "close")), {PROTOCOL}),
    ("8.2.2 transfer-encoding", head(("transfer-encoding", "chunked")), {PROTOCOL}),
    ("8.2.2 keep-alive", head(("keep-alive", "1")), {PROTOCOL}),
    ("8.2.2 upgrade", head(("upgrade", "h2c")), {PROTOCOL}),
    ("8.2.2 te", head(("te", "gzip")), {PROTOCOL}),
    ("8.3 unknown pseudo", head((":x", "1")), {PROTOCOL}),
    ("8.3 pseudo after regular", head(("x-a", "1"), (":path", "/b"), without=[":path"]),
     {PROTOCOL}),
    ("8.3 status in a request", head((":status", "200")), {PROTOCOL}),
    ("8.3.1 two paths", head((":path", "/b")), {PROTOCOL}),
    ("8.3.1 no path", head(without=[":path"]), {PROTOCOL}),
    ("8.3.1 no method", head(without=[":method"]), {PROTOCOL}),
    ("8.3.1 no scheme", head(without=[":scheme"]), {PROTOCOL}),
    ("8.3.1 empty path", head(path=""), {PROTOCOL}),
    ("8.3.1 path without slash", head(path="abc"), {PROTOCOL}),
    ("8.3.1 path with a space", head(path="/a b"), {PROTOCOL, 400}),
    ("8.3.1 path with a fragment", head(path="/a#b"), {400}),
    ("8.3.1 no authority", head(without=[":authority"]), {PROTOCOL, 400}),
    ("8.3.1 user information", head(authority="u@h"), {PROTOCOL, 400}),
    ("8.3.1 Host disagrees", head(("host", "other")), {PROTOCOL, 400}),
    ("8.3.1 Host agrees", head(("host", "weir.test")), {200}),
    ("8.5 CONNECT", head(method="CONNECT", without=[":path", ":scheme"]), {PROTOCOL, 405}),
    ("two lengths", lambda c: c.headers(1, post(3) + [("content-length", "3")]), {PROTOCOL, 400}),
    ("bad length", lambda c: c.headers(1, post("3x")), {PROTOCOL, 400}),
    ("list too large", head(*[("x-a", "v" * 4000)] * 12), {431}),
    ("line too long", head(("x-a", "v" * 9000)), {431}),
    ("path too long", head(path="/" + "v" * 9000), {414}),
    ("too many fields", head(*[("x-a", "v")] * 101), {431}),
    ("unknown frame", lambda c: raw(0x77, 0, 0, b"abc") + c.headers(1), {200}),
    ("padded", lambda c: c.headers(1, post(3), end=False) + raw(DATA, 9, 1, b"\x04abc\0\0\0\0"),
     {200}),
]


@pytest.fixture
def served(weir, app):
    daemon = weir(app(1, "body=100").addresses)
    yield daemon
    with H2(daemon.port) as client:
        assert client.ask(1).status == 200


def bytes_of(what, client):
    return what(client) if callable(what) else what


def test_connection_errors(served):
    for name, what, codes, preface in CONNECTION:
        with H2(served.port, preface=preface) as client:
            if not preface:
                client.send(PREFACE)
            client.send(bytes_of(what, client))
            assert client.end() in codes, (name, client.goaways)
    assert served.admin.metrics()  # it lives


def test_stream_errors(served):
    for name, what, codes in STREAM:
        with H2(served.port) as client:
            client.send(bytes_of(what, client))
            stream = client.response(1)
            got = stream.reset if stream.reset is not None and stream.status is None \
                else stream.status
            assert got in codes, (name, got, stream.reset, stream.status)
            assert client.ask(3).status == 200, name


def counter(daemon, name):
    rows = daemon.admin.metrics()
    return sum(value for key, value in rows.items() if name in key)


def resets(client):
    for i in range(1, 3000, 2):
        yield client.headers(i, fields(path="/?service=1s")) + client.reset(i)


def made_resets(client):
    for i in range(1, 3000, 2):
        yield client.headers(i, fields(path="/?service=1s")) + raw(WINDOW, 0, i, b"\x7f\xff\xff\xff")


def refused(client):
    """As many streams as are allowed, and more, by a client that never acknowledges the limit."""
    for i in range(1, 3000, 2):
        yield client.headers(i, fields(path="/?service=20s"))


def repeated(frame, n=20000):
    return lambda client: (frame for _ in range(n))


def bad_trailers(client):
    """Streams that weir has to give up, although the client resets none."""
    for i in range(1, 3000, 2):
        yield client.headers(i, post(path="/?service=20s"), end=False) + \
            client.headers(i, [("x-a", "v")] * 101)


def unknown(_):
    return (raw(0x77, 0, 0, b"abc") for _ in range(20000))


def late_resets(client):
    """Streams that are over already."""
    assert client.ask(1).status == 200
    yield from (client.reset(1) for _ in range(20000))


def empty_data(client):
    yield client.headers(1, post(), end=False)
    for _ in range(5000):
        yield client.data(1, b"")


def continuations(client):
    yield client.headers(1, end_headers=False)
    for _ in range(100):
        yield raw(CONT, 0, 1, b"")


def bomb(client):
    """A long value in the table, then one byte for each time it is named again."""
    yield client.headers(1, fields(("x-bomb", "v" * 4000)))
    once = client.encoder.encode([("x-bomb", "v" * 4000)])
    assert len(once) == 1
    yield client.headers(3, end_headers=False) + raw(CONT, 4, 3, once * 16000)


FLOODS = [
    ("resets", resets), ("resets", made_resets), ("resets", refused), ("resets", bad_trailers),
    ("others", unknown), ("others", late_resets),
    ("settings", repeated(raw(SETTINGS))),
    ("pings", repeated(raw(PING, 0, 0, bytes(8)))),
    ("priorities", repeated(raw(PRIORITY, 0, 1, b"\0\0\0\3\1"))),
    ("windows", repeated(raw(WINDOW, 0, 0, b"\0\0\0\1"))),
    ("empty_data", empty_data),
    ("continuations", continuations), ("header_lists", bomb),
]


def test_many_streams_may_go_on_at_once(served):
    """Frames of all of them are more than is gathered before it is sent."""
    size = 60000
    with H2(served.port, windows=False, settings={4: 0}) as client:
        numbers = range(1, 41, 2)
        client.send(b"".join(client.headers(i, fields(path=f"/bytes/{size}")) for i in numbers))
        for i in numbers:
            client.until(lambda: client.stream(i).heads)
        client.send(client.settings_frame({4: size}) + client.window(0, len(numbers) * size))
        for i in numbers:
            assert client.response(i).body == pattern(size)


@pytest.mark.parametrize("row", range(len(FLOODS)))
def test_floods(served, row):
    name, flood = FLOODS[row]
    before = served.rss()
    with H2(served.port) as neighbour, H2(served.port) as client:
        assert neighbour.ask(1).status == 200
        try:
            for piece in flood(client):
                client.send(piece)
        except OSError:
            pass  # it has had enough
        assert client.end() in (CALM, None)
        assert client.closed
        wait_for(lambda: counter(served, f"h2_flood_{name}") == 1, what=name)
        assert neighbour.ask(3).status == 200
    assert served.grew_less(before, 8 << 20)


def test_rates_are_settings(weir, app):
    """What is allowed passes, one more does not, and who reloads changes it for who comes next."""
    daemon = weir(app(1).addresses, listener={"limits": {"h2_pings": 1, "h2_resets": 2}})
    for allowed in (10, 30):
        with H2(daemon.port) as client:
            client.send(client.ping() * allowed)
            client.until(lambda: client.pongs == allowed)
            client.send(client.ping() * (allowed + 1))
            assert client.end() == CALM
        daemon.conf["listeners"][0]["limits"]["h2_pings"] = 3
        daemon.reload(daemon.conf)
    with H2(daemon.port) as client:
        for i in range(1, 41, 2):
            client.send(client.headers(i, post(), end=False) + client.reset(i))
        assert client.ask(41).status == 200
        client.send(b"".join(client.headers(i, post(), end=False) + client.reset(i)
                             for i in range(43, 143, 2)))
        assert client.end() == CALM


def test_zero_window_ends(weir, app):
    daemon = weir(app(1, "body=100000").addresses,
                  listener={"timeouts": {"write_idle": "300ms"}})
    with H2(daemon.port, windows=False, settings={4: 0}) as client:
        stream = client.ask(1)
        assert stream.reset is not None and stream.body == b""
    wait_for(daemon.is_idle)


def test_head_in_pieces_and_slow(weir, app):
    daemon = weir(app(1).addresses, listener={"timeouts": {"header": "400ms"}})
    with H2(daemon.port) as client, H2(daemon.port) as other:
        block = client.headers(1, fields(("cookie", "a"), ("x-one", "1" * 300)))
        for i in range(0, len(block), 40):
            client.send(block[i:i + 40])
            assert other.ask(1 + 2 * i).status == 200
        assert client.response(1).status == 200
        client.send(client.headers(3)[:-4])
        client.end()
        assert client.closed


def test_garbage(served):
    for junk in (b"\0" * 100, b"\xff" * 100, PREFACE[:20] + b"XX", PREFACE + b"\xff" * 1000):
        with H2(served.port, preface=False) as client:
            client.send(PREFACE[:18] + junk)
            client.end()
            assert client.closed
