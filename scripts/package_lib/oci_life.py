# SPDX-License-Identifier: MIT
"""Runs the image as a container engine would: its file system read-only, weir as process 1 of a
namespace and as its user, logs read from standard output.

  unshare --net --mount oci_life.py IMAGE.tar FOLDER
"""
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

from life import claim, get, wait_for


def unpack(archive, folder):
    """The root file system, each blob being what its name says."""
    with tarfile.open(archive) as tar:
        blobs = {name: tar.extractfile(name).read() for name in tar.getnames()}

    def blob(row):
        data = blobs["blobs/sha256/" + row["digest"].partition(":")[2]]
        assert hashlib.sha256(data).hexdigest() == row["digest"].partition(":")[2]
        assert len(data) == row["size"]
        return data
    manifest = json.loads(blob(json.loads(blobs["index.json"])["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    files = gzip.decompress(blob(manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(files).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        tar.extractall(folder)
    return config["config"]


def start(config, root, log):
    user = config["User"]
    subprocess.run(["mount", "--bind", root, root], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    inside = f'mount -t proc proc "{root}/proc" && exec chroot --userspec={user} "{root}" "$@"'
    return subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", inside, "sh",
         *config["Entrypoint"], *config["Cmd"]], stdin=subprocess.DEVNULL, stdout=log,
        stderr=subprocess.STDOUT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def main():
    archive, folder = Path(sys.argv[1]), Path(sys.argv[2])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    root = folder / "root"
    config = unpack(archive, root)
    claim("it is meant for a user without rights", config["User"].split(":")[0] not in ("", "0"))
    claim("no shell in it", not list(root.glob("usr/bin/*sh")) and not (root / "bin/sh").exists())
    path = folder / "log"
    with open(path, "wb") as log:
        unshare = start(config, root, log)
        said = wait_for(lambda: get(port=8080)[0] == 200)
        claim("it answers, on a read-only root", said, path.read_text())
        claim("its probes answer", get("/livez", 8404)[0] == get("/readyz", 8404)[0] == 200)
        weir = child_of(unshare.pid)
        status = Path(f"/proc/{weir}/status").read_text()
        claim("weir is process 1 there", "\nNSpid:" in status and status.split("NSpid:")[1].split()[1] == "1",
              status)
        claim("and not root", "\nUid:\t65532\t" in status, status)
        claim("the access log is on standard output",
              wait_for(lambda: '"method":"GET"' in path.read_text()), path.read_text())
        os.kill(weir, signal.SIGTERM)
        claim("TERM ends it well", unshare.wait(60) == 0, path.read_text())


if __name__ == "__main__":
    main()
