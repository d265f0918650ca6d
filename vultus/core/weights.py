"""What a weight file is, told from its first kilobytes: a base, a LoRA, or a mistake.

Only safetensors are opened: a header of JSON, then plain numbers, nothing that can run code. Every
check reads the header alone, so a wrong 7 GB file is refused in a millisecond, before any heavy
library is loaded.

Notation
    header      u64 little-endian length n, then n bytes of JSON:
                name -> {dtype, shape, data_offsets}, and `__metadata__` (strings only)
    base        a diffusers folder (`model_index.json` inside) or one `.safetensors` checkpoint
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vultus.core.errors import WeightsError
from vultus.core.files import files_below, write_bytes

__all__ = [
    "BFLOAT16",
    "Header",
    "TensorInfo",
    "light_print",
    "read_header",
    "read_tensors",
    "require_base",
    "require_lora",
    "tensor_bytes",
    "write_weights",
]

# safetensors itself refuses longer headers
Tensors = Mapping[str, np.ndarray[Any, Any]]

# numpy has no bfloat16: its bits travel as a record with one field of that name
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
_TYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}
_PROBE_BYTES = 1 << 20
# safetensors itself refuses longer headers
_LONGEST_HEADER_BYTES = 100_000_000
_UNET_MARK = "model.diffusion_model.input_blocks.0.0.weight"
_SDXL_MARKS = (
    _UNET_MARK,
    "model.diffusion_model.label_emb.0.0.weight",
    "conditioner.embedders.1.model.ln_final.weight",
    "first_stage_model.decoder.conv_in.weight",
)
_PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
_LORA_ENDS = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight")
_BASE_NEXT = "set [bases] in vultus.toml to an SDXL checkpoint (.safetensors) or diffusers folder"


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of one stored tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def _fault(path: Path, what: str, expected: str, next_command: str = "") -> WeightsError:
    return WeightsError(what, where=str(path), expected=expected, next_command=next_command)


def _table(path: Path) -> tuple[dict[str, Any], int]:
    """The header's JSON and the number of bytes that must follow it."""
    whole = "a whole .safetensors file"
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER_BYTES):
            raise _fault(path, "is not a safetensors file, or only its beginning", whole)
        raw = file.read(length)
    try:
        table = json.loads(raw)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise _fault(path, "is not a safetensors file: its header is not JSON", whole)
    return table, size - 8 - length


def read_header(path: Path) -> Header:
    """Names, types and shapes of a safetensors file. Raises WeightsError when it is torn."""
    if path.suffix.lower() in _PICKLES:
        raise _fault(
            path,
            "is a pickle, which can run any program when opened; it was not opened",
            "a .safetensors file",
            "download the .safetensors version of the same weights",
        )
    try:
        table, room = _table(path)
    except FileNotFoundError:
        raise _fault(path, "does not exist", "a .safetensors file") from None
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise _fault(path, what, "a .safetensors file") from error
    metadata = table.pop("__metadata__", None) or {}
    tensors: dict[str, TensorInfo] = {}
    needed = 0
    try:
        for name, entry in table.items():
            shape = tuple(int(n) for n in entry["shape"])
            tensors[name] = TensorInfo(str(entry["dtype"]), shape)
            needed = max(needed, int(entry["data_offsets"][1]))
    except (KeyError, TypeError, ValueError, IndexError):
        what = "is not a safetensors file: a tensor is described badly"
        raise _fault(path, what, "a whole .safetensors file") from None
    if needed != room:
        what = f"is torn: its header promises {needed} bytes of weights, it holds {room}"
        raise _fault(path, what, "a whole .safetensors file", "copy or download it again")
    return Header(tensors, {str(k): str(v) for k, v in metadata.items()})


