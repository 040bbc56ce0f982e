# SPDX-License-Identifier: MIT
"""The PROXY protocol from those in front of weir, and to those behind it."""
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pytest
import yaml

from backends import Process, Scripted, binary, can_connect, free_port
from certs import Authority
from daemon import make_conf
from wire import Headers, Truncated, request, wait_for

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FROM_HERE = {"proxy_protocol": {"from": ["127.0.0.0/8"]}}
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n"


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def v2(source="192.0.2.7", destination="198.51.100.9", ports=(4711, 443), tlvs=b"", command=1):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = b"".join(socket.inet_pton(family, ip) for ip in (source, destination))
    rest = addresses + struct.pack("!HH", *ports) + tlvs
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, kind, len(rest)) + rest


def parse(head):
    """Version 2 header -> (command, source, destination, {type: value})"""
    assert head.startswith(SIGNATURE), head
    command, kind, size = struct.unpack("!BBH", head[12:16])
    rest = head[16:16 + size]
    if kind == 0:
        return command & 15, None, None, {}
    n, family = (4, socket.AF_INET) if kind == 0x11 else (16, socket.AF_INET6)
    source, destination = (socket.inet_ntop(family, rest[i:i + n]) for i in (0, n))
    ports = struct.unpack("!HH", rest[2 * n:2 * n + 4])
    rest, tlvs = rest[2 * n + 4:], {}
    while rest:
        kind, size = struct.unpack("!BH", rest[:3])
        tlvs[kind] = rest[3:3 + size]
        rest = rest[3 + size:]
    return command & 15, (source, ports[0]), (destination, ports[1]), tlvs


def take(peer, n):
    pieces = []
    peer.exactly(n, pieces.append)
    return b"".join(pieces)


class HeadedBackend(Scripted):
    """Reads a PROXY header from each connection and keeps it in `heads`."""

    def __init__(self, **kwargs):
        self.heads = []
        super().__init__(self.serve, **kwargs)

    def serve(self, peer):
        try:
            head = take(peer, 15)  # no header is shorter
        except Truncated:
            return  # nothing but a connection
        if head.startswith(SIGNATURE):
            head += take(peer, 1)
            head += take(peer, struct.unpack("!H", head[14:16])[0])
        while not head.startswith(SIGNATURE) and not head.endswith(b"\r\n"):
            head += take(peer, 1)
        with self.lock:
            self.heads.append(head)
        while peer.request():
            peer.respond()


@pytest.fixture
def headed():
    backend = HeadedBackend()
    yield backend
    backend.close()
    assert not backend.errors, backend.errors


# ---- from the front ----

@pytest.fixture
def behind(weir, app):
    """behind(header, listener) -> the header fields a backend got"""
    backend = app()

    def ask(header, listener=FROM_HERE):
        daemon = weir(backend.addresses, listener=listener)
        with daemon.connect() as client:
            client.send(header)
            answer = client.ask(target="/echo")
            assert answer.status == 200, answer
            assert client.ask(target="/echo").status == 200
        return Headers(map(tuple, answer.json()["headers"]))
    return ask


@pytest.mark.parametrize("header, client", [
    (V1, "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN and more\r\n", "127.0.0.1"),
    (v2(), "192.0.2.7"),
    (v2("2001:db8::7", "::1"), "2001:db8::7"),
    (v2(command=0), "127.0.0.1"),
    (v2(tlvs=tlv(1, b"h2") + tlv(2, b"a.example") + tlv(4, bytes(1000))), "192.0.2.7"),
])
def test_the_client_is_who_the_header_says(behind, header, client):
    assert behind(header).get("X-Forwarded-For") == client


def test_tls_in_front_is_told(behind):
    assert behind(v2()).get("X-Forwarded-Proto") == "http"
    header = v2(tlvs=tlv(0x20, b"\x01\0\0\0\0"))
    assert behind(header).get("X-Forwarded-Proto") == "https"


