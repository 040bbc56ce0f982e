# SPDX-License-Identifier: MIT
"""Packs a root file system as an OCI image (image-spec 1.0), without a daemon.

  oci.py ROOT VERSION OUT.tar      equal files give equal bytes: SOURCE_DATE_EPOCH
"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

TIME = int(os.environ["SOURCE_DATE_EPOCH"])
USER = 65532


def layer(root):
    """All files below `root`, in order, of root and of one time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(root)))
            if info is None:  # a socket
                continue
            info.mtime, info.uname, info.gname = TIME, "", ""
            info.uid = info.gid = USER if info.name in ("run/weir", "var/lib/weir") else 0
            with open(path, "rb") if info.isreg() else io.BytesIO() as data:
                tar.addfile(info, data if info.isreg() else None)
    return out.getvalue()


class Layout:
    """What becomes blobs/sha256/..."""

    def __init__(self):
        self.files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(self, data, kind):
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}",
                "size": len(data)}

    def json(self, value, kind):
        return self.blob(json.dumps(value, sort_keys=True).encode(), kind)

    def write(self, path):
        with tarfile.open(path, "w") as tar:
            for name in sorted(self.files):
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = len(self.files[name]), TIME, 0o644
                tar.addfile(info, io.BytesIO(self.files[name]))


def main():
    root, version, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    layout = Layout()
    files = layer(root)
    config = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(TIME)),
        "architecture": "amd64", "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "ExposedPorts": {"8080/tcp": {}, "8404/tcp": {}},
            "Env": ["PATH=/usr/sbin:/usr/bin"],
            "Entrypoint": ["/usr/sbin/weir"], "Cmd": ["-c", "/etc/weir/weir.yaml"],
            "StopSignal": "SIGTERM", "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": "weir",
                       "org.opencontainers.image.version": version}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(files).hexdigest()]},
    }
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.json(config, "config.v1+json"),
        "layers": [layout.blob(gzip.compress(files, 6, mtime=0), "layer.v1.tar+gzip")],
    }
    row = layout.json(manifest, "manifest.v1+json")
    row["annotations"] = {"org.opencontainers.image.ref.name": version}
    layout.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [row]},
                                            sort_keys=True).encode()
    layout.write(out)


if __name__ == "__main__":
    main()