_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def read_tensors(path: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Every tensor of a safetensors file as float32 (bfloat16 too, which numpy does not know).

    Raises WeightsError when the file is torn or holds numbers that are no floats.
    """
    header = read_header(path)
    table, room = _table(path)
    start = path.stat().st_size - room
    found: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    with path.open("rb") as file:
        for name, info in header.tensors.items():
            begin, end = table[name]["data_offsets"]
            file.seek(start + begin)
            raw = file.read(end - begin)
            if info.dtype == "BF16":
                values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            elif info.dtype in _FLOATS:
                values = np.frombuffer(raw, _FLOATS[info.dtype]).astype(np.float32)
            else:
                raise _fault(path, f"holds {name} as {info.dtype}", "floating-point numbers")
            found[name] = values.reshape(info.shape)
    return found


def _is_lora(header: Header) -> bool:
    return any(name.endswith(_LORA_ENDS) for name in header.tensors)


def _check_single_file(path: Path) -> None:
    header = read_header(path)
    missing = [mark for mark in _SDXL_MARKS if mark not in header.tensors]
    if not missing:
        return
    expected = "a whole SDXL checkpoint: UNet, both text encoders and VAE in one file"
    if _is_lora(header):
        what = "is a LoRA, not a base"
    elif "cond_stage_model.transformer.text_model.embeddings.position_ids" in header.tensors or (
        _UNET_MARK in header.tensors and _SDXL_MARKS[1] in missing
    ):
        what = "is a Stable Diffusion 1 or 2 checkpoint, not SDXL"
    elif _UNET_MARK in header.tensors:
        what = f"lacks a part of SDXL: no tensor {missing[0]}"
    else:
        what = f"is not an SDXL checkpoint: no tensor {missing[0]}"
    raise _fault(path, what, expected, _BASE_NEXT)


def _check_folder(path: Path) -> None:
    expected = "a diffusers folder of an SDXL pipeline"
    index = path / "model_index.json"
    try:
        table = json.loads(index.read_text("utf-8"))
    except FileNotFoundError:
        what = "is a folder without model_index.json"
        raise _fault(path, what, expected, _BASE_NEXT) from None
    except (OSError, ValueError):
        raise _fault(index, "cannot be read as JSON", expected, _BASE_NEXT) from None
    name = table.get("_class_name") if isinstance(table, dict) else None
    if name != "StableDiffusionXLPipeline":
        raise _fault(path, f"holds a {name}", expected, _BASE_NEXT)
    parts = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    absent = [part for part in (*parts, "scheduler") if not (path / part).is_dir()]
    if absent:
        raise _fault(path, f"lacks {', '.join(absent)}", expected, _BASE_NEXT)
    weights = [file for part in parts for file in (path / part).glob("*.safetensors")]
    for file in weights:
        read_header(file)
    bare = [part for part in parts[:4] if not any((path / part).glob("*.safetensors"))]
    if bare:
        raise _fault(path, f"has no .safetensors weights in {', '.join(bare)}", expected)


def require_base(path: Path) -> Literal["folder", "file"]:
    """How to load this base. Raises WeightsError when it is not an SDXL base."""
    if path.is_dir():
        _check_folder(path)
        return "folder"
    _check_single_file(path)
    return "file"


def require_lora(path: Path) -> Header:
    """The header of a LoRA file. Raises WeightsError when it is something else."""
    header = read_header(path)
    if not _is_lora(header):
        what = "is not a LoRA: no tensor's name ends in .lora_down.weight"
        raise _fault(path, what, "a LoRA for SDXL (.safetensors)")
    return header


def tensor_bytes(tensors: Tensors, metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """A safetensors file as (header, numbers).

    Written here and not by the library because the same tensors must give the same bytes, whatever
    the library's order of metadata is: a checkpoint's content id is its identity.
    """
    table: dict[str, Any] = {}
    if metadata:
        table["__metadata__"] = {key: metadata[key] for key in sorted(metadata)}
    # wide numbers first keeps every tensor aligned, as the format asks
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    chunks: list[bytes] = []
    place = 0
    for name in names:
        # ascontiguousarray would turn a scalar into a vector of one
        chunk = tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes()
        table[name] = {
            "dtype": "BF16"
            if tensors[name].dtype == BFLOAT16
            else _TYPES[tensors[name].dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [place, place + len(chunk)],
        }
        chunks.append(chunk)
        place += len(chunk)
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, b"".join(chunks)


def write_weights(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file: the whole file or nothing, equal bytes for equal content."""
    write_bytes(path, b"".join(tensor_bytes(tensors, metadata)))


def light_print(path: Path) -> str:
    """A fingerprint of a base in milliseconds: sizes and both ends of every weight file.

    It tells two bases apart, it does not prove that a file is unaltered: content ids do that.
    """
    files = files_below(path)
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        name = "" if file == path else file.relative_to(path).as_posix()
        digest.update(f"{name} {size}\n".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(_PROBE_BYTES))
            opened.seek(max(size - _PROBE_BYTES, 0))
            digest.update(opened.read(_PROBE_BYTES))
    return digest.hexdigest()