def test_in_single_bytes_and_with_the_request(weir, app):
    daemon = weir(app().addresses, listener=FROM_HERE)
    for header in (V1, v2(tlvs=tlv(4, bytes(300)))):
        with daemon.connect() as client:
            for i in range(len(header)):
                client.send(header[i:i + 1])
            assert client.ask().status == 200
        with daemon.connect() as client:
            client.send(header + request())
            assert client.response().status == 200


@pytest.mark.parametrize("bad", [
    request(), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x31\x11\0\0", v2(tlvs=b"\x01\xff\xff"), v2(tlvs=tlv(3, b"\0\0\0\0")),
    SIGNATURE + b"\x21\x11\xff\xff", b"\x16\x03\x01\x02\0\x01", b"\0",
], ids=lambda bad: repr(bad[:20]))
def test_without_a_good_header_the_connection_is_closed(weir, app, bad):
    backend = app()
    daemon = weir(backend.addresses, listener=FROM_HERE)
    with daemon.connect() as client:
        client.send(bad)
        client.assert_closed()
    assert backend.total("requests") == 0
    refused = [value for name, value in daemon.admin.metrics().items()
               if name.startswith("weir_proxy_headers_refused_total")]
    assert sum(refused) == 1
    wait_for(lambda: "closed a connection from 127.0.0.1" in daemon.stderr)


def test_no_header_in_time(weir, app):
    daemon = weir(app().addresses, listener={**FROM_HERE, "timeouts": {"header": "100ms"}})
    with daemon.connect() as client:
        client.send(V1[:10])
        client.assert_closed()
    wait_for(lambda: "no PROXY header within timeouts.header" in daemon.stderr)


def test_leaving_in_the_middle_of_a_header(weir, app):
    daemon = weir(app().addresses, listener=FROM_HERE)
    for n in (0, 1, 20):
        with daemon.connect() as client:
            client.send(V1[:n])
    with daemon.connect() as client:
        client.send(V1)
        assert client.ask().status == 200


def test_from_anybody_else_a_header_is_refused(weir, app):
    daemon = weir(app().addresses, listener={"proxy_protocol": {"from": ["10.0.0.0/8"]}})
    for header in (V1, v2()):
        with daemon.connect() as client:
            client.send(header + request())
            assert client.response(keep=False).status == 400
    assert daemon.ask().status == 200


def test_who_is_trusted_is_decided_by_the_header(weir, app):
    backend = app()
    listener = {**FROM_HERE, "trusted_proxies": ["192.0.2.0/24"]}
    daemon = weir(backend.addresses, listener=listener)
    for header, expected in ((V1, "9.9.9.9, 192.0.2.7"), (V1.replace(b"192.0", b"193.0"),
                                                         "193.0.2.7")):
        with daemon.connect() as client:
            client.send(header)
            answer = client.ask(target="/echo", headers=[("X-Forwarded-For", "9.9.9.9")])
        got = Headers(map(tuple, answer.json()["headers"])).all("X-Forwarded-For")
        assert ", ".join(got) == expected


def test_a_header_before_tls(weir, app, tmp_path):
    pair = Authority(tmp_path).issue("site", ["weir.test"])
    daemon = weir(app().addresses, listener={**FROM_HERE, "tls": {"certificates": [pair.conf]}})
    with socket.create_connection(("127.0.0.1", daemon.port)) as raw:
        raw.sendall(v2())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(raw, server_hostname="weir.test") as sock:
            sock.sendall(request(target="/echo", headers=[("Connection", "close")]))
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b'"192.0.2.7"' in answer and b'"https"' in answer


def test_reload_with_half_a_header(weir, app):
    backend = app()
    daemon = weir(backend.addresses, listener=FROM_HERE)
    with daemon.connect() as client:
        client.send(V1[:12])
        daemon.reload()
        client.send(V1[12:])
        assert client.ask().status == 200


# ---- to the backends ----

def test_version_1_to_the_backend(weir, headed):
    daemon = weir([headed.address], pool={"send_proxy": "v1"})
    with daemon.connect() as client:
        port = client.sock.getsockname()[1]
        assert client.ask().status == 200
        assert client.ask().status == 200
    expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {daemon.port}\r\n".encode()
    assert headed.heads == [expected]


