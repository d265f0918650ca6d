"""Starts a drill's command as a job, as `--detach` does: `python -m bench.jobs.detach PYTHON WORD...`."""

from __future__ import annotations

import sys

from vultus.jobs.control import detach
from vultus.jobs.records import Limits

if __name__ == "__main__":
    job = detach(sys.argv[2:], python=sys.argv[1], card="", comfyui="ignore", limits=Limits())
    print(f"job {job.id}")
