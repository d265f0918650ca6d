"""LoRA files of every kind in the real ComfyUI, on a processor: does it find a place for every key?

    vultus tools install comfyui [--source CHECKOUT] [--torch WHEEL]      once
    python -m bench.training.comfyui [--folder DIR]

Random weights in the published single-file layout (7 GiB in DIR), one LoRA of each kind with the names and shapes that
the exporter writes, and ComfyUI's own functions in ComfyUI's own environment, a separate process: load the checkpoint,
load each LoRA onto it, count what it patched, and keep every line in which it says that a key was not loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.models.check_models import write
from bench.record import record
from vultus.core.sdxl.architecture import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from vultus.core.seeds import stream
from vultus.core.weights import write_weights
from vultus.tools.places import current
from vultus.training.records import TrainSpec
from vultus.training.targets import target_modules, tensor_shapes

PLAIN = TrainSpec(rank=4, alpha=4.0)
KINDS = {
    "UNet": PLAIN,
    "UNet and text encoders": replace(PLAIN, text_encoders=True),
    "convolutions": replace(PLAIN, text_encoders=True, conv_rank=4),
    "DoRA": replace(PLAIN, text_encoders=True, conv_rank=4, dora=True),
}

PROGRAM = """
import json, logging, sys
source, checkpoint, *loras = sys.argv[1:]
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, source)
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd, comfy.utils
said = []
class Ear(logging.Handler):
    def emit(self, record):
        if "not loaded" in record.getMessage().lower():
            said.append(record.getMessage())
logging.getLogger().addHandler(Ear())
model, clip, _, _ = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False)
rows = []
for path in loras:
    said.clear()
    tensors = comfy.utils.load_torch_file(path, safe_load=True)
    m, c = comfy.sd.load_lora_for_models(model, clip, tensors, 1.0, 1.0)
    rows.append({"unet": len(m.patches), "text_encoders": len(c.patcher.patches), "said": list(said)})
print("FOUND " + json.dumps(rows))
"""


def draw(spec: TrainSpec, path: Path) -> int:
    """A random LoRA with every name and shape of the table; returns how many modules it has."""
    configs = {
        "unet": dict(UNET),
        "text_encoder": dict(TEXT_ENCODER),
        "text_encoder_2": dict(TEXT_ENCODER_2),
    }
    rng = stream("bench comfyui", path.stem)
    tensors: dict[str, Any] = {}
    rows = target_modules(spec, configs)
    for row in rows:
        for end, shape in tensor_shapes(row, spec):
            tensors[f"{row.kohya_prefix}.{end}"] = rng.normal(size=shape).astype(np.float16)
        tensors[f"{row.kohya_prefix}.alpha"] = np.asarray(4.0, np.float16)
    write_weights(path, tensors, {})
    return len(rows)


def main() -> None:
    """Load every kind and write bench/results/comfyui_loads.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the 7 GiB go (default: a temporary one)")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="vultus-comfyui-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        if not (folder / "sdxl.safetensors").exists():
            write(folder)
        paths = [folder / f"kind{i}.safetensors" for i in range(len(KINDS))]
        counts = [draw(spec, path) for spec, path in zip(KINDS.values(), paths, strict=True)]
        tool = current("comfyui")
        words = [
            str(tool.python),
            "-c",
            PROGRAM,
            str(tool.source),
            str(folder / "sdxl.safetensors"),
        ]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        done = subprocess.run(
            [*words, *map(str, paths)], env=kept, capture_output=True, text=True, check=False
        )
        found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        if done.returncode or not found:
            raise SystemExit(f"ComfyUI ended with {done.returncode}:\n{done.stderr[-2000:]}")
        rows = json.loads(found[0].removeprefix("FOUND "))
        figures: dict[str, Any] = {"comfyui": str(tool.record["commit"])}
        for name, modules, row in zip(KINDS, counts, rows, strict=True):
            patched = row["unet"] + row["text_encoders"]
            figures[name] = {"modules": modules, "patched": patched, **row}
            print(
                f"{name}: {patched} of {modules} modules patched, {len(row['said'])} keys not loaded"
            )
        print(record("comfyui_loads", figures, seconds=time.monotonic() - began))
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
