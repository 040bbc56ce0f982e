# SPDX-License-Identifier: MIT
"""Distributed tracing: W3C trace context to backends, spans to a strict collector."""
import ssl
import subprocess

import pytest

from backends import refused_address
from certs import Authority
from collector import Collector
from h2peer import answering
from wire import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def collector(scripted):
    def make(*args, **kwargs):
        return Collector(scripted, *args, **kwargs)
    return make


def traced(weir, collector, backends, tracing=None, **kwargs):
    conf = {"endpoint": collector.endpoint, "interval": "100ms", "sample": 1.0, **(tracing or {})}
    return keeps_one(weir(backends, tracing=conf, **kwargs))


def keeps_one(daemon):
    """A connection to the collector may be left when all is over."""
    count = daemon.leaks
    daemon.leaks = lambda: max(0, count() - 1)
    return daemon


def sent(backend, i=0):
    """traceparent of a request that a backend got, in its parts."""
    fields = backend.requests[i].headers.all("traceparent")
    assert len(fields) == 1, fields
    return fields[0].split("-")


def split(spans):
    server, = [s for s in spans if s.kind == "server"]
    return server, [s for s in spans if s.kind == "client"]


# ---- the context ----

def test_off_passes_it_through(weir, scripted):
    backend = scripted()
    daemon = weir([backend.address])
    daemon.ask(headers=[("traceparent", "anything"), ("tracestate", "x")])
    assert backend.requests[0].get("traceparent") == "anything"
    daemon.ask()
    assert backend.requests[1].get("traceparent") is None


def test_continued(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address])
    daemon.ask(headers=[("traceparent", SAMPLED), ("tracestate", "a=1,b=2"), ("tracestate", "c=3")])
    version, trace, parent, flags = sent(backend)
    assert (version, trace, flags) == ("00", TRACE, "01") and parent != PARENT
    assert backend.requests[0].headers.all("tracestate") == ["a=1,b=2", "c=3"]
    server, (client,) = split(spans.wait(2))
    assert server.trace == client.trace == TRACE and server.parent == PARENT
    assert client.parent == server.id and client.id == parent
    assert server.state == client.state == "a=1,b=2,c=3"
    assert server.flags == 0x301 and client.flags == 0x101


BAD = [
    "", "00", SAMPLED[:-1], SAMPLED + "0", SAMPLED + "-x", SAMPLED.upper(), "ff" + SAMPLED[2:],
    f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", SAMPLED.replace("-", "_"),
    "0x" + SAMPLED[2:], f"00-{TRACE[:-1]}g-{PARENT}-01", "01" + SAMPLED[2:] + "x", SAMPLED + "-",
]


def test_bad_ones_begin_a_new_trace(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address])
    with daemon.connect() as client:
        for i, bad in enumerate(BAD):
            client.ask(headers=[("traceparent", bad), ("tracestate", "a=1")])
            version, trace, _, flags = sent(backend, i)
            assert version == "00" and trace != TRACE and flags == "01", bad
            assert backend.requests[i].get("tracestate") is None, bad
        client.ask(headers=[("traceparent", SAMPLED), ("traceparent", SAMPLED)])
        assert sent(backend, len(BAD))[1] != TRACE
    got = spans.wait(2 * len(BAD) + 2)
    assert all(s.parent is None and s.state == "" for s in got if s.kind == "server")
    assert len({s.trace for s in got}) == len(BAD) + 1


def test_later_versions_and_flags(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address])
    cases = [("cc" + SAMPLED[2:], "01"), ("cc" + SAMPLED[2:] + "-what-the-future-brings", "01"),
             (SAMPLED[:-2] + "00", "00"), (SAMPLED[:-2] + "03", "03"), (SAMPLED[:-2] + "fe", "02"),
             (SAMPLED[:-2] + "ff", "03")]
    for i, (field, flags) in enumerate(cases):
        daemon.ask(headers=[("traceparent", field)])
        version, trace, parent, got = sent(backend, i)
        assert (version, trace, got) == ("00", TRACE, flags) and parent != PARENT, field
    got = spans.wait(8)
    assert len(got) == 8, got  # four are sampled


