# SPDX-License-Identifier: MIT
"""Certificates made on the spot, with the openssl command."""
import secrets
import subprocess
from pathlib import Path

CA_CONF = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
crlnumber = {folder}/crlnumber
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
default_md = sha256
default_crl_days = 30
"""
KEYS = {
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "secp256k1": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
    "rsa": ["-newkey", "rsa:2048"],
    "ed25519": ["-newkey", "ed25519"],
    "ed448": ["-newkey", "ed448"],
}


def openssl(*args, **kwargs):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False, timeout=60, **kwargs)
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout


class Pair:
    """A certificate and its key."""

    def __init__(self, folder, name):
        self.name = name
        self.pem = Path(folder) / f"{name}.pem"
        self.key = Path(folder) / f"{name}.key"

    @property
    def conf(self):
        return {"cert": str(self.pem), "key": str(self.key)}

    def show(self, *what):
        return openssl("x509", "-in", self.pem, "-noout", *what).strip()

    @property
    def fingerprint(self):
        text = self.show("-fingerprint", "-sha256")
        return text.partition("=")[2].replace(":", "").lower()


class Authority(Pair):
    """Signs, revokes and answers about what it signed."""

    def __init__(self, folder, name="ca"):
        super().__init__(folder, name)
        self.folder = Path(folder)
        self.conf_path = self.folder / f"{name}.cnf"
        self.conf_path.write_text(CA_CONF.format(folder=folder, name=name))
        (self.folder / "index.txt").touch()
        (self.folder / "crlnumber").write_text("01\n")
        openssl("req", "-x509", *KEYS["ec"], "-nodes", "-keyout", self.key, "-out", self.pem,
                "-days", "3650", "-subj", f"/CN=Test {name}")

    def issue(self, name, names=(), kind="ec", days=30, subject=None):
        pair = Pair(self.folder, name)
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        alt = ",".join(n if ":" in n else f"DNS:{n}" for n in names)
        extensions.write_text(f"subjectAltName={alt}\n" if alt else "\n")
        openssl("req", "-new", *KEYS[kind], "-nodes", "-keyout", pair.key, "-out", request,
                "-subj", subject or f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
                "-set_serial", str(secrets.randbits(60) + 1), "-days", str(days), "-extfile",
                extensions, "-out", pair.pem)
        return pair

    def revoke(self, *pairs):
        """A revocation list with these; its path."""
        path = self.folder / f"{self.name}.crl"
        for pair in pairs:
            openssl("ca", "-config", self.conf_path, "-revoke", pair.pem)
        openssl("ca", "-config", self.conf_path, "-gencrl", "-out", path)
        return path

    def ocsp(self, pair):
        """A fresh response that says good; its path."""
        path = self.folder / f"{pair.name}.ocsp"
        index = self.folder / "ocsp-index.txt"
        serial = pair.show("-serial").partition("=")[2]
        index.write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN={pair.name}\n")
        request = self.folder / f"{pair.name}.req"
        openssl("ocsp", "-issuer", self.pem, "-cert", pair.pem, "-reqout", request)
        openssl("ocsp", "-index", index, "-CA", self.pem, "-rsigner", self.pem, "-rkey", self.key,
                "-reqin", request, "-respout", path, "-ndays", "7")
        return path
