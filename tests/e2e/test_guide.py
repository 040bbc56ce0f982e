# SPDX-License-Identifier: MIT
"""Runs the guide: man/guide/*.md and the README.

  ```yaml         a whole configuration: weir -t must accept it
  ```yaml wrong   one that weir -t must refuse
  ```yaml start   weir serves with it from here on
  ```yaml part    only a part of one: not run
  ```console      `$ command` lines are run by bash, and what follows is what they print, line
                  by line: `...` stands for anything in a line, alone for any number of lines
  ```sh           not run: what installs or does not end

Ports 8080, 8443, 8404 and 9001 to 9004 are free ones here, with sample apps behind the latter;
the status socket, weir and weirctl are those of the test.
"""
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from backends import binary, free_port
from certs import Authority
from daemon import Weir
from wire import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = [ROOT / "README.md", *sorted((ROOT / "man/guide").glob("*.md"))]
FENCE = re.compile(r"^```(\w*) *(\w*)\n(.*?)^```$", re.M | re.S)
PORTS = ("8080", "8443", "8404", "9001", "9002", "9003", "9004")
SOCKET = "/run/weir/weir.sock"


def blocks(path):
    text = path.read_text()
    for found in FENCE.finditer(text):
        yield found[1], found[2], found[3], text.count("\n", 0, found.start()) + 1


def matches(line, wanted):
    return re.fullmatch(".*".join(map(re.escape, wanted.split("..."))), line) is not None


def same(said, wanted):
    """Whether the lines are as wanted, where a line `...` is any number of them."""
    if not wanted:
        return not said
    if wanted[0] == "...":
        return any(same(said[n:], wanted[1:]) for n in range(len(said) + 1))
    return bool(said) and matches(said[0], wanted[0]) and same(said[1:], wanted[1:])


def commands(text):
    """[(command, [lines])]"""
    found = []
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


class Place:
    """A folder with what the examples need, and the daemon that is running."""

    def __init__(self, folder, app_ports):
        self.folder = folder
        self.weir = None
        self.ports = {port: str(free_port()) for port in PORTS[:3]}
        self.ports.update(zip(PORTS[3:], map(str, app_ports)))
        self.sock = str(folder / "status.sock")
        site = Authority(folder).issue("site", ["site.test"])
        (folder / "certs").mkdir()
        for end, path in (("pem", site.pem), ("key", site.key)):
            (folder / "certs" / f"site.{end}").write_bytes(path.read_bytes())
        (folder / "pin.key").write_text(secrets.token_hex(32) + "\n")
        (folder / "redis.password").write_text("word\n")
        self.tool("weir", f'exec {binary("weir")} "$@"')
        self.tool("weirctl", f'exec {binary("weirctl")} -s {self.sock} "$@"')

    def tool(self, name, line):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def real(self, text):
        """The text with ports and paths as they are here."""
        text = re.sub(rf":({'|'.join(PORTS)})\b", lambda m: ":" + self.ports[m[1]], text)
        return text.replace(SOCKET, self.sock)

    def guide(self, text):
        """And back."""
        for port, real in self.ports.items():
            text = re.sub(rf":{real}\b", f":{port}", text)
        return text.replace(self.sock, SOCKET)

    def run(self, command):
        env = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "COLUMNS": "200"}
        done = subprocess.run(["bash", "-c", self.real(command)], cwd=self.folder, env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        return self.guide(done.stdout + done.stderr)

    def load(self, text):
        (self.folder / "weir.yaml").write_text(self.real(text))
        return subprocess.run([binary("weir"), "-t", "-c", "weir.yaml"], cwd=self.folder,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)

    def start(self, text):
        self.stop()
        text = self.real(text)
        if text.startswith("status: {"):
            text = text.replace("status: {", f"status: {{socket: {self.sock}, ", 1)
        else:
            text = f"status: {{socket: {self.sock}}}\n{text}"
        (self.folder / "weir.yaml").write_text(text)
        self.weir = Weir(self.folder, args=["-c", str(self.folder / "weir.yaml")],
                         status_socket=self.sock)

    def stop(self):
        if self.weir:
            self.weir.stop()
        self.weir = None


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[c.stem for c in CHAPTERS])
def test_chapter(chapter, tmp_path, app):
    found = list(blocks(chapter))
    if any(how == "start" for _, how, _, _ in found):
        ports = app(instances=4, defaults="service=1ms").ports
    else:
        ports = [1, 2, 3, 4]
    place = Place(tmp_path, ports)
    try:
        for language, how, text, line in found:
            where = f"{chapter.name}:{line}"
            if language == "yaml" and how != "part":
                checked = place.load(text)
                assert (checked.returncode == 0) == (how != "wrong"), (where, checked.stderr)
                if how == "start":
                    place.start(text)
            for command, wanted in commands(text) if language == "console" else ():
                said = place.run(command).rstrip("\n").split("\n")
                said = [] if said == [""] else [row.rstrip() for row in said]
                assert same(said, wanted), f"{where}: {command}\nsaid:\n" + "\n".join(said)
    finally:
        place.stop()


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", [*CHAPTERS, ROOT / "src/README.md", ROOT / "tests/README.md"],
                         ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), (page, target)