def test_share(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address], {"sample": 0})
    with daemon.connect() as client:
        for _ in range(20):
            client.ask()
        client.ask(headers=[("traceparent", SAMPLED)])
    assert [sent(backend, i)[3] for i in range(21)] == ["00"] * 20 + ["01"]
    assert {s.trace for s in spans.wait(2)} == {TRACE}


def test_who_is_believed(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address], {"continue": "trusted"})
    daemon.ask(headers=[("traceparent", SAMPLED)])
    assert sent(backend)[1] != TRACE
    daemon.conf["listeners"][0]["trusted_proxies"] = ["127.0.0.0/8"]
    daemon.reload(daemon.conf)
    daemon.ask(headers=[("traceparent", SAMPLED)])
    assert sent(backend, 1)[1] == TRACE
    daemon.conf["tracing"]["continue"] = "none"
    daemon.reload(daemon.conf)
    daemon.ask(headers=[("traceparent", SAMPLED)])
    assert sent(backend, 2)[1] != TRACE


def test_switched_by_reload(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address])
    conf = daemon.conf
    tracing = conf.pop("tracing")
    daemon.reload(conf)
    daemon.ask()
    assert backend.requests[0].get("traceparent") is None
    daemon.reload({**conf, "tracing": tracing})
    daemon.ask()
    spans.wait(2)


# ---- spans ----

def test_attributes(weir, scripted, collector):
    backend, spans = scripted(), collector()
    routes = [{"name": "shop", "match": {"path": "/shop"}, "pool": "app",
               "rewrite": {"path_regex": "^/shop(.*)$", "path": "/v2$1"}}]
    daemon = traced(weir, spans, [{"address": backend.address, "name": "one"}],
                    {"service": "edge"}, routes=routes)
    daemon.ask("POST", "/shop/cart?a=1&sig=hunter2&b=", [("User-Agent", "test/1")], b"body",
               host="shop.test:8080")
    server, (client,) = split(spans.wait(2))
    port = backend.port
    assert server.name == "POST /shop" and client.name == "POST"
    wanted = {"http.request.method": "POST", "url.scheme": "http", "url.path": "/shop/cart",
              "url.query": "a=1&sig=REDACTED&b=", "server.address": "shop.test",
              "server.port": 8080, "http.route": "/shop", "http.response.status_code": 200,
              "network.protocol.version": "1.1", "client.address": "127.0.0.1",
              "user_agent.original": "test/1", "weir.route": "shop", "weir.pool": "app",
              "weir.outcome": "ok", "weir.retries": 0, "weir.listener": "web"}
    assert {k: server[k] for k in wanted} == wanted
    wanted = {"http.request.method": "POST", "http.response.status_code": 200,
              "url.full": f"http://127.0.0.1:{port}/v2/cart?a=1&sig=REDACTED&b=",
              "server.address": "127.0.0.1", "server.port": port, "weir.backend": "one",
              "network.protocol.version": "1.1", "http.request.resend_count": None,
              "error.type": None}
    assert {k: client[k] for k in wanted} == wanted
    assert [name for name, _ in client.events] == ["weir.connected", "weir.request_sent",
                                                   "weir.first_byte"]
    assert server.start <= client.start and client.end <= server.end
    assert server.code == client.code == 0
    assert spans.resources[0]["service.name"] == "edge"
    assert "hunter2" not in repr(spans.spans)


def test_methods_that_nobody_knows(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address])
    daemon.ask("BREW")
    server, (client,) = split(spans.wait(2))
    assert server.name == client.name == "HTTP"
    assert server["http.request.method"] == "_OTHER"
    assert server["http.request.method_original"] == "BREW"


