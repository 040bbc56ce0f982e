# SPDX-License-Identifier: MIT
"""TLS towards clients and towards backends."""
import hashlib
import json
import os
import re
import secrets
import socket
import ssl
import subprocess

import pytest

from backends import answer_all, pattern, pattern_sha256
from certs import Authority, openssl
from daemon import SANITIZED, tls_library
from wire import TIMEOUT, Client, Wire, connect_socket, request, wait_for

BIG = 3 << 20


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def site(ca):
    return ca.issue("site", ["a.example", "*.w.example", "IP:127.0.0.1"])


class TlsClient(Client):
    """The client's side of a TLS connection."""

    def __init__(self, port, ca, name="a.example", session=None, context=None, **kwargs):
        context = context or client_context(ca, **kwargs)
        sock = connect_socket(port)
        try:
            sock = context.wrap_socket(sock, server_hostname=name, session=session)
        except (ssl.SSLError, OSError):
            sock.close()
            raise
        Wire.__init__(self, sock)

    @property
    def cert(self):
        return hashlib.sha256(self.sock.getpeercert(True)).hexdigest()


def client_context(ca, pair=None, version=None, ciphers=None, alpn=None):
    context = ssl.create_default_context(cafile=str(ca.pem))
    if pair:
        context.load_cert_chain(pair.pem, pair.key)
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def tls_listener(*pairs, limits=None, timeouts=None, **tls):
    listener = {"tls": {"certificates": [pair.conf for pair in pairs], **tls}}
    return {**listener, **({"limits": limits} if limits else {}),
            **({"timeouts": timeouts} if timeouts else {})}


def totals(daemon):
    return daemon.admin.get("/v1/status")["totals"]


# ---- requests ----

def test_requests(weir, scripted, ca, site):
    backend = scripted()
    daemon = weir([backend.address], listener=tls_listener(site))
    with TlsClient(daemon.port, ca, alpn=["h2x", "http/1.1"]) as client:
        for _ in range(3):
            assert client.ask(headers=[("X-Client-Cert-Subject", "CN=forged")]).status == 200
        assert client.sock.version() == "TLSv1.3"
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        client.send(request(), request(), request())  # pipelined
        assert [client.response().status for _ in range(3)] == [200] * 3
    for req in backend.requests:
        assert req.get("X-Forwarded-Proto") == "https"
        assert "X-Client-Cert-Subject" not in req.headers
    assert totals(daemon)["tls_handshakes"] == 1


def test_plain_http_is_told_so(weir, app, ca, site):
    """At a port of TLS: 400 and a sentence; what is neither gets nothing."""
    daemon = weir(app().addresses, listener=tls_listener(site))
    for body in (b"", b"x" * 100000):
        with Client(daemon.port) as client:
            response = client.ask("POST", "/x", body=body)
            assert response.status == 400 and b"speaks TLS" in response.body
    with Client(daemon.port) as client:
        client.send(b"\x01\x02 no HTTP and no TLS\r\n\r\n")
        client.assert_closed()
    assert totals(daemon)["tls_failed"] == 3 and totals(daemon)["requests"] == 0