def test_version_2_to_the_backend(weir, headed):
    daemon = weir([headed.address], pool={"send_proxy": "v2"})
    with daemon.connect() as client:
        port = client.sock.getsockname()[1]
        assert client.ask(headers=[("X-Request-ID", "abc-1")]).status == 200
    command, source, destination, tlvs = parse(headed.heads[0])
    assert (command, source, destination) == (1, ("127.0.0.1", port), ("127.0.0.1", daemon.port))
    assert tlvs[5] == headed.requests[0].get("X-Request-ID").encode()


def test_a_connection_serves_one_client(weir, headed):
    daemon = weir([headed.address], pool={"send_proxy": "v1"}, workers=1)
    with daemon.connect() as one, daemon.connect() as two:
        for _ in range(5):
            assert one.ask().status == 200
            assert two.ask().status == 200
    assert len(headed.heads) == len(set(headed.heads)) == 2


def test_kept_connections_of_others_are_in_nobodys_way(weir, headed):
    """They count against limits.connections, and only whose they are can use them."""
    daemon = weir([headed.address], workers=1, pool={
        "send_proxy": "v1", "limits": {"connections": 2}, "queue": "off", "retry": "off"})
    clients = [daemon.connect() for _ in range(8)]
    assert [client.ask().status for client in clients] == [200] * 8


def test_what_came_in_goes_on(weir, headed):
    daemon = weir([headed.address], pool={"send_proxy": "v2"}, listener=FROM_HERE)
    tlvs = tlv(1, b"h2") + tlv(2, b"a.example") + tlv(5, b"unique") + tlv(0x20, b"\x01\0\0\0\0")
    with daemon.connect() as client:
        client.send(v2(tlvs=tlvs))
        assert client.ask().status == 200
    command, source, destination, got = parse(headed.heads[0])
    assert (command, source, destination) == (1, ("192.0.2.7", 4711), ("198.51.100.9", 443))
    assert got[1] == b"h2" and got[2] == b"a.example" and got[5] == b"unique"
    assert got[0x20][0] & 1


def test_a_header_before_tls_to_the_backend(weir, app, tmp_path):
    """Behind: weir again, which wants both."""
    authority = Authority(tmp_path)
    pair = authority.issue("inner", ["inner.test"])
    inner = weir(app().addresses, listener={**FROM_HERE, "tls": {"certificates": [pair.conf]}})
    outer = weir([f"127.0.0.1:{inner.port}"], listener=FROM_HERE, pool={
        "send_proxy": "v2", "tls": {"ca": str(authority.pem), "sni": "inner.test"}})
    with outer.connect() as client:
        client.send(V1)
        answer = client.ask(target="/echo")
    headers = Headers(map(tuple, answer.json()["headers"]))
    assert ", ".join(headers.all("X-Forwarded-For")) == "192.0.2.7"
    outer.finish()


def test_a_reload_that_switches_it_off(weir, headed, app):
    daemon = weir([headed.address], pool={"send_proxy": "v1"}, workers=1)
    with daemon.connect() as client:
        assert client.ask().status == 200
        daemon.conf["pools"]["app"]["send_proxy"] = "v2"
        daemon.reload(daemon.conf)
        assert client.ask().status == 200
    assert [head[:5] for head in headed.heads] == [b"PROXY", SIGNATURE[:5]]


def test_a_stale_connection_is_replaced_with_a_header(weir):
    """Each connection serves one request, without saying so."""
    def serve(peer):
        line = peer.line()
        heads.append(line)
        if peer.request():
            peer.respond()
    heads = []
    backend = Scripted(serve)
    daemon = weir([backend.address], pool={"send_proxy": "v1"}, workers=1)
    with daemon.connect() as client:
        for _ in range(3):
            assert client.ask().status == 200
    assert len(heads) == 3 and len(set(heads)) == 1
    backend.close()


def test_many_clients(weir, headed):
    daemon = weir([headed.address], pool={"send_proxy": "v2"})

    def ask():
        with daemon.connect() as client:
            for _ in range(5):
                assert client.ask().status == 200
    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert headed.n_requests == 250
    assert {parse(head)[1][0] for head in headed.heads} == {"127.0.0.1"}


