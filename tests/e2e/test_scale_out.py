# SPDX-License-Identifier: MIT
"""scripts/scale-out, in short: real Redis, real load, a table and plots."""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from backends import SOURCE, binary
from wire import SLOW

sys.path.insert(0, str(SOURCE / "scripts"))
import scale_out  # pylint: disable=wrong-import-position


@pytest.mark.slow
def test_scale_out_prints_its_table_and_draws(tmp_path):
    script = SOURCE / "scripts" / "scale_out.py"
    build = Path(binary("weir")).parents[1]
    done = subprocess.run([sys.executable, str(script), "--quick", "--world", "shared", "--seconds",
                           "0.4", "--out", str(tmp_path / "out")], capture_output=True, text=True,
                          timeout=200 * SLOW, env={**os.environ, "WEIR_BUILD": str(build)}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shared, 1 backend: step 1 of 9, about " in done.stderr
    assert "shared, 2 backends: step 5 of 9, about " in done.stderr
    rows = json.loads((tmp_path / "out" / "numbers.json").read_text())["shared"]
    assert [row["backends"] for row in rows] == [1, 2]
    for row in rows:  # how much a busy machine gets through is its own affair
        assert row["beyond"]["phases"]["total"]["n"] >= row["beyond"]["client"]["ok"] > 0
    told = "scripts/scale-out --world shared has the time for it: about " in done.stdout
    assert told == any(scale_out.not_judged(row) for row in rows), done.stdout
    assert all(row["reference"]["client"]["errors"] == 0 for row in rows)
    for name in ("shared", "overview"):
        ElementTree.parse(tmp_path / "out" / f"{name}.svg")


def row_of(backends, verdict, known):
    return {"backends": backends, "verdict": verdict, "evidence": {"shared": {"known": known}}}


GOOD = [row_of(1, "scalability", False), row_of(2, "scalability", True)]


@pytest.mark.parametrize("quick, seconds, bad, said", [
    (True, None, {}, ""),
    (True, None, {"shared": [row_of(1, "not_enough_data", False), row_of(2, "scalability_shared", False)]},
     "  shared: 1 backend: learning\nscripts/scale-out --world shared has the time for it: about 5 minutes\n"),
    (True, None, {name: [row_of(1, "healthy", False), row_of(2, "scalability", False)]
                  for name in scale_out.WORLDS},
     "".join(f"  {name}: 2 backends: whether they share a bottleneck is not known\n" for name in scale_out.WORLDS)
     + "scripts/scale-out has the time for it: about 15 minutes\n"),
    (False, 5, {"pinned": [*GOOD, row_of(4, "not_enough_data", False)]},
     "  pinned: 4 backends: learning\n"
     "scripts/scale-out --seconds 10 --world pinned has the time for it: about 9 minutes\n")])
def test_what_was_not_judged_is_said_and_how_long_it_takes(capsys, quick, seconds, bad, said):
    options = scale_out.plan(argparse.Namespace(quick=quick, seconds=seconds))
    scale_out.print_not_judged({**dict.fromkeys(scale_out.WORLDS, GOOD), **bad}, options)
    assert capsys.readouterr().out == (said and "\nnot judged in this time:\n" + said)


def test_a_quick_run_plans_less_than_two_minutes():
    options = scale_out.plan(argparse.Namespace(quick=True, seconds=None))
    assert scale_out.Progress(options, list(scale_out.WORLDS)).left_s < 115
