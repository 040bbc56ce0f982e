# SPDX-License-Identifier: MIT
"""The life of a package in a fresh tree: installed, started, used, with a certificate that renews
itself, replaced under load, removed.

  unshare --net --pid --mount --fork life.py ROOT DEB NEXT-DEB

Network and processes are its own, so port 80 is free and nothing is left behind.  Prints what an
operator would type and see, and after it a line `  ok  ...` or `  FAILED ...` for each claim.
"""
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "e2e"))
from pebble import Pebble  # noqa: E402

PATIENCE = 60.0
LIFE = 24  # of a certificate, in seconds
NAME = "site.example"
CONF = "/etc/weir/weir.yaml"
SITE = """\
user: weir
status: {socket: /run/weir/weir.sock}
log: {access: {path: /var/log/weir/access.log}}
acme: {directory: "%s", ca: /etc/weir/ca.pem, email: ops@example.com, agree: true}
listeners:
  - {bind: "0.0.0.0:80"}
  - {bind: "0.0.0.0:443", tls: {certificates: [{acme: [site.example]}]}}
pools: {app: {health: {path: /}, backends: [127.0.0.1:3000]}}
"""
NODE = """
require('http').createServer((_, res) => setTimeout(() => res.end('from node\\n'), 5))
    .listen(3000, '127.0.0.1');
"""


def tell(typed, said=""):
    """A line of the transcript, as somebody would type it, and what came of it."""
    print(f"\n    $ {typed}", flush=True)
    for line in said.strip().splitlines():
        print(f"      {line}", flush=True)


def claim(sentence, true, details=""):
    print(f"  {'ok ' if true else 'FAILED'} {sentence}", flush=True)
    if not true:
        print("\n".join(f"      {line}" for line in str(details).splitlines()[-30:]), flush=True)
    return true


def wait_for(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.05)
    return None


def certificate(root):
    """The one that is served, as a client sees it who trusts the authority; None: it does not."""
    trust = ssl.create_default_context(cafile=str(root))
    try:
        with socket.create_connection(("127.0.0.1", 443), PATIENCE) as sock:
            with trust.wrap_socket(sock, server_hostname=NAME) as tls:
                shown = tls.getpeercert()
    except OSError:
        return None
    issuer = dict(pair for row in shown["issuer"] for pair in row)["commonName"]
    return (f"{NAME}: serial {shown['serialNumber']}, from {shown['notBefore']} to "
            f"{shown['notAfter']}, issued by {issuer}")


def see_certificate(root, old=None):
    """Waits for one that is another than `old`."""
    shown = wait_for(lambda: (certificate(root) or old) != old and certificate(root))
    tell(f"openssl s_client -connect {NAME}:443 -CAfile pebble-root.pem", shown or "no certificate")
    return shown


def get(path="/", port=80):
    try:
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        conn.request("GET", path)
        response = conn.getresponse()
        return response.status, response.read().decode()
    except OSError as error:
        return 0, str(error)


class Tree:
    def __init__(self, root):
        self.root = root
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # of this network; what the service has as a capability
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", root / "dev"], check=True)

    def run(self, *command):
        done = subprocess.run(["chroot", self.root, *command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                   "DEBIAN_FRONTEND": "noninteractive"})
        return done.returncode == 0, done.stdout

    def claim(self, sentence, *command, says="", typed=""):
        ok, said = self.run(*command)
        tell(typed or (command[-1] if command[0] == "sh" else " ".join(command)), said)
        return claim(sentence, ok and says in said)

    def apt(self, sentence, *words, says=""):
        """As a user does, without a network: what the package needs is there."""
        return self.claim(sentence, "apt-get", "-qq", "-y", "-o", "Dpkg::Use-Pty=0", *words, says=says,
                          typed=" ".join(["apt-get", *words]))

    def take(self, deb):
        shutil.copy(deb, self.root / "tmp")
        return f"/tmp/{deb.name}"

    def start(self):
        """weir as root by hand, as there is no systemd in a tree."""
        with open(self.root / "weir.log", "ab") as log:
            return subprocess.Popen(["chroot", self.root, "weir"], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, env={"PATH": "/usr/sbin:/usr/bin"})

    def start_by_sockets(self):
        """As systemd does for weir.socket: the first client starts weir, which finds them open."""
        example = (self.root / "usr/share/doc/weir/examples/weir.socket").read_text()
        ports = re.findall("^ListenStream=(.+)$", example, re.MULTILINE)
        with open(self.root / "weir.log", "ab") as log:
            subprocess.Popen(["systemd-socket-activate", *(f"--listen={port}" for port in ports),
                              "chroot", self.root, "/usr/sbin/weir"], stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log, env={"PATH": "/usr/sbin:/usr/bin"})

    def log(self):
        return (self.root / "weir.log").read_text(errors="replace")

    def running(self):
        """The processes that run the program as it is on disk."""
        ok, said = self.run("/usr/libexec/weir/running", "/usr/sbin/weir")
        return said.split() if ok else []  # removed with the package


