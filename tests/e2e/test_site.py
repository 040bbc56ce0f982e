# SPDX-License-Identifier: MIT
"""scripts/demo site: a shop behind weir, each need of a site shown by a curl and its answer."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backends import binary
from wire import SLOW


@pytest.mark.slow
def test_the_shop_has_all_that_a_site_needs():
    script = Path(__file__).resolve().parents[2] / "scripts" / "demo_site.py"
    build = Path(binary("weir")).parents[1]
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True,
                          timeout=200 * SLOW, env={**os.environ, "WEIR_BUILD": str(build)},
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("everything holds") and "FAILED" not in done.stdout
    assert len(re.findall(r"^\$ curl -K ", done.stdout, re.M)) >= 10
    assert len(re.findall(r"^  ok  ", done.stdout, re.M)) >= 14
