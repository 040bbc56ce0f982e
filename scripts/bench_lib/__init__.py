# SPDX-License-Identifier: MIT
"""What scripts/bench and scripts/compare share: processes, peers, clients, plots."""
