# SPDX-License-Identifier: MIT
"""An authority that means ill, or is broken: whatever it answers, the certificate that works stays
in use, why is said in words, and it all goes well once the authority is sane again."""
import datetime
import json
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs import openssl
from test_acme import WITHIN, meddled, pebble, problem, site  # noqa: F401
from wire import wait_for

NAMES = ["a.example", "b.example"]
PEM = {"Content-Type": "application/pem-certificate-chain"}


def endless(start=b""):
    yield start
    for _ in range(1 << 16):
        yield b"x" * 65536


def made(s, names=(*NAMES,), days=(-1, 90), key=None):
    """A certificate for the key of the order under way, unless it is to be another."""
    public = key.public_key() if key else serialization.load_pem_public_key(
        openssl("pkey", "-in", s.folder / "a.example.pem.next", "-pubout").encode())
    now, signer = datetime.datetime.utcnow(), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days[0]))
            .not_valid_after(now + datetime.timedelta(days[1]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
            .sign(signer, hashes.SHA256()))
    return cert.public_bytes(serialization.Encoding.PEM)


# step, what it answers (from the site and what the authority had answered), what is said of it
FAULTS = {
    "an endless directory": ("directory", lambda s, _: (200, {}, endless(b"{")), "more than 262144 bytes"),
    "no directory": ("directory", lambda s, _: (200, {}, b"[]"), "there is no ACME directory at"),
    "a place that is not https": (
        "directory", lambda s, body: (200, {}, body.replace(b"https://", b"http://")),
        "there is no ACME directory at"),
    "redirects in a circle": (
        "directory", lambda s, _: (302, {"Location": s.meddler.base + "/dir"}, b""), "status 302"),
    "redirects of an order": (
        "place", lambda s, _: (307, {"Location": s.meddler.base + "/order-plz"}, b""), "status 307"),
    "nonces that are refused": ("place", lambda s, _: problem("badNonce", "no"), "badNonce"),
    "lines that are none": (
        "place", lambda s, _: problem("malformed", "one\r\n\x1b[2Jtwo" + "x" * 9000), "one   [2Jtwo"),
    "an order of no use": ("place", lambda s, _: (201, {}, b'{"status": "pending"}'),
                        "is no order"),
    "a page": ("download", lambda s, _: (200, {"Content-Type": "text/html"}, b"<html>sorry"),
               "it holds no certificate"),
    "an endless certificate": ("download", lambda s, body: (200, PEM, endless(body)),
                               "more than 262144"),
    "a chain without an end": ("download", lambda s, body: (200, PEM, body * 40),
                               "it comes as 80 certificates"),
    "a key of its own": ("download", lambda s, _: (
        200, PEM, made(s, key=ec.generate_private_key(ec.SECP256R1()))),
        "its key does not belong to its certificate"),
    "other names": ("download", lambda s, _: (200, PEM, made(s, ["a.example", "c.example"])),
                    "it is not for b.example"),
    "no time left": ("download", lambda s, _: (200, PEM, made(s, days=(-9, -1))), "it has expired"),
    "a time that is far off": ("download", lambda s, _: (200, PEM, made(s, days=(9000, 9090))),
                               "it is not valid yet"),
}


def test_the_certificate_that_works_stays(meddled):  # noqa: F811
    """All faults, one after the other, of an order for one name more."""
    fault = {}

    def after(step, path, status, headers, body):
        if step == fault.get("step"):
            return fault["answer"](s, body)
        return None
    s = meddled(after=after)
    daemon = s.start()
    s.becomes_trusted()
    works = s.served()
    s.names = [*NAMES]
    conf = {**daemon.conf, "listeners": [
        {**daemon.conf["listeners"][0], "tls": {"certificates": [{"acme": s.names}]}},
        daemon.conf["listeners"][1]]}
    said = {}
    for what, (step, answer, says) in FAULTS.items():
        fault.update(step=step, answer=answer)
        before = s.row["failed"]
        daemon.reload(conf)
        wait_for(lambda: s.row["failed"] > before + 1 or says in (s.row["error"] or ""), WITHIN, what)
        said[what] = s.row["error"]
        assert s.served() == works and s.trusted("a.example"), what
        assert any(said[what] in p for p in s.problems()), (what, s.problems())
    missed = {what: said[what] for what, row in FAULTS.items() if row[2] not in said[what]}
    assert not missed
    assert not any(c in line for line in said.values() for c in "\r\n\x1b")
    fault.clear()
    daemon.reload(conf)
    s.becomes_trusted()


def test_nobody_waits_for_a_year(meddled):  # noqa: F811
    """A week at most, and whoever reloads does not ask before that."""
    s = meddled(before=lambda step, path: problem(
        "rateLimited", "come back", 503, Retry_After="31536000") if step == "place" else None)
    s.start()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    assert 6 * 86400 < s.row["next_order_in_s"] < 8 * 86400
    s.daemon.reload(s.daemon.conf)
    assert s.row["next_order_in_s"] > 6 * 86400 and s.meddler.steps.count("place") == 1


@pytest.mark.parametrize("window, orders", [
    (("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"), True),   # always past: due, but not at once
    (("2099-01-02T00:00:00Z", "2099-01-01T00:00:00Z"), False),  # ends before it begins
    (("9999-99-99T99:99:99Z", "soon"), False),
])
def test_windows_of_renewal_that_make_no_sense(meddled, window, orders):  # noqa: F811
    asked = []

    def before(step, path):
        if not path.startswith("/ari/"):
            return None
        asked.append(path)
        return 200, {"Retry-After": "0"}, json.dumps({"suggestedWindow": {
            "start": window[0], "end": window[1]}}).encode()

    def after(step, path, status, headers, body):
        if step != "directory":
            return None
        return status, headers, json.dumps({**json.loads(body),
                                            "renewalInfo": s.meddler.base + "/ari"}).encode()
    s = meddled(before=before, after=after, acme={"retry": "1h"})
    s.start()
    s.becomes_trusted()
    wait_for(lambda: asked, WITHIN, "it is asked")
    time.sleep(2)  # for what must not happen
    assert len(asked) < 4, "it is not asked in a circle"
    assert s.row["orders"] == 1 and not s.problems()
    due = s.row["next_order_in_s"]
    assert due > 3000 if orders else due > 86400
