"""What holds for every test: no hub, one quiet thread, no thread that spins while it waits."""

from __future__ import annotations

import os

# Before anything imports torch: afterwards OpenMP no longer looks at them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