class Load:
    """Requests one after the other over kept connections, and each on a connection of its own, in
    clear text and over TLS."""

    def __init__(self):
        self.stopping = False
        self.done = 0
        self.lost = []
        self.threads = [threading.Thread(target=self._run, args=(keep, secure))
                        for keep in (1, 0) for secure in (1, 0)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _connect(secure):
        if not secure:
            return http.client.HTTPConnection("127.0.0.1", 80, timeout=PATIENCE)
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", 443, timeout=PATIENCE, context=anybody)

    def _run(self, keep, secure):
        conn = None
        while not self.stopping:
            fresh = conn is None
            conn = conn or self._connect(secure)
            try:
                conn.request("GET", "/", headers={} if keep else {"Connection": "close"})
                response = conn.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                # a kept connection may have been closed while it was idle: RFC 9110, 9.2.2
                if fresh or not isinstance(error, (http.client.RemoteDisconnected,
                                                   ConnectionResetError, BrokenPipeError)):
                    self.lost.append(repr(error))
                conn.close()
                conn = None
                continue
            if response.status != 200 or body != b"from node\n":
                self.lost.append(f"{response.status} {body[:100]!r}")
            self.done += 1
            if not keep or response.getheader("Connection", "") == "close":
                conn.close()
                conn = None

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def install(tree, deb):
    if not tree.apt("installed", "install", tree.take(deb)):
        sys.exit(1)
    tree.claim("the file that comes with it is right", "weir", "-t")
    tree.claim("the manual pages are there", "sh", "-c",
               "zcat /usr/share/man/man8/weir.8.gz | grep -c . || "
               "grep path-exclude=/usr/share/man /etc/dpkg/dpkg.cfg.d/*")
    weir = tree.start()
    hello = wait_for(lambda: get()[0] == 200 and get()[1])
    tell("weir &   # there is no systemd in a tree")
    tell("curl http://127.0.0.1/", hello or tree.log())
    claim("it says hello on port 80", hello and "weir is running" in hello, tree.log())
    uid = int(tree.run("id", "-u", "weir")[1] or 0)
    status = (tree.root / f"proc/{weir.pid}/status").read_text()
    claim("it runs as the user weir", uid and f"Uid:\t{uid}\t{uid}\t{uid}" in status, status)
    tree.claim("weirctl finds it", "weirctl", "status", says="weir ")
    return weir


def use(tree, pebble):
    shutil.copy(pebble.ca.pem, tree.root / "etc/weir/ca.pem")
    site = SITE % pebble.url
    (tree.root / CONF[1:]).write_text(site)
    tell(f"cat {CONF}", site)
    tree.claim(f"{len(site.splitlines())} lines of configuration", "sh", "-c", "weir -t && weirctl reload")
    said = wait_for(lambda: get() == (200, "from node\n"))
    tell("curl http://127.0.0.1/", get()[1])
    claim("a node app behind it", said)
    first = see_certificate(pebble.root)
    claim("a certificate from the authority", first, tree.log())
    tree.claim("weirctl tells about it", "weirctl", "certificates", says=NAME)
    claim(f"another one before its {LIFE} s are over", see_certificate(pebble.root, first), tree.log())
    return site


def rotate(tree):
    """By the real logrotate and the package's file for it."""
    log = tree.root / "var/log/weir/access.log"
    old = log.stat().st_size
    tree.claim("logrotate turns its log over", "logrotate", "--force", "/etc/logrotate.d/weir")
    written = wait_for(lambda: get() and log.exists() and log.stat().st_size)
    claim("which goes on in a new file", old and written and Path(f"{log}.1").stat().st_size >= old,
          tree.run("ls", "-la", "/var/log/weir")[1])


def upgrade(tree, weir, site, deb):
    load = Load()
    wait_for(lambda: load.done > 200)
    tree.apt("upgraded under load", "install", tree.take(deb),
             says="the new version has been started and takes over")
    gone = wait_for(lambda: weir.poll() is not None)
    claim("the process before has ended well", gone and weir.returncode == 0, tree.log())
    n = load.done
    wait_for(lambda: load.done > n + 200)
    load.stop()
    claim(f"nothing lost of {load.done} requests", load.done > n + 200 and not load.lost,
          "\n".join(load.lost[:20]) + "\n" + tree.log())
    claim("one process, of the new program", len(tree.running()) == 1, tree.running())
    claim("the configuration stays as it was written",
          (tree.root / CONF[1:]).read_text() == site)
    tree.claim("the new one answers", "weirctl", "backends", "app", says="up")


def take_sockets(tree, pebble):
    for pid in tree.running():
        os.kill(int(pid), signal.SIGTERM)
    claim("it stops", wait_for(lambda: not tree.running()), tree.log())
    tree.start_by_sockets()
    said = wait_for(lambda: get() == (200, "from node\n") and certificate(pebble.root))
    claim("it is started by a client, with the sockets of weir.socket", said, tree.log())


def remove(tree):
    tree.apt("removed", "remove", "weir")
    claim("it does not run any more", get()[0] == 0 and "] info: stopped" in tree.log().splitlines()[-1],
          tree.log())
    claim("its configuration stays", (tree.root / CONF[1:]).exists())
    tree.apt("purged", "purge", "weir")
    left = tree.run("find", "/", "-xdev", "-name", "*weir*", "-not", "-path", "/proc/*",
                    "-not", "-path", "/tmp/*", "-not", "-name", "weir.log")[1]
    claim("nothing is left of it", not left.strip(), left)


def main():
    root, deb, following = (Path(arg).resolve() for arg in sys.argv[1:])
    tree = Tree(root)
    node = subprocess.Popen(["node", "-e", NODE], stdin=subprocess.DEVNULL)
    folder = Path(f"{root}.pebble")
    folder.mkdir(exist_ok=True)
    pebble = Pebble(folder, http_port=80, tls_port=443, certificateValidityPeriod=LIFE)
    weir = install(tree, deb)
    site = use(tree, pebble)
    rotate(tree)
    upgrade(tree, weir, site, following)
    claim("the certificate is renewed by the new one as well",
          wait_for(lambda: certificate(pebble.root)), tree.log())
    take_sockets(tree, pebble)
    (tree.root / "etc/weir/ca.pem").unlink()
    remove(tree)
    pebble.stop_all()
    node.terminate()
    node.wait()


if __name__ == "__main__":
    os.umask(0o022)
    main()
