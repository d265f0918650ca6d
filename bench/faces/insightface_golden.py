"""Records what the `insightface` package answers to networks of its shapes with random weights.

    python -m bench.faces.insightface_golden --python ENV/bin/python

ENV is an environment that holds insightface 2.1 (`uv venv`, then
`uv pip install insightface==2.1 onnxruntime==1.31.1`). It is not a dependency of ours: its code
runs here once, in a process of its own, and `tests/faces/golden/insightface.json` is what remains.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faces.insight_nets import pictures, save_detector, save_recogniser

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "faces" / "golden" / "insightface.json"

# Runs with the package's own interpreter and libraries; knows nothing of ours.
_THEIRS = """
import json, sys
import numpy as np
from importlib.metadata import version
from insightface.app.common import Face
from insightface.model_zoo import get_model
folder = sys.argv[1]
detector = get_model(folder + "/det.onnx", providers=["CPUExecutionProvider"])
detector.prepare(-1, input_size=(640, 640), det_thresh=0.5)
recogniser = get_model(folder + "/rec.onnx", providers=["CPUExecutionProvider"])
recogniser.prepare(-1)
rows = []
for rgb in np.load(folder + "/pictures.npz").values():
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    boxes, points = detector.detect(bgr)
    faces = []
    for i, (box, five) in enumerate(list(zip(boxes, points))[:12]):
        face = {"box": box[:4].tolist(), "score": float(box[4]), "points": five.tolist()}
        if i < 2:
            emb = recogniser.get(bgr, Face(bbox=box[:4], kps=five, det_score=box[4]))
            face["emb"] = (emb / np.linalg.norm(emb)).tolist()
        faces.append(face)
    rows.append({"count": len(boxes), "faces": faces})
print(json.dumps({"classes": [type(detector).__name__, type(recogniser).__name__],
                  "insightface": version("insightface"), "rows": rows}))
"""


def main() -> None:
    """Build the graphs, let the package read them, write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of its environment")
    args = parser.parse_args()
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        save_detector(Path(folder, "det.onnx"))
        save_recogniser(Path(folder, "rec.onnx"))
        np.savez(Path(folder, "pictures.npz"), *pictures())
        done = subprocess.run(
            [str(args.python), "-c", _THEIRS, folder],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if done.returncode:
        sys.exit(done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    for row in told["rows"]:
        for face in row["faces"]:
            for key in set(face) - {"score"}:
                face[key] = np.round(np.array(face[key]), 4 if key == "emb" else 3).tolist()
    told["provenance"] = (
        f"insightface {told.pop('insightface')} ({', '.join(told.pop('classes'))}) on the graphs and "
        "pictures of tests/faces/insight_nets.py; recorded by bench/faces/insightface_golden.py"
    )
    GOLDEN.write_text(json.dumps(told, sort_keys=True) + "\n", encoding="utf-8")
    print(GOLDEN, [row["count"] for row in told["rows"]])


if __name__ == "__main__":
    main()
