# SPDX-License-Identifier: MIT
"""Certificates that change on disk: as certbot, Kubernetes, operators and accidents change them."""
import os
import pwd
import shutil
import time

import pytest

from certs import Authority
from test_tls import TlsClient
from wire import wait_for

WITHIN = 20  # a machine that is busy may be late; 10 s is what is promised


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pairs(ca):
    return [ca.issue(name, ["a.example"]) for name in ("one", "two", "three")]


def served(daemon, ca):
    with TlsClient(daemon.port, ca) as client:
        return client.cert


def becomes(daemon, ca, pair):
    wait_for(lambda: served(daemon, ca) == pair.fingerprint, WITHIN, pair.name)


def problems(daemon):
    return [row for row in daemon.admin.get("/v1/status")["problems"] if "certificates have" in row]


def listener(*certificates):
    return {"tls": {"certificates": list(certificates)}}


def replace(source, target):
    """By rename, as those do who know how."""
    beside = target.with_name(target.name + ".new")
    shutil.copy(source, beside)
    beside.rename(target)


@pytest.fixture
def site(weir, scripted, pairs, tmp_path):
    """A daemon with its pair in files of its own; a change of the file of the configuration is no news."""
    def start(cert, key, **top):
        daemon = weir([scripted().address], listener=listener({"cert": str(cert), "key": str(key)}), **top)
        daemon.conf_path.write_text("half a configurat")
        return daemon
    return start


@pytest.fixture
def files(pairs, tmp_path):
    cert, key = tmp_path / "site.pem", tmp_path / "site.key"
    shutil.copy(pairs[0].pem, cert)
    shutil.copy(pairs[0].key, key)
    return cert, key


def test_files_that_are_replaced(site, ca, pairs, files):
    daemon = site(*files)
    with TlsClient(daemon.port, ca) as kept:
        assert kept.ask().status == 200 and kept.cert == pairs[0].fingerprint
        replace(pairs[1].key, files[1])
        replace(pairs[1].pem, files[0])
        becomes(daemon, ca, pairs[1])
        assert kept.ask().status == 200, "connections go on"
    assert not problems(daemon)
    assert any("certificates have changed" in str(event) for event in daemon.events())


def test_half_a_pair_waits_and_then_is_a_problem(site, ca, pairs, files):
    daemon = site(*files)
    files[0].write_bytes(pairs[1].pem.read_bytes())
    said = wait_for(lambda: problems(daemon), WITHIN, "a problem")
    assert "does not belong" in said[0]
    assert served(daemon, ca) == pairs[0].fingerprint
    files[1].write_bytes(pairs[1].key.read_bytes())
    becomes(daemon, ca, pairs[1])
    assert wait_for(lambda: not problems(daemon), WITHIN, "no problem any more")


@pytest.mark.parametrize("damage", [b"", b"no certificate\n", None])
def test_what_cannot_be_used_changes_nothing(site, ca, pairs, files, damage):
    daemon = site(*files)
    if damage is None:
        files[0].unlink()
    else:
        files[0].write_bytes(damage)
    assert wait_for(lambda: problems(daemon), WITHIN, "a problem")
    assert served(daemon, ca) == pairs[0].fingerprint
    files[0].write_bytes(pairs[0].pem.read_bytes())
    assert wait_for(lambda: not problems(daemon), WITHIN, "no problem any more")
    assert served(daemon, ca) == pairs[0].fingerprint


def test_links_of_certbot(site, ca, pairs, tmp_path):
    archive, live = tmp_path / "archive", tmp_path / "live"
    archive.mkdir()
    live.mkdir()
    for n, pair in enumerate(pairs[:2], 1):
        shutil.copy(pair.pem, archive / f"fullchain{n}.pem")
        shutil.copy(pair.key, archive / f"privkey{n}.pem")

    def point(n):
        for name in ("fullchain", "privkey"):
            link = live / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../archive/{name}{n}.pem")
    point(1)
    daemon = site(live / "fullchain.pem", live / "privkey.pem")
    assert served(daemon, ca) == pairs[0].fingerprint
    point(2)
    becomes(daemon, ca, pairs[1])


def test_the_swap_of_kubernetes(site, ca, pairs, tmp_path):
    volume = tmp_path / "secret"
    volume.mkdir()

    def put(n):
        folder = volume / f"..2026_{n}"
        folder.mkdir()
        shutil.copy(pairs[n].pem, folder / "tls.crt")
        shutil.copy(pairs[n].key, folder / "tls.key")
        (volume / "..data_tmp").symlink_to(folder.name)
        (volume / "..data_tmp").rename(volume / "..data")
    put(0)
    for name in ("tls.crt", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    daemon = site(volume / "tls.crt", volume / "tls.key")
    put(1)
    shutil.rmtree(volume / "..2026_0")
    becomes(daemon, ca, pairs[1])
    assert not problems(daemon)


def test_a_directory(weir, scripted, ca, pairs, tmp_path):
    other = ca.issue("other", ["b.example"])
    folder = tmp_path / "certs"
    folder.mkdir()
    shutil.copy(pairs[0].pem, folder / "site.pem")
    shutil.copy(pairs[0].key, folder / "site.key")
    daemon = weir([scripted().address], listener=listener({"directory": str(folder)}))
    replace(pairs[1].key, folder / "site.key")
    replace(pairs[1].pem, folder / "site.pem")
    becomes(daemon, ca, pairs[1])
    replace(other.key, folder / "other.key")
    replace(other.pem, folder / "other.pem")
    wait_for(lambda: len(daemon.admin.get("/v1/certificates")["certificates"]) == 2, WITHIN, "both")
    with TlsClient(daemon.port, ca, name="b.example") as client:
        assert client.cert == other.fingerprint


def test_an_answer_of_ocsp(weir, scripted, ca, pairs, tmp_path):
    staple = tmp_path / "site.ocsp"
    conf = {**pairs[0].conf, "ocsp": str(staple)}
    staple.write_bytes(ca.ocsp(pairs[0]).read_bytes())
    daemon = weir([scripted().address], listener=listener(conf))

    def row():
        return daemon.admin.get("/v1/certificates")["certificates"][0]
    before, made = row(), int(time.time())
    wait_for(lambda: int(time.time()) > made)  # the times of an answer are whole seconds
    staple.write_bytes(ca.ocsp(pairs[0]).read_bytes())
    wait_for(lambda: row() != before, WITHIN, "another answer")
    staple.write_bytes(b"no answer")
    assert wait_for(lambda: problems(daemon), WITHIN, "a problem")
    assert served(daemon, ca) == pairs[0].fingerprint


@pytest.mark.other_user
def test_as_another_user_in_the_sandbox(site, ca, pairs, files, tmp_path):
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    for path in files:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    daemon = site(*files, user="nobody", sandbox="on")
    files[1].write_bytes(pairs[2].key.read_bytes())
    files[0].write_bytes(pairs[2].pem.read_bytes())
    becomes(daemon, ca, pairs[2])
