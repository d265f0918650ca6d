"""Hostile files: no crash, no memory above the cap, one clear line each; and the cap is honest."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.images.ordeal import ROOT, run_ordeal

_MEASURE = """
import io, json, sys
import numpy as np
from pathlib import Path
from PIL import Image
from tests.images.ordeal import _forget_peak, _high_mib, _now_mib
from vultus.images.load import decode_picture
from vultus.images.pixels import memory_needed
kind, mode = sys.argv[1:3]
rng = np.random.default_rng(0)
width, height = 3000, 2000
small = Image.fromarray(rng.integers(0, 256, (250, 375, 3)).astype(np.uint8))
image = small.resize((width, height)).convert("L" if mode.startswith("I;16") else mode)
if mode.startswith("I;16"):
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
out = io.BytesIO()
options = {"progressive": True} if kind == "JPEG" else {}
exif = Image.Exif()
exif[0x0112] = 6
if kind in ("JPEG", "PNG", "WEBP"):
    options["exif"] = exif.tobytes()
image.save(out, kind, **options)
data = out.getvalue()
del image, small, out
warm = io.BytesIO()
Image.new("RGB", (64, 64)).save(warm, kind)
decode_picture(warm.getvalue(), Path("warm"))  # libraries load; no large memory is left behind
before = _now_mib()
_forget_peak()
decode_picture(data, Path("a"))
print(json.dumps([_high_mib() - before, memory_needed(kind, mode, width, height, 0) / 2**20]))
"""


@pytest.mark.slow
def test_hundreds_of_hostile_files_do_no_harm() -> None:
    told = run_ordeal()
    assert "crashed" not in told, told["said"]
    assert told["files"] >= 300 and told["picture"] + told["fault"] == told["files"]
    assert told["unclear"] == []
    assert told["peak_mib"] <= told["cap_mib"]
    assert told["fault"] >= 150 and told["picture"] >= 60  # both ends were reached
    assert told["good_file_kept"] and told["folder_faults"] >= 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "I;16"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGB"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
        ("GIF", "P"),
    ],
)
def test_decoding_takes_no_more_memory_than_was_reckoned(kind: str, mode: str) -> None:
    """Six million pixels of each format, turned by EXIF where it has EXIF, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, kind, mode],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    peak_mib, reckoned_mib = json.loads(done.stdout.splitlines()[-1])
    assert peak_mib <= reckoned_mib + 8, f"{kind} {mode}: {peak_mib:.0f} of {reckoned_mib:.0f} MiB"
    assert peak_mib >= 0.25 * reckoned_mib, "reckoned far too carefully"