def test_curl(weir, app, ca, site):
    daemon = weir(app().addresses, listener=tls_listener(site))
    for version in ("--tls-max 1.2", "--tlsv1.3"):
        done = subprocess.run(
            ["curl", "-sS", *version.split(), "--cacert", str(ca.pem), "--resolve",
             f"a.example:{daemon.port}:127.0.0.1", f"https://a.example:{daemon.port}/"],
            capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies_both_ways(weir, file_server, app, ca, site, version):
    upload = app()
    daemon = weir(listener=tls_listener(site), pools={
        "files": {"backends": [file_server.address]}, "app": {"backends": upload.addresses}},
        routes=[{"match": {"path": "/up"}, "pool": "app"}, {"pool": "files"}])
    with TlsClient(daemon.port, ca, version=version) as client:
        for size in (0, 65535, 65536, 65537, 64 << 20):
            got = client.ask(target=f"/{size}.bin", keep=False)
            assert got.status == 200 and got.sha256 == pattern_sha256(size)
        assert client.ask("POST", "/up", body=pattern(BIG)).status == 200
    assert upload.stats()["bytes_in"] >= BIG


def test_slow_reader_gets_everything(weir, scripted, ca, site):
    def handler(peer):
        while peer.request():
            peer.respond(body=pattern(BIG))
    daemon = weir([scripted(handler).address], listener=tls_listener(site))
    context = client_context(ca)
    sock = context.wrap_socket(connect_socket(daemon.port, rcvbuf=4096),
                               server_hostname="a.example")
    with sock:
        sock.sendall(request())
        body, got = b"", b""
        while len(body) < BIG:
            piece = sock.recv(1000 if len(got) < 200_000 else 65536)
            assert piece
            got += piece
            body = got[got.find(b"\r\n\r\n") + 4:]
        assert body == pattern(BIG)


def test_close_is_announced(weir, scripted, ca, site):
    """A body that ends with the connection is whole only with close_notify."""
    def handler(peer):
        peer.request_head()
        peer.send("HTTP/1.0 200 OK\r\n\r\n", "x" * 5000)
        peer.close()
    daemon = weir([scripted(handler).address], listener=tls_listener(site))
    with TlsClient(daemon.port, ca) as client:
        client.sock.suppress_ragged_eofs = False
        client.send(request(version="1.0"))
        assert client.response().body == b"x" * 5000


# ---- names and versions ----

def test_certificate_by_name(weir, scripted, ca, site):
    old = ca.issue("old", ["a.example"], kind="rsa")
    other = ca.issue("other", ["b.example", "x.w.example"], kind="ed25519")
    daemon = weir([scripted().address], listener=tls_listener(site, old, other))
    expected = {"a.example": site, "A.Example": site, "b.example": other, "x.w.example": other,
                "y.w.example": site, "z.y.w.example": site, "unknown.example": site}
    context = client_context(ca)
    context.check_hostname = False
    for name, pair in expected.items():
        with TlsClient(daemon.port, ca, name, context=context) as client:
            assert client.cert == pair.fingerprint, name
            assert client.ask(host=name).status == 200
    with TlsClient(daemon.port, ca, None, context=context) as client:
        assert client.cert == site.fingerprint
    with TlsClient(daemon.port, ca, version=ssl.TLSVersion.TLSv1_2,
                   ciphers="ECDHE-RSA-AES128-GCM-SHA256") as client:
        assert client.cert == old.fingerprint


def s_client(daemon, *options):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}",
                           "-servername", "a.example", *options], input="", capture_output=True,
                          text=True, timeout=20, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["ec", "p384"])
def test_ecdsa_before_rsa(weir, scripted, ca, kind, version):
    rsa = ca.issue("long", ["a.example"], kind="rsa")
    ecdsa = ca.issue("short", ["a.example"], kind=kind)
    daemon = weir([scripted().address], listener=tls_listener(rsa, ecdsa))
    with TlsClient(daemon.port, ca, version=version) as client:
        assert client.cert == ecdsa.fingerprint
        assert client.ask().status == 200


@pytest.mark.parametrize("kind, options", [
    ("ed448", []), ("secp256k1", ["-tls1_2", "-curves", "secp256k1:X25519"])])
def test_keys_that_not_every_library_knows(weir, scripted, ca, site, kind, options):
    """They are served, or refused with the configuration: nothing in between."""
    pair = ca.issue(kind, ["a.example"], kind=kind)
    daemon = weir([scripted().address], listener=tls_listener(site))
    daemon.conf["listeners"][0]["tls"]["certificates"] = [pair.conf]
    library = tls_library()
    if library.startswith("OpenSSL"):
        daemon.reload(daemon.conf)
        wait_for(lambda: f"subject=CN = {kind}" in s_client(daemon, *options))
        return
    answer = daemon.reload(daemon.conf, status=422)
    assert library in answer["diagnostics"] and str(pair.key) in answer["diagnostics"]
    with TlsClient(daemon.port, ca) as client:
        assert client.cert == site.fingerprint


def test_clients_without_aes_in_hardware_get_chacha(weir, scripted, site):
    daemon = weir([scripted().address], listener=tls_listener(site))
    wanted = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    for ciphers in (wanted, wanted[::-1]):
        said = s_client(daemon, "-tls1_2", "-cipher", ":".join(ciphers))
        assert f"Cipher is {ciphers[0]}" in said