def test_errors(weir, scripted, collector):
    def answer(peer):
        while request := peer.request():
            peer.respond(status=int(request.target[1:]))
    backend, spans = scripted(answer), collector()
    daemon = traced(weir, spans, [backend.address])
    for status in (200, 404, 500):
        daemon.ask(target=f"/{status}")
    spans.wait(6)
    codes = {(s.kind, s["http.response.status_code"]): (s.code, s["error.type"])
             for s in spans.spans}
    assert codes == {("server", 200): (0, None), ("client", 200): (0, None),
                     ("server", 404): (0, None), ("client", 404): (2, "404"),
                     ("server", 500): (2, "500"), ("client", 500): (2, "500")}


def test_an_answer_of_weir_itself(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address],
                    routes=[{"match": {"path": "/x"}, "pool": "app"}])
    assert daemon.ask(target="/y").status == 404
    server, clients = split(spans.wait(1))
    assert not clients and server["weir.outcome"] == "no_route" and server.code == 0


def test_retries_are_spans_of_their_own(weir, scripted, collector):
    def cut(peer):
        peer.request()
    bad, good, spans = scripted(cut), scripted(), collector()
    daemon = traced(weir, spans, [{"address": bad.address, "priority": 0},
                                  {"address": good.address, "priority": 1}])
    daemon.conf["pools"]["app"]["retry"] = {"attempts": 2}
    daemon.reload(daemon.conf)
    wait_for(lambda: daemon.ask().status == 200 and bad.n_requests, 10, "a retry")
    spans.wait(3)
    trace = sent(bad)[1]
    server, clients = split([s for s in spans.spans if s.trace == trace])
    first, second = clients
    assert first.id == sent(bad)[2] and second.id == sent(good)[2] and first.id != second.id
    assert first.parent == second.parent == server.id and server["weir.retries"] == 1
    assert (first.code, first["error.type"]) == (2, "backend_closed") and second.code == 0
    assert second["http.request.resend_count"] == 1 and server.code == 0


def test_refused(weir, collector):
    spans = collector()
    daemon = traced(weir, spans, [refused_address()], pool={"retry": "off"})
    assert daemon.ask().status == 502
    server, (client,) = split(spans.wait(2))
    assert server["error.type"] == client["error.type"] == "connect_refused"
    assert client.message == "the backend refused the connection" and not client.events


def test_http2_on_both_sides(weir, scripted, collector):
    seen = []
    backend, spans = scripted(answering(seen)), collector()
    daemon = traced(weir, spans, [backend.address], pool={"protocol": "h2"})
    subprocess.run(["curl", "-s", "--http2-prior-knowledge", "--max-time", "20", "-H",
                    f"traceparent: {SAMPLED}", f"http://127.0.0.1:{daemon.port}/"], check=True,
                   capture_output=True, timeout=40)
    server, (client,) = split(spans.wait(2))
    assert server["network.protocol.version"] == client["network.protocol.version"] == "2"
    assert server.parent == PARENT and server["server.port"] == daemon.port
    assert seen[0].get("traceparent") == f"00-{TRACE}-{client.id}-01"


def test_in_the_log_and_among_the_slowest(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address], log={"access": {"path": "stdout"}})
    daemon.ask(headers=[("traceparent", SAMPLED)])
    wait_for(lambda: f'"trace_id":"{TRACE}"' in daemon.stdout, 20, "the line")
    row, = daemon.admin.get("/v1/pools/app/slow")["slow"]
    assert row["trace_id"] == TRACE


# ---- the way to the collector ----

def counters(daemon):
    return daemon.admin.get("/v1/status")["tracing"]


def test_many_and_one_connection(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address], {"batch": 10})
    with daemon.connect() as client:
        for _ in range(100):
            client.ask()
    spans.wait(200)
    assert len({s.id for s in spans.spans}) == 200 and spans.server.connections == 1
    assert all(len(r.spans) <= 10 + 4 for r in spans.requests)
    wait_for(lambda: counters(daemon)["spans_sent"] == 200, 20, "the count")
    metrics = daemon.admin.metrics()
    assert metrics["weir_trace_spans_sent_total"] == 200
    assert metrics["weir_trace_dropped_total"] == 0


