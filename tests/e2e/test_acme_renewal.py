# SPDX-License-Identifier: MIT
"""Certificates that come by themselves: renewal, and what goes wrong with disks and clocks."""
import os
import signal
import ssl
import subprocess
import time

import pytest

from certs import openssl
from test_acme import WITHIN, meddled, pebble, site  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


def test_it_is_renewed_while_it_lives(site):
    s = site(certificateValidityPeriod=12, acme={"retry": "1m"})
    s.start()
    s.becomes_trusted()
    first = s.served()
    assert s.row["next_order_in_s"] <= 8
    assert not any("expires in" in row for row in s.daemon.admin.get("/v1/status")["problems"])
    wait_for(lambda: s.served() != first, WITHIN, s.state)
    assert s.row["orders"] >= 2 and s.row["failed"] == 0 and s.trusted()
    out = s.daemon.ctl("certificates", check=0).stdout
    assert "ACME" in out and "authority" in out and "a.example" in out


def test_a_renewal_that_fails_changes_nothing(site):
    s = site(certificateValidityPeriod=6)
    s.start()
    s.becomes_trusted()
    s.pebble.stop()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    first = s.served()  # what was renewed before the stop included
    wait_for(lambda: s.row["failures"] >= 2, WITHIN, s.state)
    assert s.served() == first
    problem, = s.problems()
    assert "reading the authority's directory: " in problem
    assert "the certificate from before stays in use" in problem
    assert "weir itself" not in s.daemon.ctl("certificates", check=0).stdout
    s.pebble.begin()
    wait_for(lambda: s.served() != first, WITHIN, s.state)


@pytest.mark.parametrize("file", ["account", "a.example.pem.next"])
def test_who_cannot_write_orders_nothing(site, file):
    s = site()
    s.folder.mkdir(parents=True)
    first = s.start()
    key, = wait_for(lambda: list(s.folder.glob("account-*.key")), WITHIN, "a key")
    first.finish()
    for path in s.folder.iterdir():
        path.unlink()
    blocked = s.folder / ((key.name if file == "account" else file) + ".new")
    blocked.mkdir()
    s.start()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    assert "cannot be written: " in s.row["error"] and not s.row["order"]
    assert not s.trusted()
    blocked.rmdir()
    s.becomes_trusted()


def test_what_came_is_used_though_the_disk_is_full(site):
    s = site()
    s.folder.mkdir(parents=True)
    (s.folder / "a.example.pem.new").mkdir()
    s.start()
    s.becomes_trusted()
    assert not s.row["saved"] and "is in use, but cannot be written to" in s.problems()[0]
    assert s.row["next_order_in_s"] > 86400, "it is not ordered again for that"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can mount")
@pytest.mark.parametrize("full_at", ["account", "key", "download"])
def test_a_disk_that_is_full(meddled, full_at):
    """What worked before stays, it is said, and goes on when there is room."""
    filler = []

    def fill():
        path = s.folder / "filler"
        with open(path, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 1024):
                    pass
            except OSError:
                filler.append(path)

    def after(step, path, status, headers, body):
        if step == "download" and full_at == "download" and not filler and s.row["trusted"]:
            fill()
    s = meddled(after=after, certificateValidityPeriod=12)
    s.folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "weir-test", s.folder], check=True)
    try:
        if full_at == "account":
            fill()
            s.start()
        else:
            s.start()
            s.becomes_trusted()
            if full_at == "key":
                fill()
        first, kept = s.served(), s.pem.read_bytes() if s.pem.exists() else None
        wait_for(lambda: "No space left on device" in (s.row["error"] or ""), WITHIN, s.state)
        assert "No space left on device" in s.problems()[0]
        if full_at == "download":
            wait_for(lambda: s.served() != first and s.trusted(), WITHIN, "it is used all the same")
        else:
            assert s.served() == first
        assert (s.pem.read_bytes() if s.pem.exists() else None) == kept
        filler[0].unlink()
        wait_for(lambda: s.row["saved"] and not s.row["error"], WITHIN, s.state)
        s.becomes_trusted()
        wait_for(lambda: ssl.PEM_cert_to_DER_cert(first_certificate(s.pem)) == s.served(), WITHIN,
                 "what is served is on the disk")
        s.daemon.finish()
    finally:
        subprocess.run(["umount", "-l", s.folder], check=True)


def first_certificate(path):
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + path.read_text().split(begin)[1].split(end)[0] + end


# ---- a clock that is wrong: to it a certificate is too old, or too young ----

def test_a_certificate_that_is_old_when_it_comes_is_not_ordered_again_and_again(site):
    s = site(certificateValidityPeriod=1, acme={"retry": "1h"})
    s.start()
    wait_for(lambda: s.row["failures"], WITHIN, s.state)
    assert s.row["orders"] == 1 and s.row["failed"] == 0 and s.row["trusted"] and s.row["saved"]
    assert "is the clock of this machine right?" in s.problems()[0]
    assert s.row["next_order_in_s"] > 3000
    s.daemon.finish()
    s.start()
    assert s.row["next_order_in_s"] > 3000, "nor after a restart"


@pytest.mark.parametrize("days, says", [((20, 50), "is not valid yet"), ((-5000, -4000), "has expired")])
def test_a_certificate_of_another_time_is_served_until_there_is_another(site, days, says):
    s = site()
    s.folder.mkdir(parents=True)
    s.pem.write_text(f"ACME directory: {s.pebble.url}\n" + of_another_time(s.pebble.folder, *days))
    s.pebble.kill(signal.SIGSTOP)
    try:
        s.start()
        assert s.served() == ssl.PEM_cert_to_DER_cert(first_certificate(s.pem))
        rows = s.daemon.admin.get("/v1/status")["problems"]
        assert any(says in row and str(s.pem) in row for row in rows), rows
    finally:
        s.pebble.kill(signal.SIGCONT)
    if says == "has expired":
        s.becomes_trusted()


def of_another_time(folder, first_day, last_day):
    """Key and certificate of a.example, valid from and until these days from now."""
    stamps = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86400))
              for day in (first_day, last_day)]
    base = folder / "other-ca"
    base.mkdir()
    (base / "index.txt").write_text("")
    (base / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index.txt\nnew_certs_dir={base}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:a.example\n")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", base / "key.pem", "-out", base / "req.pem", "-subj", "/CN=a.example")
    openssl("ca", "-batch", "-selfsign", "-config", base / "ca.cnf", "-keyfile", base / "key.pem",
            "-in", base / "req.pem", "-out", base / "cert.pem", "-notext",
            "-startdate", stamps[0], "-enddate", stamps[1])
    return (base / "key.pem").read_text() + (base / "cert.pem").read_text()


def test_a_damaged_file_is_ordered_anew(site):
    s = site()
    s.folder.mkdir(parents=True)
    s.pem.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    s.start()
    s.becomes_trusted()
    s.daemon.says("is left out: it holds no certificate")


def test_another_authority_takes_over(site, pebble):
    s = site()
    daemon = s.start()
    s.becomes_trusted()
    before = s.served()
    other = pebble(http_port=s.plain, tls_port=s.secure)
    daemon.reload({**daemon.conf, "acme": {**s.conf["acme"], "directory": other.url,
                                           "ca": str(other.ca.pem)}})
    wait_for(lambda: s.served() != before, WITHIN, s.state)
    assert len(list(s.folder.glob("account-*.key"))) == 2