def test_versions(weir, scripted, site):
    daemon = weir([scripted().address], listener=tls_listener(site))
    assert "Cipher is TLS_" in s_client(daemon, "-tls1_3")
    assert "Cipher is ECDHE-ECDSA-" in s_client(daemon, "-tls1_2")
    for options in (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
                    ["-tls1_2", "-cipher", "AES128-SHA"],
                    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"]):
        assert "Cipher is (NONE)" in s_client(daemon, *options), options
    daemon.conf["listeners"][0]["tls"]["min_version"] = "1.3"
    daemon.reload(daemon.conf)
    wait_for(lambda: "Cipher is (NONE)" in s_client(daemon, "-tls1_2"))
    assert "Cipher is TLS_" in s_client(daemon, "-tls1_3")
    assert "alert no application protocol" in s_client(daemon, "-alpn", "spdy/1")


def test_no_renegotiation(weir, scripted, ca, site):
    daemon = weir([scripted().address], listener=tls_listener(site))
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", "-tls1_2"],
                          input="R\n", capture_output=True, text=True, timeout=20, check=False)
    assert "no renegotiation" in done.stdout + done.stderr


def test_staple(weir, scripted, ca, site):
    staple = ca.ocsp(site)
    listener = tls_listener(site)
    listener["tls"]["certificates"][0]["ocsp"] = str(staple)
    daemon = weir([scripted().address], listener=listener)
    assert "Cert Status: good" in s_client(daemon, "-status")


def test_staples_of_two_kinds(weir, scripted, ca):
    """Each certificate has its own."""
    pairs = [ca.issue("short2", ["a.example"]), ca.issue("long2", ["a.example"], kind="rsa")]
    listener = tls_listener(*pairs)
    for pair, row in zip(pairs, listener["tls"]["certificates"]):
        row["ocsp"] = str(ca.ocsp(pair))
    daemon = weir([scripted().address], listener=listener)
    for pair, auth in zip(pairs, ("ECDSA", "RSA")):
        said = s_client(daemon, "-status", "-tls1_2", "-cipher", f"ECDHE-{auth}-AES128-GCM-SHA256")
        serial = pair.show("-serial").partition("=")[2]
        assert re.search(f"Serial Number: {serial}\n *Cert Status: good", said), said


# ---- sessions ----

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_over_workers_and_reloads(weir, scripted, ca, site, version):
    daemon = weir([scripted().address], listener=tls_listener(site))
    context = client_context(ca, version=version)

    def connect(session=None):
        with TlsClient(daemon.port, ca, session=session, context=context) as client:
            assert client.ask().status == 200
            return client.sock.session, client.sock.session_reused
    session, reused = connect()
    assert not reused and session.ticket_lifetime_hint == 86400
    for i in range(12):
        assert connect(session)[1], i
        if i == 6:
            daemon.reload()
    assert totals(daemon)["tls_resumed"] == 12


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_for_the_certificates_it_was_made_with(weir, scripted, ca, site, version):
    other, same = ca.issue("other", ["b.example"]), ca.issue("same", ["c.example", "d.example"])
    daemon = weir([scripted().address], listener=tls_listener(site, other, same))
    context = client_context(ca, version=version)

    def connect(name, session=None):
        with TlsClient(daemon.port, ca, name, session, context) as client:
            assert client.ask(host=name).status == 200
            return client.sock.session, client.sock.session_reused
    sessions = {name: connect(name)[0] for name in ("a.example", "b.example", "c.example")}
    for made in sessions:
        for name in sessions:
            assert connect(name, sessions[made])[1] == (made == name), (made, name)
    if version == ssl.TLSVersion.TLSv1_3:
        assert connect("d.example", sessions["c.example"])[1], "the same certificate"


def test_each_connection_brings_the_next_ticket(weir, scripted, ca, site):
    """Clients of TLS 1.3 use one once."""
    daemon = weir([scripted().address], listener=tls_listener(site))
    context = client_context(ca)
    session, reused = None, []
    for _ in range(6):
        with TlsClient(daemon.port, ca, session=session, context=context) as client:
            assert client.ask().status == 200
            reused.append(client.sock.session_reused)
            assert not session or client.sock.session.id != session.id
            session = client.sock.session
    assert reused == [False] + [True] * 5


def test_tickets_of_a_file_work_on_two_nodes(weir, scripted, ca, site, tmp_path):
    keys = tmp_path / "tickets"
    keys.write_text(secrets.token_hex(80) + "\n")
    address = scripted().address
    listener = tls_listener(site, ticket_key_file=str(keys))
    nodes = [weir([address], listener=listener) for _ in range(2)]
    context = client_context(ca)
    with TlsClient(nodes[0].port, ca, context=context) as client:
        client.ask()
        session = client.sock.session
    with TlsClient(nodes[1].port, ca, session=session, context=context) as client:
        assert client.sock.session_reused
    keys.write_text(secrets.token_hex(80) + "\n")
    nodes[1].reload()
    with TlsClient(nodes[1].port, ca, session=session, context=context) as client:
        assert not client.sock.session_reused and client.ask().status == 200