def test_gone_and_back(weir, scripted, collector):
    address = refused_address()
    backend = scripted()
    conf = {"endpoint": f"http://{address}/v1/traces", "interval": "100ms", "sample": 1.0}
    daemon = keeps_one(weir([backend.address], tracing=conf))
    daemon.ask()
    wait_for(lambda: counters(daemon)["error"], 20, "the failure is told")
    assert "refused" in counters(daemon)["error"]
    assert any("spans cannot be sent" in p for p in daemon.admin.get("/v1/status")["problems"])
    spans = collector(address=("127.0.0.1", int(address.rpartition(":")[2])))
    spans.wait(2)
    wait_for(lambda: not counters(daemon)["error"], 20, "the recovery is told")
    assert counters(daemon)["requests_failed"] >= 1


@pytest.mark.parametrize("answer", [
    (429, [("Retry-After", "1")], b""), (503, [], b"later"), (503, [], b"x" * 70000), b"garbage\r\n\r\n", None,
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"])
def test_sent_again(weir, scripted, collector, answer):
    backend, spans = scripted(), collector([answer])
    daemon = traced(weir, spans, [backend.address])
    daemon.ask()
    got = spans.wait(2)
    assert len(got) == 2 and len(spans.requests) == 2
    assert spans.requests[0].body == spans.requests[1].body
    wait_for(lambda: counters(daemon)["spans_sent"] == 2, 20, "the count")


@pytest.mark.parametrize("status", [400, 401, 404, 500, 302])
def test_refused_for_good(weir, scripted, collector, status):
    backend, spans = scripted(), collector([(status, [], b"no")])
    daemon = traced(weir, spans, [backend.address])
    daemon.ask()
    wait_for(lambda: counters(daemon)["spans_refused"] == 2, 20, "the count")
    assert str(status) in counters(daemon)["error"] and len(spans.requests) == 1
    daemon.ask()
    spans.wait(2)


def test_an_answer_that_is_too_long(weir, scripted, collector):
    """Its status says that the spans are there: they are not sent again."""
    backend, spans = scripted(), collector([(200, [], b" " * 70000)])
    daemon = traced(weir, spans, [backend.address])
    daemon.ask()
    wait_for(lambda: counters(daemon)["spans_sent"] == 2, 20, "the count")
    assert counters(daemon)["requests_failed"] == 0 and not counters(daemon)["error"]
    daemon.ask()
    wait_for(lambda: counters(daemon)["spans_sent"] == 4, 20, "the next ones")
    assert len(spans.requests) == 2


def test_partial_success(weir, scripted, collector):
    partial = b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too \\u0007 long"}}'
    backend, spans = scripted(), collector([(200, [], partial)])
    daemon = traced(weir, spans, [backend.address])
    daemon.ask()
    wait_for(lambda: counters(daemon)["spans_refused"] == 1, 20, "the count")
    assert counters(daemon)["spans_sent"] == 1
    assert counters(daemon)["error"] == "the collector refused 1 spans: too ? long"


def test_chunked_interim_and_closing_answers(weir, scripted, collector):
    answers = [b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"1\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n",
               b"HTTP/1.0 200 OK\r\n\r\n{}", b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n"]
    backend, spans = scripted(), collector(answers)
    daemon = traced(weir, spans, [backend.address])
    for n in range(1, 4):
        daemon.ask()
        wait_for(lambda: counters(daemon)["spans_sent"] == 2 * n, 20, "the count")
    assert len(spans.requests) == 3 and counters(daemon)["requests_failed"] == 0


def test_slow_collector_drops_and_counts(weir, scripted, collector):
    held = []

    def hold(peer):
        held.append(peer)
        peer.until_end()
    backend, spans = scripted(), collector([hold])
    daemon = traced(weir, spans, [backend.address], {"batch": 1}, workers=1)
    filler = [("User-Agent", "x" * 256), ("tracestate", "a=" + "y" * 250)]
    target = "/" + "z" * 2000
    with daemon.connect() as client:
        client.ask()
        wait_for(lambda: held, 20, "the collector holds the first request")
        for n in range(3000):
            assert client.ask(target=target, headers=filler).status == 200
            if n % 100 == 0 and daemon.admin.metrics()["weir_trace_dropped_total"]:
                break
    assert daemon.admin.metrics()["weir_trace_dropped_total"] > 0
    assert 3 << 20 < counters(daemon)["waiting_bytes"] <= 4 << 20
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("the trace collector was behind" in p for p in problems), problems


def test_timeout(weir, scripted, collector):
    backend, spans = scripted(), collector([lambda peer: peer.until_end()])
    daemon = traced(weir, spans, [backend.address], {"timeout": "200ms"})
    daemon.ask()
    spans.wait(2)
    assert counters(daemon)["requests_failed"] == 1


def test_fields_and_tls(weir, scripted, collector, tmp_path):
    ca = Authority(tmp_path)
    pair = ca.issue("collector", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.pem, pair.key)
    secret = tmp_path / "fields"
    secret.write_text("Authorization: Bearer s3cret\r\n\nX-Tenant: blue\n")
    backend, spans = scripted(), collector()
    serve = spans.server.handler

    def secure(peer):
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        serve(peer)
    spans.server.handler = secure
    daemon = traced(weir, spans, [backend.address], {
        "endpoint": f"https://localhost:{spans.server.port}/v1/traces", "ca": str(ca.pem),
        "headers_file": str(secret)})
    daemon.ask()
    spans.wait(2)
    assert spans.requests[0].get("Authorization") == "Bearer s3cret"
    assert spans.requests[0].get("X-Tenant") == "blue"
    assert b"s3cret" not in daemon.admin.call("GET", "/v1/config").body


def test_untrusted_collector(weir, scripted, collector, tmp_path):
    ca, other = Authority(tmp_path), Authority(tmp_path, "other")
    pair = ca.issue("collector", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.pem, pair.key)

    def secure(peer):
        try:
            context.wrap_socket(peer.sock, server_side=True)
        except OSError:
            pass
    backend, spans = scripted(), collector()
    spans.server.handler = secure
    daemon = traced(weir, spans, [backend.address], {
        "endpoint": f"https://localhost:{spans.server.port}/", "ca": str(other.pem)})
    daemon.ask()
    wait_for(lambda: counters(daemon)["error"], 20, "the failure")
    assert counters(daemon)["error"].startswith("TLS failed: "), counters(daemon)


def test_bad_settings(weir, scripted, tmp_path):
    backend = scripted()
    daemon = keeps_one(weir([backend.address]))
    fields = tmp_path / "fields"
    fields.write_text("fine: yes\nnot a field\n")
    good = {"endpoint": "http://127.0.0.1:1/"}
    for tracing, said in [({}, "endpoint"), ({"endpoint": "localhost:4318"}, "is no URL"),
                          ({"endpoint": "http://127.0.0.1:0/"}, "is no URL"),
                          ({"endpoint": "http://a b/"}, "is no URL"),
                          ({"endpoint": "ftp://a/"}, "is no URL"),
                          ({**good, "headers_file": str(fields)}, "line 2 is no header field"),
                          ({**good, "headers_file": "/nowhere"}, "cannot be read")]:
        answer = daemon.reload({**daemon.conf, "tracing": tracing}, status=422)
        assert said in str(answer), (tracing, answer)
    assert daemon.ask().status == 200


def test_the_last_spans_are_sent(weir, scripted, collector):
    backend, spans = scripted(), collector()
    daemon = traced(weir, spans, [backend.address], {"interval": "60s"})
    daemon.ask()
    daemon.finish()
    assert len(spans.spans) == 2


def test_reload_in_the_middle(weir, scripted, collector):
    held = []

    def hold(peer):
        held.append(peer)
        peer.until_end()
    backend, first, second = scripted(), collector([hold]), collector()
    daemon = traced(weir, first, [backend.address])
    daemon.ask()
    wait_for(lambda: held, 20, "the request is there")
    daemon.conf["tracing"]["endpoint"] = second.endpoint
    daemon.reload(daemon.conf)
    second.wait(2)
