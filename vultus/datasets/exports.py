"""A frozen manifest as other trainers want it: kohya sd-scripts, diffusers, OneTrainer.

    kohya        <repeats>_<trigger class>/00000.png + .txt, masks/, dataset.toml (paths relative: start there)
    diffusers    train/00000.png, train/metadata.jsonl with file_name and text
    onetrainer   train/00000.png + .txt, -masklabel.png, concepts.json

The same manifest gives the same bytes: pictures are written as upright sRGB PNG by this program, in the manifest's
order, under numbers (no name of an archive or a user reaches another program's parser), without metadata (camera,
place, prompts). `export.json`, written last, holds the digest and the content id of every file: a folder without it is
half an export and is made anew.

Mirroring is off everywhere: an asymmetric face is part of who it is. OneTrainer's own default is on
(`enable_random_flip`), which is why its concept says so expressly. Sources: sd-scripts docs/config_README-en.md and
docs/masked_loss_README.md (`conditioning_data_dir`), datasets' image folders (metadata.jsonl), OneTrainer
modules/util/config/ConceptConfig.py at 13dbd217.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vultus.core.errors import DatasetError
from vultus.core.files import staged_folder, write_json
from vultus.core.keys import content_id
from vultus.datasets.freeze import Frozen
from vultus.datasets.library import Library
from vultus.images.write import png_bytes

__all__ = ["FORMATS", "Export", "export"]

EXPORT_FILE: Final = "export.json"
NOBODY: Final = {"trigger": "ohwx", "class_words": "person"}
"""Words for a manifest that was frozen without a persona."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """What was written: where, how many pictures and masks, and the digest of all files."""

    folder: Path
    pictures: int
    masks: int
    digest: str


@dataclass(frozen=True)
class _Task:
    """Everything a format needs to lay its folder out."""

    rows: Sequence[Row]
    trigger: str
    class_words: str
    resolution_px: int
    repeats: int
    put_picture: Callable[[str, Row], None]
    put_mask: Callable[[str, Row], None]
    put_text: Callable[[str, str], None]


def export(
    library: Library,
    frozen: Frozen,
    form: str,
    folder: Path,
    *,
    repeats: int = 1,
    follow: Callable[[int, int], None] = lambda done, of: None,
) -> Export:
    """Write the training side of a frozen manifest in one of FORMATS into a new folder.

    Raises DatasetError when the folder holds something else, or the manifest has nothing to train on.
    """
    if form not in FORMATS:
        raise DatasetError(
            f"there is no export named {form!r}", expected=f"one of: {', '.join(FORMATS)}"
        )
    rows = _trained(library, frozen)
    _refuse_full(folder, frozen.digest)
    files: dict[str, str] = {}
    masks: list[str] = []
    with staged_folder(folder) as draft:

        def put(name: str, data: bytes) -> None:
            place = draft / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            files[name] = content_id(data)

        def picture(name: str, row: Row) -> None:
            rgb = library.picture(row["content_id"]).rgb
            put(name, png_bytes(rgb, xmp_ai=False))
            follow(sum(n.endswith(".png") for n in files), len(rows))

        def mask(name: str, row: Row) -> None:
            if row["mask"]:
                put(name, library.blobs.read(row["mask"]))
                masks.append(name)

        persona = frozen.manifest["persona"] or NOBODY
        task = _Task(
            rows,
            str(persona["trigger"]),
            str(persona["class_words"]),
            int(frozen.manifest["resolution_px"]),
            repeats,
            picture,
            mask,
            lambda name, text: put(name, text.encode("utf-8")),
        )
        FORMATS[form](task)
        digest = content_id(json.dumps(files, sort_keys=True).encode())
        told = {"manifest": frozen.digest, "format": form, "files": files, "digest": digest}
        write_json(draft / EXPORT_FILE, told)
    return Export(folder, len(rows), len(masks), digest)


def _trained(library: Library, frozen: Frozen) -> list[Row]:
    rows = [row for row in frozen.manifest["pictures"] if row["role"] == "training"]
    if not rows:
        raise DatasetError(
            "there is nothing to train on in this manifest",
            where=str(frozen.path),
            expected="pictures with the role training",
            next_command=f"vultus dataset split {shlex.quote(str(library.folder))}",
        )
    return rows


def _refuse_full(folder: Path, digest: str) -> None:
    taken = ""
    if folder.exists() and not folder.is_dir():
        taken = "this is not a folder"
    elif folder.exists() and any(folder.iterdir()):
        taken = "the folder is not empty"
    if taken:
        raise DatasetError(
            taken,
            where=str(folder),
            expected=f"a new folder for the export of {digest[7:23]}",
            next_command="choose another folder with --to, or remove this one",
        )


def _kohya(task: _Task) -> None:
    words = re.sub(r"[^\w -]", "", f"{task.trigger} {task.class_words}").strip() or "persona"
    images = f"{task.repeats}_{words}"
    for n, row in enumerate(task.rows):
        task.put_picture(f"{images}/{n:05d}.png", row)
        task.put_text(f"{images}/{n:05d}.txt", row["caption"] + "\n")
        task.put_mask(f"masks/{n:05d}.png", row)
    masked = all(row["mask"] for row in task.rows)
    lines = [
        "# Made by Vultus. Start sd-scripts in this folder:",
        "#   accelerate launch sdxl_train_network.py --dataset_config dataset.toml ...",
        "[general]",
        'caption_extension = ".txt"',
        "shuffle_caption = false",
        "flip_aug = false",
        "color_aug = false",
        "",
        "[[datasets]]",
        f"resolution = [{task.resolution_px}, {task.resolution_px}]",
        "batch_size = 1",
        "enable_bucket = true",
        "min_bucket_reso = 256",
        "max_bucket_reso = 2048",
        "bucket_reso_steps = 64",
        "bucket_no_upscale = false",
        "",
        "  [[datasets.subsets]]",
        f"  image_dir = {json.dumps(images)}",
        f"  num_repeats = {task.repeats}",
        f"  class_tokens = {json.dumps(words)}",
        *(['  conditioning_data_dir = "masks"  # with --masked_loss'] if masked else []),
    ]
    task.put_text("dataset.toml", "\n".join(lines) + "\n")


def _diffusers(task: _Task) -> None:
    told = []
    for n, row in enumerate(task.rows):
        task.put_picture(f"train/{n:05d}.png", row)
        told.append(
            json.dumps({"file_name": f"{n:05d}.png", "text": row["caption"]}, ensure_ascii=False)
        )
    task.put_text("train/metadata.jsonl", "\n".join(told) + "\n")


def _onetrainer(task: _Task) -> None:
    for n, row in enumerate(task.rows):
        task.put_picture(f"train/{n:05d}.png", row)
        task.put_text(f"train/{n:05d}.txt", row["caption"] + "\n")
        task.put_mask(f"train/{n:05d}-masklabel.png", row)
    concept = {
        "__version": 1,
        "name": f"{task.trigger} {task.class_words}",
        "path": "train",
        "seed": 0,
        "enabled": True,
        "include_subdirectories": False,
        "image_variations": 1,
        "text_variations": 1,
        "balancing": float(task.repeats),
        "balancing_strategy": "REPEATS",
        "loss_weight": 1.0,
        "image": {
            "enable_crop_jitter": False,
            "enable_random_flip": False,
            "enable_fixed_flip": False,
        },
        "text": {"prompt_source": "sample", "enable_tag_shuffling": False},
    }
    task.put_text("concepts.json", json.dumps([concept], indent=2) + "\n")


FORMATS: Final[dict[str, Callable[[_Task], None]]] = {
    "kohya": _kohya,
    "diffusers": _diffusers,
    "onetrainer": _onetrainer,
}
