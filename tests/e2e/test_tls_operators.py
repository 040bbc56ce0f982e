# SPDX-License-Identifier: MIT
"""What operators see of certificates: in the API, as the configuration is checked, by the doctor."""
import json
import os
import re
import subprocess

from certs import openssl
from test_tls import TlsClient, ca, site, tls_listener  # noqa: F401, pylint: disable=unused-import


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
