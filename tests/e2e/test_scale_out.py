# SPDX-License-Identifier: MIT
"""scripts/scale-out, in short: real Redis, real load, a table and plots."""
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from backends import binary
from wire import SLOW


@pytest.mark.slow
def test_scale_out_prints_its_table_and_draws(tmp_path):
    script = Path(__file__).resolve().parents[2] / "scripts" / "scale_out.py"
    build = Path(binary("weir")).parents[1]
    done = subprocess.run([sys.executable, str(script), "--quick", "--world", "shared", "--seconds",
                           "0.4", "--out", str(tmp_path / "out")], capture_output=True, text=True,
                          timeout=100 * SLOW, env={**os.environ, "WEIR_BUILD": str(build)}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shared, 1 backend: step 1 of 11, about " in done.stderr
    assert "shared, 2 backends: step 6 of 11, about " in done.stderr
    rows = json.loads((tmp_path / "out" / "numbers.json").read_text())["shared"]
    assert [row["backends"] for row in rows] == [1, 2]
    assert all(row["beyond"]["throughput"] > 50 for row in rows)
    assert all(row["reference"]["client"]["errors"] == 0 for row in rows)
    for name in ("shared", "overview"):
        ElementTree.parse(tmp_path / "out" / f"{name}.svg")
