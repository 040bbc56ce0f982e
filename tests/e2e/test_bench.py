# SPDX-License-Identifier: MIT
"""scripts/bench and scripts/compare, in short: real peers and load tools; the shape of what comes out, never its times."""
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from backends import build_dir
from wire import SLOW

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run_script(name, *args):
    return subprocess.run([sys.executable, str(SCRIPTS / name), *args], capture_output=True,
                          text=True, timeout=100 * SLOW, check=False,
                          env={**os.environ, "WEIR_BUILD": str(build_dir())})


def tables_of(text):
    """Rows of the Markdown table: {title: cells}."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
def test_bench_compares_prints_and_draws(tmp_path):
    out = tmp_path / "out"
    done = run_script("bench.py", "--quick", "--rows", "small64,auth,gzip,resumed,h2m10,idle",
                      "--peers", "weir,nginx,nghttpx", "--curves", "routes", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "bench.json").read_text())
    assert set(found["versions"]) == {"weir", "nginx", "nghttpx"}
    peers = dict.fromkeys(("small64", "auth", "gzip", "resumed", "idle"), {"weir", "nginx"})
    peers["h2m10"] = {"weir", "nginx", "nghttpx"}
    assert {name: set(row) for name, row in found["summary"].items()} == peers
    for name, row in found["summary"].items():
        key = "rss_bytes" if name == "idle" else "cpu_us"
        for peer, seen in row.items():
            assert seen["bad"] == 0 and seen["requests"] > 0, (name, peer, seen)
            assert seen["low"] <= seen[key] <= seen["high"], (name, peer, seen)
            assert name == "idle" or seen["cpu_us"] > 0
        if name != "idle":
            assert row["nginx"]["ratio"] == pytest.approx(row["weir"]["cpu_us"] / row["nginx"]["cpu_us"])
    left = {peer: seen["left"] for peer, seen in found["summary"]["gzip"].items()}
    assert left["weir"] == pytest.approx(left["nginx"], rel=0.01), "else it compares nothing"
    assert {p: [x for x, _ in line] for p, line in found["curves"]["routes"].items()} == {
        "weir": [1, 10], "nginx": [1, 10]}
    table = tables_of(done.stdout)
    assert table["CPU us, p99 us, or bytes"] == ["weir", "nginx", "nghttpx"]
    assert len(table) == 7 and all(len(cells) == 3 for cells in table.values())
    for name in ("bench", "curves"):
        root = ElementTree.parse(out / f"{name}.svg").getroot()
        assert root.findall(".//{http://www.w3.org/2000/svg}text")


def test_bench_knows_its_rows():
    said = run_script("bench.py", "--list")
    assert said.returncode == 0 and "small64 " in said.stdout and "curves:" in said.stdout
    wrong = run_script("bench.py", "--rows", "nothing")
    assert wrong.returncode != 0 and "no row 'nothing'; there are: small64" in wrong.stderr


@pytest.mark.slow
def test_compare_measures_prints_and_draws(tmp_path):
    out = tmp_path / "out"
    names = ["weir auto", "haproxy leastconn"]
    done = run_script("compare.py", "--quick", "--only", "slow,recovery", "--contenders",
                      ",".join(names), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "compare.json").read_text())["summary"]
    assert list(found["slow"]) == list(found["recovery"]) == names
    for name, seen in found["slow"].items():
        assert seen["n"] > 0 and 0 <= seen["share"] < 1, (name, seen)
        assert seen["p50_us"] <= seen["p99_us"] <= seen["p999_us"], (name, seen)
        assert seen["p99_low"] <= seen["p99_us"] <= seen["p99_high"], (name, seen)
    table = tables_of(done.stdout)
    assert all(name in table for name in names)
    root = ElementTree.parse(out / "compare.svg").getroot()
    words = {t.text for t in root.findall(".//{http://www.w3.org/2000/svg}text")}
    assert set(names) <= words


def test_compare_knows_its_contenders():
    said = run_script("compare.py", "--list")
    assert said.returncode == 0 and "mixed " in said.stdout and "weir auto" in said.stdout
    wrong = run_script("compare.py", "--contenders", "weir nothing")
    assert wrong.returncode != 0 and "no contender 'weir nothing'" in wrong.stderr