@pytest.mark.parametrize("kind", ["http", "tcp"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_checks_send_one_that_names_nobody(weir, headed, kind, version):
    daemon = weir([headed.address], pool={
        "send_proxy": version, "health": {"type": kind, "interval": "50ms", "rise": 1}})
    wait_for(lambda: [row["state"] for row in daemon.backends().values()] == ["up"], 5, "up")
    wait_for(lambda: headed.heads, 5, "a check with a header")
    expected = b"PROXY UNKNOWN\r\n" if version == "v1" else SIGNATURE + b"\x20\0\0\0"
    assert set(headed.heads) == {expected}


def test_checks_over_tls_send_it_first(weir, app, tmp_path):
    """weir behind weir: without the header it would close the connection."""
    authority = Authority(tmp_path)
    pair = authority.issue("inner", ["inner.test"])
    inner = weir(app().addresses, listener={**FROM_HERE, "tls": {"certificates": [pair.conf]}})
    outer = weir([f"127.0.0.1:{inner.port}"], pool={
        "send_proxy": "v2", "tls": {"ca": str(authority.pem), "sni": "inner.test"},
        "health": {"path": "/", "host": "inner.test", "interval": "50ms", "rise": 1}})
    wait_for(lambda: [row["state"] for row in outer.backends().values()] == ["up"], 5, "up")
    assert outer.ask().status == 200
    outer.finish()


# ---- other programs ----

@pytest.fixture
def nginx_behind(tmp_path):
    """nginx that demands a PROXY header and answers with what it said."""
    port = free_port()
    conf = tmp_path / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(f"""
        daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1; {user}
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;
            fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u;
            scgi_temp_path {tmp_path}/s;
            server {{
                listen 127.0.0.1:{port} proxy_protocol;
                location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }}
            }}
        }}""")
    process = Process([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf), "-e",
                       f"{tmp_path}/error.log"], tmp_path, "nginx")
    process.wait_ready(lambda: can_connect(port))
    yield f"127.0.0.1:{port}"
    process.stop()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_understands(weir, nginx_behind, version):
    daemon = weir([nginx_behind], pool={"send_proxy": version})
    with daemon.connect() as client:
        port = client.sock.getsockname()[1]
        assert client.ask().body.decode() == f"127.0.0.1 {port}"


@pytest.mark.parametrize("word", ["send-proxy", "send-proxy-v2"])
def test_haproxy_is_understood(weir, app, tmp_path, word):
    daemon = weir(app().addresses, listener=FROM_HERE)
    port = free_port()
    conf = tmp_path / "haproxy.cfg"
    conf.write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen in
    bind 127.0.0.1:{port}
    server weir 127.0.0.1:{daemon.port} {word}
""")
    process = Process([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(conf)],
                      tmp_path, "haproxy")
    process.wait_ready(lambda: can_connect(port))
    try:
        with daemon.connect(("127.0.0.1", port)) as client:
            mine = client.sock.getsockname()[1]
            assert client.ask(target="/echo").status == 200
            rows = daemon.admin.get("/v1/connections")["connections"]
            assert f"127.0.0.1:{mine}" in [row["client"] for row in rows]
    finally:
        process.stop()


# ---- the configuration ----

@pytest.mark.parametrize("listener, pool, words", [
    ({"proxy_protocol": {}}, {}, "from"),
    ({"proxy_protocol": {"from": ["10.0.0.0/33"]}}, {}, "10.0.0.0/33"),
    ({}, {"send_proxy": "v3"}, "'v3' is not one of off, v1, v2"),
])
def test_configuration_errors(tmp_path, listener, pool, words):
    path = tmp_path / "bad.yaml"
    conf = make_conf(tmp_path, ["127.0.0.1:9"], listener=listener, pool=pool)
    path.write_text(yaml.safe_dump(conf))
    done = subprocess.run([binary("weir"), "-t", "-c", str(path)], capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode == 1 and words in done.stderr, done.stderr
