# SPDX-License-Identifier: MIT
"""Certificates that come by themselves, from Debian's pebble."""
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backends import free_port
from certs import openssl
from pebble import STEPS, Meddler, Pebble
from wire import wait_for


WITHIN = 30


@pytest.fixture
def pebble(tmp_path):
    started = []

    def start(**settings):
        folder = tmp_path / f"pebble-{len(started)}"
        folder.mkdir()
        started.append(Pebble(folder, **settings))
        return started[-1]
    yield start
    for each in started:
        each.stop_all()


class Site:
    """Two listeners in front of a pool, and an authority."""

    def __init__(self, weir, scripted, pebble, names=("a.example",), acme=None, conf=None,
                 **settings):
        self.plain, self.secure = free_port(), free_port()
        self.pebble = pebble(http_port=self.plain, tls_port=self.secure, **settings)
        self.names = list(names)
        self.weir = weir
        self.conf = {
            "acme": self.pebble.acme(**{"retry": "200ms", **(acme or {})}),
            "listeners": [
                {"bind": f"127.0.0.1:{self.secure}",
                 "tls": {"certificates": [{"acme": self.names}]}},
                {"bind": f"127.0.0.1:{self.plain}", "name": "plain"}],
            "routes": [{"match": {"scheme": "http"},
                        "redirect": {"to": "https://{host}{uri}", "status": 301}},
                       {"pool": "app"}],
            "pools": {"app": {"backends": [scripted().address]}},
            **(conf or {})}
        self.folder = Path(self.conf["acme"]["state"])
        self.daemon = None

    def start(self, status_socket=None, **kwargs):
        socket_path = status_socket or self.pebble.folder / "weir.sock"
        conf = {"status": {"socket": str(socket_path)},
                "log": {"access": {"path": "stdout"}}, **self.conf}
        self.daemon = self.weir(conf=conf, status_socket=socket_path, **kwargs)
        return self.daemon

    def served(self, name=None):
        """The certificate for a name, in DER."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.secure), 5) as sock:
            with context.wrap_socket(sock, server_hostname=name or self.names[0]) as tls:
                return tls.getpeercert(True)

    def trusted(self, name=None):
        """Whether a client that knows the authority is content."""
        context = ssl.create_default_context(cafile=str(self.pebble.root))
        try:
            with socket.create_connection(("127.0.0.1", self.secure), 5) as sock:
                with context.wrap_socket(sock, server_hostname=name or self.names[0]):
                    return True
        except ssl.SSLError:
            return False

    def becomes_trusted(self, within=WITHIN):
        wait_for(lambda: all(map(self.trusted, self.names)), within, self.state)

    @property
    def row(self):
        rows = self.daemon.admin.get("/v1/certificates")["acme"]
        assert len(rows) == 1
        return rows[0]

    def state(self):
        return str(self.row)

    def problems(self):
        return [row for row in self.daemon.admin.get("/v1/status")["problems"]
                if row.startswith("acme: ")]

    def forget_account(self):
        """Of one that has proved a name before, pebble may ask for no proof: see there."""
        key, = self.folder.glob("account-*.key")
        key.unlink()

    @property
    def pem(self):
        return self.folder / f"{self.names[0]}.pem"


@pytest.fixture
def site(weir, scripted, pebble):
    return lambda *args, **kwargs: Site(weir, scripted, pebble, *args, **kwargs)


def test_from_nothing_to_a_certificate(site):
    s = site(names=["a.example", "www.a.example"])
    daemon = s.start()
    s.becomes_trusted()
    assert not s.problems() and s.row["trusted"] and s.row["saved"]
    assert s.row["next_order_in_s"] > 86400
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in s.folder.iterdir()}
    assert set(files.values()) == {0o600} and len(files) == 2, files
    shown = openssl("x509", "-in", s.pem, "-noout", "-text")
    assert "DNS:a.example, DNS:www.a.example" in shown and "prime256v1" in shown
    events = [row for row in daemon.events() if row["kind"] == "certificate"]
    assert [row["message"] for row in events] == ["a.example: a new certificate is in use"]
    metrics = daemon.admin.metrics()
    assert metrics['weir_acme_orders_total{site="a.example",result="issued"}'] == 1
    assert metrics['weir_acme_trusted{site="a.example"}'] == 1
    assert metrics['weir_acme_next_order_seconds{site="a.example"}'] > time.time()


def test_keys_of_rsa(site):
    s = site(acme={"key_type": "rsa"})
    s.start()
    s.becomes_trusted()
    (s.pebble.folder / "served.der").write_bytes(s.served())
    shown = openssl("x509", "-inform", "der", "-in", s.pebble.folder / "served.der", "-noout", "-text")
    assert "rsaEncryption" in shown and "(2048 bit)" in shown
    row, = s.daemon.admin.get("/v1/certificates")["certificates"]
    assert row["key_type"].lower().startswith("rsa"), row


class Redirector(ThreadingHTTPServer):
    """What stands at port 80 sends everybody to https, the authority as well."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), RedirectHandler)
        self.to, self.seen = None, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class RedirectHandler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append(self.path)
        self.send_response(301)
        self.send_header("Location", f"https://a.example:{self.server.to}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_an_authority_that_is_sent_to_tls_is_answered_there(site):
    s = site(acme={"challenges": ["http-01"]})
    del s.conf["listeners"][1]
    s.conf["routes"] = [{"pool": "app"}]
    front = Redirector(s.plain)
    front.to = s.secure
    try:
        s.start()
        s.becomes_trusted()
        assert front.seen and all(p.startswith("/.well-known/acme-challenge/") for p in front.seen)
        assert s.row["failed"] == 0
    finally:
        front.shutdown()
        front.server_close()


def test_nonces_are_refused_and_it_takes_its_time(site):
    s = site(reject=30, sleep=1, names=[f"{c}.example" for c in "abc"])
    s.start()
    s.becomes_trusted()


def test_a_start_does_not_wait(site):
    s = site()
    s.pebble.kill(signal.SIGSTOP)
    try:
        s.start()
        assert len(s.served()) > 100 and not s.trusted()
        first, = s.problems()
        assert "a.example has no certificate yet, one that nobody trusts answers" in first
        wait_for(lambda: "reading the authority's directory" in s.problems()[0], 5, s.problems)
    finally:
        s.pebble.kill(signal.SIGCONT)
    s.becomes_trusted()
    wait_for(lambda: not s.problems(), 5, "no problem is left")


def test_the_next_start_has_it(site):
    s = site()
    first = s.start()
    s.becomes_trusted()
    before = s.served()
    first.finish()
    s.pebble.stop()
    s.start()
    assert s.served() == before and s.trusted() and not s.problems()
    assert s.row["orders"] == 0


def test_challenges_come_before_routes(site):
    s = site()
    daemon = s.start()

    def ask(path, **kwargs):
        with daemon.connect(s.plain) as client:
            return client.ask(kwargs.pop("method", "GET"), path, host="a.example", **kwargs)
    assert ask("/").status == 301
    answer = ask("/.well-known/acme-challenge/abc_-123")
    token, _, thumbprint = answer.body.decode().partition(".")
    assert answer.status == 200 and token == "abc_-123" and len(thumbprint) == 43
    assert answer.get("Content-Type") == "application/octet-stream"
    head = ask("/.well-known/acme-challenge/abc_-123", method="HEAD")
    assert head.status == 200 and head.get("Content-Length") == str(len(answer.body))
    for bad in ("", "a/b", "a.b", "%3Cscript%3E", "a?b", "x" * 257):
        assert ask(f"/.well-known/acme-challenge/{bad}").status == 404, bad
    assert ask("/.well-known/acme-challenge/abc", method="POST").status == 404
    assert ask("/.well-known/acme-challenger").status == 301


def test_other_names_are_ordered_while_the_old_ones_answer(site):
    s = site()
    daemon = s.start()
    s.becomes_trusted()
    before = s.served()
    s.names.append("www.a.example")
    s.pebble.kill(signal.SIGSTOP)
    try:
        daemon.reload({**daemon.conf, "listeners": s.conf["listeners"]})
        assert s.served() == before
    finally:
        s.pebble.kill(signal.SIGCONT)
    s.becomes_trusted()


def test_an_authority_that_forgot_us(site):
    s = site(names=["a.example"])
    daemon = s.start()
    s.becomes_trusted()
    s.pebble.again()
    s.names.append("b.example")
    daemon.reload({**daemon.conf, "listeners": s.conf["listeners"]})
    s.becomes_trusted()


def test_an_account_is_opened_once(site):
    """The key stays, so the authority knows us again."""
    s = site()
    first = s.start()
    s.becomes_trusted()
    key, = s.folder.glob("account-*.key")
    before = key.read_bytes()
    first.finish()
    s.pem.unlink()
    s.start()
    s.becomes_trusted()
    assert key.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_files_belong_to_the_user(site):
    s = site()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.chown(folder, "nobody")
        s.folder = Path(folder) / "state" / "acme"
        s.conf["user"] = "nobody"
        s.conf["acme"].update(state=str(s.folder), ca=shutil.copy(s.pebble.ca.pem, folder))
        daemon = s.start(status_socket=f"{folder}/weir.sock")
        s.becomes_trusted()
        assert {path.owner() for path in s.folder.iterdir()} == {"nobody"}
        daemon.finish()


def test_a_name_that_leads_elsewhere(site):
    """Why it failed is said in the words of the authority, and that it is tried later each time."""
    s = site(acme={"challenges": ["http-01"]})
    s.conf["listeners"][1]["bind"] = f"127.0.0.1:{free_port()}"
    daemon = s.start()
    wait_for(lambda: s.row["failures"] >= 2, WITHIN, s.state)
    assert "http-01 for a.example: " in s.row["error"] and "refused" in s.row["error"]
    assert "one that nobody trusts answers: http-01" in s.problems()[0]
    assert daemon.admin.metrics()['weir_acme_orders_total{site="a.example",result="failed"}'] >= 2
    daemon.reload({**daemon.conf, "listeners": [
        daemon.conf["listeners"][0], {"bind": f"127.0.0.1:{s.plain}", "name": "plain"}]})
    s.becomes_trusted()
    assert not s.row["error"]


# ---- TLS-ALPN-01, external accounts ----

def test_a_handshake_proves_it_where_port_80_is_closed(site):
    s = site(names=["a.example", "b.example"])
    s.conf["listeners"].pop()
    s.conf["routes"] = [{"pool": "app"}]
    s.start()
    s.becomes_trusted()
    assert s.row["failed"] == 0
    with pytest.raises(ssl.SSLError):  # the proof is gone
        challenge_of(s)


def challenge_of(s):
    """What an authority is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    with socket.create_connection(("127.0.0.1", s.secure), 5) as sock:
        with context.wrap_socket(sock, server_hostname=s.names[0]) as tls:
            assert tls.selected_alpn_protocol() == "acme-tls/1"
            return tls.getpeercert(True), tls.recv(1)


def test_one_challenge_after_the_other_is_tried(site):
    """Port 80 leads elsewhere, 443 does not."""
    s = site()
    s.conf["listeners"][1]["bind"] = f"127.0.0.1:{free_port()}"
    s.start()
    s.becomes_trusted()
    assert s.row["failed"] == 1 and s.row["orders"] == 2


def test_a_proof_is_shown_to_authorities_alone(site):
    s = site(acme={"challenges": ["tls-alpn-01"]}, sleep=3)
    s.conf["listeners"][0]["tls"].update(client_auth="required", client_ca=str(s.pebble.ca.pem))
    s.start()
    wait_for(lambda: "tls-alpn-01 for a.example: the authority is looking" in (s.row["step"] or ""),
             WITHIN, s.state)
    shown, rest = challenge_of(s)
    assert rest == b"", "nothing is said on such a connection"
    assert b"\x2b\x06\x01\x05\x05\x07\x01\x1f" in shown, "id-pe-acmeIdentifier"
    wait_for(lambda: s.row["trusted"], WITHIN, s.state)


def test_an_account_that_is_bound_to_another(site, tmp_path):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    (tmp_path / "eab.key").write_text(key + "\n")
    s = site(eab={"kid-1": key})
    daemon = s.start()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    assert "externalAccountRequired" in s.row["error"]
    acme = {**s.conf["acme"], "eab": {"kid": "kid-1", "key_file": str(tmp_path / "none")}}
    daemon.reload({**daemon.conf, "acme": acme})
    wait_for(lambda: "No such file" in (s.row["error"] or ""), WITHIN, s.state)
    acme["eab"]["key_file"] = str(tmp_path / "eab.key")
    daemon.reload({**daemon.conf, "acme": acme})
    s.becomes_trusted()


# ---- what an authority may do ----

@pytest.fixture
def meddled(site):
    """meddled(before=, after=, **for the site) -> a site, whose authority is meddled with"""
    started = []

    def start(before=None, after=None, **kwargs):
        s = site(**kwargs)
        s.meddler = Meddler(s.pebble, before, after)
        started.append(s.meddler)
        s.conf["acme"]["directory"] = s.meddler.base + "/dir"
        return s
    yield start
    for each in started:
        each.close()


PROBLEM = {"Content-Type": "application/problem+json"}


def problem(kind, detail, status=400, **headers):
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    return status, {**PROBLEM, **{k.replace("_", "-"): v for k, v in headers.items()}}, \
        json.dumps(body).encode()


def test_a_limit_of_the_authority_is_kept_to(meddled):
    s = meddled(before=lambda step, path: problem(
        "rateLimited", "too many certificates\nfor a.example", 429, Retry_After="7200")
        if step == "place" else None)
    s.start()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    assert s.row["error"] == \
        "placing the order: too many certificates for a.example (rateLimited)"
    assert 7100 < s.row["next_order_in_s"] < 8000
    time.sleep(1.5)
    assert s.meddler.steps.count("place") == 1


def test_an_authority_that_is_slow_or_fails_or_talks_nonsense(meddled):
    """Each step once, one after the other; then it works."""
    bad = iter([(500, {}, b"oops"), (200, {}, b"<html>"), (200, {}, b"{}"), (503, {}, b"")])
    seen = set()

    def before(step, path):
        if step in seen:
            return None
        seen.add(step)
        if step in ("directory", "account", "place", "finalize"):
            return next(bad)
        time.sleep(0.1)
        return None
    s = meddled(before=before)
    s.start()
    s.becomes_trusted()
    assert s.row["failed"] >= 4 and set(STEPS.values()) - {"issue"} <= seen
