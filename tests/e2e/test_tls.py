# SPDX-License-Identifier: MIT
"""TLS towards clients: requests, names and versions, certificates of clients, the end."""
import hashlib
import re
import ssl
import subprocess

import pytest

from backends import pattern, pattern_sha256
from certs import Authority
from daemon import SANITIZED, tls_library
from h2wire import H2
from wire import Client, Wire, connect_socket, request, wait_for


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


PROXY_V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 1 443\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def rejected(daemon, reason):
    return daemon.admin.metrics()[f'weir_rejected_requests_total{{reason="{reason}"}}']


def test_plain_http2_at_a_port_of_tls_is_told_so(weir, app, ca, site):
    daemon = weir(app().addresses, listener=tls_listener(site))
    with H2(daemon.port) as client:
        client.headers(1)
        client.until(lambda: client.goaways)
        assert client.goaways == [(0, 12)]  # INADEQUATE_SECURITY
    daemon.says("it speaks plain HTTP/2, and this is a port of TLS")
    assert rejected(daemon, "plain_http2_at_tls") == 1
    done = subprocess.run(["curl", "-sSv", "--http2-prior-knowledge",
                           f"http://127.0.0.1:{daemon.port}/"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode and "GOAWAY, error=12" in done.stderr, done.stderr


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE", "PROPFIND"])
def test_plain_http_at_a_port_of_tls_is_named(weir, app, ca, site, method):
    daemon = weir(app().addresses, listener=tls_listener(site))
    with Client(daemon.port) as client:
        assert client.ask(method, "/").status == 400
    daemon.says("it speaks plain HTTP/1, and this is a port of TLS")
    assert rejected(daemon, "plain_at_tls") == 1


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2])
@pytest.mark.parametrize("tls", [True, False])
def test_a_proxy_header_that_nobody_expects_is_named(weir, app, ca, site, header, tls):
    daemon = weir(app().addresses, listener=tls_listener(site) if tls else {})
    with Client(daemon.port) as client:
        client.send(header + request())
        if tls:
            client.assert_closed()
        else:
            assert client.response().status == 400
    daemon.says("it begins with a PROXY header, and proxy_protocol.from has no such peer")
    assert rejected(daemon, "proxy_unexpected") == 1


def test_tls_at_a_plain_port_is_named(weir, app, ca):
    daemon = weir(app().addresses)
    with pytest.raises(ssl.SSLError):
        TlsClient(daemon.port, ca)
    daemon.says("it speaks TLS, and this is a port without")
    assert rejected(daemon, "tls_at_plain") == 1


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
