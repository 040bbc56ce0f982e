# SPDX-License-Identifier: MIT
"""scripts/fleet: three weirs, Redis and keepalived in network namespaces."""
import os
import shutil
import subprocess

import pytest

from backends import SOURCE


@pytest.mark.slow
def test_fleet_loses_nothing_but_the_dead_node():
    if os.geteuid() or not shutil.which("keepalived"):
        pytest.skip("needs root and keepalived")
    done = subprocess.run(["/usr/bin/python3", SOURCE / "scripts" / "fleet.py", "--check"],
                          capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