def test_a_reload_changes_certificates_and_leaves_connections(weir, scripted, ca, site):
    new = ca.issue("new", ["a.example"])
    daemon = weir([scripted().address], listener=tls_listener(site))
    with TlsClient(daemon.port, ca) as client:
        assert client.ask().status == 200 and client.cert == site.fingerprint
        daemon.conf["listeners"][0]["tls"]["certificates"] = [new.conf]
        daemon.reload(daemon.conf)
        assert client.ask().status == 200
        with TlsClient(daemon.port, ca) as second:
            assert second.cert == new.fingerprint
        bad = {"cert": str(site.pem), "key": str(new.key)}
        daemon.conf["listeners"][0]["tls"]["certificates"] = [bad]
        answer = daemon.reload(daemon.conf, status=422)
        assert "does not belong to the certificate" in answer["diagnostics"]
        assert client.ask().status == 200
        with TlsClient(daemon.port, ca) as third:
            assert third.cert == new.fingerprint


# ---- certificates of clients ----

@pytest.fixture
def mutual(weir, scripted, ca, site):
    def start(auth, **tls):
        backend = scripted()
        daemon = weir([backend.address], listener=tls_listener(
            site, client_auth=auth, client_ca=str(ca.pem), **tls))
        daemon.backend = backend
        return daemon
    return start


def refused(daemon, ca, **kwargs):
    """TLS 1.3 clients learn it with their first read."""
    before = totals(daemon)["tls_failed"]
    try:
        with TlsClient(daemon.port, ca, **kwargs) as client:
            client.ask()
    except (ssl.SSLError, OSError, AssertionError):
        wait_for(lambda: totals(daemon)["tls_failed"] == before + 1)
        return True
    return False


@pytest.mark.parametrize("name,status", [("good", 200), ("other", 404), (None, 404)])
def test_routes_see_the_certificate_that_was_shown(weir, scripted, ca, site, name, status):
    listener = tls_listener(site, client_auth="optional", client_ca=str(ca.pem))
    daemon = weir([scripted().address], listener=listener, routes=[
        {"match": {"header": {"X-Client-Cert-Subject": "CN=good"}}, "pool": "app"}])
    with TlsClient(daemon.port, ca, pair=name and ca.issue(name)) as client:
        forged = [("X-Client-Cert-Subject", "CN=good")]
        assert client.ask(headers=forged, host="a.example").status == status


def test_client_certificates(mutual, ca, tmp_path_factory):
    good = ca.issue("good", subject="/O=Weir Tests/CN=good, one")
    revoked = ca.issue("revoked")
    stranger = Authority(tmp_path_factory.mktemp("x"), "x").issue("stranger")
    daemon = mutual("required", client_crl=str(ca.revoke(revoked)))
    with TlsClient(daemon.port, ca, pair=good) as client:
        forged = [("X-Client-Cert-Subject", "CN=root"), ("x-client-cert-fingerprint", "00")]
        assert client.ask(headers=forged, host="a.example").status == 200
        answer = client.ask(host="b.example")
        assert answer.status == 421
    req = daemon.backend.requests[0]
    assert req.headers.all("X-Client-Cert-Subject") == [good.show("-subject", "-nameopt",
                                                                 "RFC2253")[len("subject="):]]
    assert req.headers.all("X-Client-Cert-Fingerprint") == [good.fingerprint]
    assert len(daemon.backend.requests) == 1
    assert refused(daemon, ca)
    assert refused(daemon, ca, pair=stranger)
    assert refused(daemon, ca, pair=revoked)
    assert refused(daemon, ca, version=ssl.TLSVersion.TLSv1_2)


def test_optional_client_certificates(mutual, ca, tmp_path_factory):
    good = ca.issue("good2")
    stranger = Authority(tmp_path_factory.mktemp("y"), "y").issue("stranger")
    daemon = mutual("optional")
    with TlsClient(daemon.port, ca) as client:
        assert client.ask(host="a.example", headers=[("X-Client-Cert-Subject", "a")]).status == 200
    with TlsClient(daemon.port, ca, pair=good) as client:
        assert client.ask(host="a.example").status == 200
    assert refused(daemon, ca, pair=stranger)
    first, second = daemon.backend.requests
    assert "X-Client-Cert-Subject" not in first.headers
    assert second.get("X-Client-Cert-Fingerprint") == good.fingerprint


# ---- hostile and slow clients ----

def hello(ca):
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(ca).wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


def test_hello_byte_by_byte(weir, scripted, ca, site):
    daemon = weir([scripted().address], listener=tls_listener(site))
    tls, incoming, outgoing = hello(ca)
    with connect_socket(daemon.port) as sock:
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        tls.write(request())
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            try:
                assert tls.read(13) == b"HTTP/1.1 200 "
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))


@pytest.mark.parametrize("junk", [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x01" * 100,
    b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x00" * 3000, b"\x80\x2e\x01\x03\x01" + b"a" * 64,
    b"\x15\x03\x01\x00\x02\x02\x28"], ids=["http", "long", "type", "zeroes", "ssl2", "alert"])
def test_junk_instead_of_a_hello(weir, scripted, site, junk):
    daemon = weir([scripted().address], listener=tls_listener(site, timeouts={"handshake": "1s"}))
    with connect_socket(daemon.port) as sock:
        sock.sendall(junk)
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
    after = totals(daemon)
    assert after["tls_failed"] + after["tls_timeouts"] >= 1
    assert after["tls_handshakes"] == 0 and after["requests"] == 0


def test_silent_connections_take_no_place(weir, scripted, ca, site):
    daemon = weir([scripted().address], workers=1, listener=tls_listener(
        site, limits={"handshakes": 1}, timeouts={"handshake": "1s"}))
    flood = [daemon.connect() for _ in range(40)]
    wait_for(lambda: totals(daemon)["connections"] == 40)
    with TlsClient(daemon.port, ca) as client:
        assert client.ask().status == 200
    assert totals(daemon)["tls_waited"] == 0
    for each in flood:
        each.assert_closed()
    assert totals(daemon)["tls_timeouts"] == 40


def test_half_open_handshakes_wait_and_leave(weir, scripted, ca, site):
    """Those of one address have three places of four: the last is for somebody else."""
    daemon = weir([scripted().address], workers=1, listener=tls_listener(
        site, limits={"handshakes": 4}, timeouts={"handshake": "1s"}))
    with TlsClient(daemon.port, ca) as open_one:
        open_one.ask()
        flood = [daemon.connect() for _ in range(40)]
        for each in flood:
            each.send(b"\x16")
        wait_for(lambda: totals(daemon)["tls_waited"] == 37)
        assert open_one.ask().status == 200
        with socket.create_connection(("127.0.0.1", daemon.port),
                                      source_address=("127.0.0.2", 0)) as sock:
            with client_context(ca).wrap_socket(sock, server_hostname="a.example") as other:
                assert other.version()
        for each in flood:
            each.assert_closed()
        assert totals(daemon)["tls_timeouts"] == 40
        with TlsClient(daemon.port, ca) as client:
            assert client.ask().status == 200


def test_whoever_waits_is_served_next(weir, scripted, ca, site):
    daemon = weir([scripted().address], workers=1,
                  listener=tls_listener(site, limits={"handshakes": 1}))
    first = daemon.connect()
    first.send(b"\x16")
    wait_for(lambda: totals(daemon)["connections"] == 1)
    tls, incoming, outgoing = hello(ca)
    with connect_socket(daemon.port) as second:
        second.sendall(outgoing.read())
        wait_for(lambda: totals(daemon)["tls_waited"] == 1)
        first.close()
        incoming.write(second.recv(65536))
        assert incoming.pending


def test_slow_handshakes_make_room(weir, scripted, ca, site):
    """Of another address: one by itself has to wait."""
    daemon = weir([scripted().address], workers=1,
                  listener=tls_listener(site, limits={"handshakes": 1}, timeouts={"handshake": "1m"}))
    first = daemon.connect()
    first.send(b"\x16")
    wait_for(lambda: totals(daemon)["connections"] == 1)
    with socket.create_connection(("127.0.0.1", daemon.port),
                                  source_address=("127.0.0.2", 0)) as sock:
        with client_context(ca).wrap_socket(sock, server_hostname="a.example") as other:
            assert other.version()
    first.assert_closed()
    assert totals(daemon)["tls_evicted"] == 1


def test_cut_in_the_middle(weir, scripted, ca, site):
    """Resets and ends without close_notify at every stage leave nothing behind."""
    daemon = weir([scripted().address], listener=tls_listener(site))
    for stage in range(4):
        tls, _, outgoing = hello(ca)
        sock = connect_socket(daemon.port)
        data = outgoing.read()
        sock.sendall(data[:(len(data) * stage) // 3])
        sock.close()
    with TlsClient(daemon.port, ca) as client:
        client.send(b"GET / HTT")
        client.sock.shutdown(socket.SHUT_RDWR)
    wait_for(daemon.is_idle)


# ---- towards backends ----

class TlsBackend:
    """Answers over TLS and notes what the handshakes came to."""

    def __init__(self, pair, client_ca=None):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(pair.pem, pair.key)
        if client_ca:
            self.context.load_verify_locations(str(client_ca.pem))
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.names = []
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self.reused = []
        self.peers = []

    def __call__(self, peer):
        try:
            peer.sock = self.context.wrap_socket(peer.sock, server_side=True)
        except (ssl.SSLError, OSError):
            return
        self.reused.append(peer.sock.session_reused)
        self.peers.append(peer.sock.getpeercert())
        answer_all(peer)


def test_backend_is_verified(weir, scripted, ca, site):
    backend = TlsBackend(site)
    address = scripted(backend).address
    daemon = weir([address], pool={"tls": {"ca": str(ca.pem)}})  # by its address
    assert daemon.ask().status == 200
    assert backend.names in ([], [None])
    daemon.conf["pools"]["app"]["tls"]["sni"] = "a.example"
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert backend.names[-1] == "a.example"


@pytest.mark.parametrize("tls, why", [
    ({}, "self-signed|unable to get|self signed"), ({"sni": "wrong.example"}, "hostname mismatch")])
def test_backend_that_cannot_be_verified(weir, scripted, ca, site, tls, why):
    backend = scripted(TlsBackend(site))
    if tls:
        tls["ca"] = str(ca.pem)
    daemon = weir([backend.address], pool={"tls": tls})
    assert daemon.ask().status == 502
    assert backend.n_requests == 0
    row, = daemon.backends().values()
    assert re.search(why, row["tls_error"], re.I), row
    wait_for(lambda: re.search(why, daemon.stderr, re.I))
    assert re.search(why, daemon.ctl("backends", check=0).stdout, re.I)
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"].get("tls_untrusted", 0) >= 1)
    daemon.conf["pools"]["app"]["tls"] = {"verify": False}
    daemon.reload(daemon.conf)
    wait_for(lambda: daemon.ask().status == 200)
    row, = daemon.backends().values()
    assert row["tls_error"] is None


def test_plain_backend_behind_tls(weir, scripted, ca):
    def handler(peer):
        peer.sock.recv(4096)
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.close()
    daemon = weir([scripted(handler).address], pool={"tls": {"ca": str(ca.pem)}})
    assert daemon.ask().status == 502
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"] == {"tls_failed": 1})


def test_sessions_with_backends_are_resumed(weir, scripted, ca, site):
    backend = TlsBackend(site)
    daemon = weir([scripted(backend).address], workers=1,
                  pool={"tls": {"ca": str(ca.pem)}, "keepalive": {"max_idle": 0}})
    for _ in range(4):
        assert daemon.ask().status == 200
    wait_for(lambda: backend.reused == [False, True, True, True])


def test_kept_connections_stay(weir, scripted, ca, site):
    """Tickets that come when nothing is asked for do not end a kept connection."""
    server = scripted(TlsBackend(site))
    daemon = weir([server.address], workers=1, pool={"tls": {"ca": str(ca.pem)}})
    for _ in range(5):
        assert daemon.ask().status == 200
    assert server.connections == 1
    daemon.conf["pools"]["app"]["tls"]["sni"] = "a.example"
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert server.connections == 2, "made under other rules"


def test_own_certificate_is_shown(weir, scripted, ca, site):
    backend = TlsBackend(site, client_ca=ca)
    own = ca.issue("own")
    daemon = weir([scripted(backend).address],
                  pool={"tls": {"ca": str(ca.pem), **own.conf}})
    assert daemon.ask().status == 200
    assert backend.peers[0]["subject"] == ((("commonName", "own"),),)


def test_large_bodies_with_backends(weir, scripted, ca, site):
    server = TlsBackend(site)

    def handler(peer):
        peer.sock = server.context.wrap_socket(peer.sock, server_side=True)
        while msg := peer.request():
            peer.respond(body=msg.body)
    daemon = weir([scripted(handler).address], listener=tls_listener(site),
                  pool={"tls": {"ca": str(ca.pem)}})
    with TlsClient(daemon.port, ca) as client:
        got = client.ask("POST", body=pattern(500_000))
        assert got.status == 200 and got.body == pattern(500_000)


def test_truncated_response_is_never_whole(weir, scripted, ca, site):
    """Without close_notify the end of TCP is not the end of the body."""
    server = TlsBackend(site)

    def handler(peer):
        raw = peer.sock
        peer.sock = server.context.wrap_socket(raw, server_side=True)
        peer.request_head()
        peer.send("HTTP/1.0 200 OK\r\n\r\n", "x" * 5000)
        peer.sock.shutdown(socket.SHUT_RDWR)
    daemon = weir([scripted(handler).address], pool={"tls": {"ca": str(ca.pem)}})
    with daemon.connect() as client:
        client.send(request(version="1.0"))
        with pytest.raises((AssertionError, OSError)):
            client.response(keep=False)


# ---- for operators ----

def test_certificates_are_shown(weir, scripted, ca, site):
    soon = ca.issue("soon", ["b.example"], kind="rsa", days=5)
    listener = tls_listener(site, soon)
    listener["tls"]["certificates"][0]["ocsp"] = str(ca.ocsp(site))
    daemon = weir([scripted().address], listener=listener)
    first, second = daemon.admin.get("/v1/certificates")["certificates"]
    assert first["fingerprint"] == site.fingerprint
    assert first["names"] == ["a.example", "*.w.example"]
    assert (first["key_type"], first["ocsp"]) == ("ECDSA P-256", "good")
    assert (second["key_type"], second["ocsp"]) == ("RSA 2048", "none")
    assert second["issuer"] == "CN=Test ca" and second["listener"] == "web"
    problem, = [p for p in daemon.admin.get("/v1/status")["problems"] if "certificate" in p]
    assert str(soon.pem) in problem and re.search("expires in [45] days", problem)
    shown = daemon.ctl("certificates", check=0).stdout
    assert "a.example *.w.example" in shown and "CN=Test ca" in shown
    metrics = [k for k in daemon.admin.metrics() if "weir_certificate_not_after_seconds" in k]
    assert len(metrics) == 2
    assert daemon.admin.metrics()["weir_tls_handshakes_total"] == 0


# ---- configuration ----

def test_certificates_are_checked_with_the_configuration(weir, scripted, ca, site, tmp_path):
    other = ca.issue("else", ["b.example"])
    expired = ca.issue("expired", ["c.example"], days=-1)
    locked, damaged = tmp_path / "locked.key", tmp_path / "damaged.key"
    damaged.write_text(re.sub("\n[^-\n]{20}", "\n" + 20 * "A", site.key.read_text()))
    openssl("pkey", "-in", site.key, "-aes256", "-passout", "pass:x", "-out", locked)
    cases = [
        ({"cert": str(site.pem), "key": str(other.key)}, "does not belong"),
        ({"cert": str(tmp_path / "no.pem")}, "No such file"),
        ({"cert": str(site.key), "key": str(site.key)}, "no certificate in"),
        ({"cert": str(site.pem)}, "no private key in"),
        ({"cert": str(site.pem), "key": str(locked)}, "is encrypted"),
        ({"cert": str(site.pem), "key": str(damaged)}, "is damaged or of a kind that"),
        ({**site.conf, "ocsp": str(ca.ocsp(other))}, "about another certificate"),
        ({"directory": str(tmp_path)}, "there is no .pem"),
        ({}, "one of cert, directory and acme"),
    ]
    daemon = weir([scripted().address], listener=tls_listener(site))
    for row, why in cases:
        daemon.conf["listeners"][0]["tls"]["certificates"] = [row]
        answer = daemon.reload(daemon.conf, status=422)
        assert why in answer["diagnostics"], (row, answer)
        assert f"{daemon.conf_path}:" in answer["diagnostics"]
    daemon.conf["listeners"][0]["tls"]["certificates"] = [expired.conf]
    daemon.reload(daemon.conf)
    done = subprocess.run([daemon.child.args[0], "-t", "-c", str(daemon.conf_path)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "warning: the certificate in" in done.stderr
    assert " expired on 20" in done.stderr


def test_directory(weir, scripted, ca, site, tmp_path):
    folder = tmp_path / "certs"
    folder.mkdir()
    other = ca.issue("other2", ["b.example"])
    (folder / "a.pem").write_bytes(site.pem.read_bytes() + site.key.read_bytes())
    (folder / "b.crt").write_bytes(other.pem.read_bytes())
    (folder / "b.key").write_bytes(other.key.read_bytes())
    listener = {"tls": {"certificates": [{"directory": str(folder)}]}}
    daemon = weir([scripted().address], listener=listener)
    for name, pair in (("a.example", site), ("b.example", other)):
        with TlsClient(daemon.port, ca, name) as client:
            assert client.cert == pair.fingerprint
    assert os.listdir(folder)


# ---- what the doctor says of them ----

def test_doctor_on_real_certificates(weir, scripted, ca):
    alone = ca.issue("alone", ["a.test"], days=3)
    chained = ca.issue("chained", ["b.test"], days=90)
    chained.pem.write_text(chained.pem.read_text() + ca.pem.read_text())
    routes = [{"name": "c", "match": {"host": "c.test"}, "pool": "app"},
              {"name": "fixed", "respond": {"status": 200, "body": "x"}}]
    daemon = weir([scripted().address], listener=tls_listener(alone, chained), routes=routes)
    rows = {row["file"]: row["chain"] for row in daemon.admin.get("/v1/certificates")["certificates"]}
    assert rows == {str(alone.pem): "incomplete", str(chained.pem): "complete"}
    found = {row["finding"]: row["severity"]
             for row in json.loads(daemon.ctl("--json", "doctor", check=1).stdout)["findings"]}
    about = {text: severity for text, severity in found.items() if "certificate" in text}
    expiry, = [text for text in about if text.startswith(f"certificate {alone.pem} expires 20")]
    assert about.pop(expiry) == "problem"
    assert about.pop(f"certificate {alone.pem} is alone in its file, and its issuer CN=Test ca is "
                     "no root that clients know") == "note"
    assert about.pop("route c is for c.test, but no certificate names that host") == "note"
    assert all(f"certificate {alone.pem}" in text for text in about), about  # of the status itself


def test_a_root_of_the_system(weir, scripted, ca, tmp_path):
    """Who is signed by a root that the system trusts needs nobody between."""
    site = ca.issue("direct", ["a.test"])
    roots = tmp_path / "roots"
    roots.mkdir()
    hashed = openssl("x509", "-in", ca.pem, "-noout", "-hash").strip()
    (roots / f"{hashed}.0").write_text(ca.pem.read_text())
    daemon = weir([scripted().address], listener=tls_listener(site),
                  env={"SSL_CERT_DIR": str(roots)})
    row, = daemon.admin.get("/v1/certificates")["certificates"]
    assert row["chain"] == "complete"


# ---- the client ends its direction ----

class Raw:
    """TLS whose records the test sends itself."""

    def __init__(self, port, context):
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_hostname="a.example")
        self.sock = connect_socket(port)

    def run(self, call, *args):
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self.sock.sendall(self.out.read())
                data = self.sock.recv(65536)
                assert data, "closed"
                self.into.write(data)


@pytest.mark.parametrize("records", ["own", "openssl"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("body", [0, 100_000])
def test_a_request_followed_by_close_notify_is_answered(weir, app, ca, site, version, records,
                                                        body):
    daemon = weir(app().addresses, listener=tls_listener(site, timeouts={"half_closed": "20s"},
                                                         records=records))
    raw = Raw(daemon.port, client_context(ca, version=version))
    raw.run(raw.tls.do_handshake)
    raw.tls.write(request("POST", f"/bytes/{body}"))
    with pytest.raises(ssl.SSLWantReadError):
        raw.tls.unwrap()  # close_notify is written; that of weir is not here
    raw.sock.sendall(raw.out.read())
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < body:
        got += raw.run(raw.tls.read, 65536)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    raw.sock.close()


@pytest.mark.skipif(SANITIZED, reason="memory is not weir's own")
def test_records_of_the_library_keep_its_object(weir, ca, site):
    """What it costs is how one sees which of the two seals records."""
    context, held = client_context(ca, version=ssl.TLSVersion.TLSv1_3), {}
    for records in ("own", "openssl"):
        daemon = weir(["127.0.0.1:1"], listener=tls_listener(site, records=records), workers=1,
                      routes=[{"respond": {"status": 204}}])
        clients = [TlsClient(daemon.port, ca, context=context) for _ in range(80)]
        assert all(client.ask().status == 204 for client in clients)
        held[records] = daemon.rss()
        for client in clients:
            client.close()
    assert held["openssl"] - held["own"] > 80 * 6000
