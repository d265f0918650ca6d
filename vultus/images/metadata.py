"""What a picture file says about how it was made: prompt, seed, generator, and of what it was derived.

Read, never believed: everything here is text that anybody can write into a file. It is shown to the user and helps
captions; no decision of curation rests on it.

    ComfyUI      PNG text "prompt": a JSON graph of nodes; texts are followed from a sampler's "positive" link
    A1111        PNG text "parameters", or EXIF UserComment in JPEG and WebP: prompt, "Negative prompt:", "Steps: ..."
    Midjourney   PNG text "Description" with "Job ID:", or the file name `author_words_of_the_prompt_<uuid>_<n>.png`
    XMP          DigitalSourceType (made by a model), DerivedFrom and OriginalDocumentID (an editor's lineage)

Sources: PNG specification (chunks tEXt, zTXt, iTXt), EXIF 2.32 (UserComment), XMP part 1 and the xmpMM schema, the
text that the three programs write today. Texts are cut at MAX_TEXT characters, unpacked ones at MAX_UNPACKED bytes.
"""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["MAX_TEXT", "png_texts", "read_origin"]

MAX_TEXT: Final = 4000
MAX_UNPACKED: Final = 4 * 1024 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MIDJOURNEY: Final = re.compile(
    rf"^(?P<author>[\w.]+?)_(?P<words>.+)_(?P<job>{_UUID})(?:_(?P<n>\d))?$"
)
_EXIF_IFD, _USER_COMMENT, _XMP_IN_JPEG = 0x8769, 0x9286, b"http://ns.adobe.com/xap/1.0/\0"

Origin = tuple[tuple[str, str], ...]


def read_origin(data: bytes, stem: str) -> Origin:
    """Return pairs such as ("generator", "ComfyUI"), ("prompt", ...), ("seed", "7"), in a fixed order.

    `stem` is the file's name without its ending. Damaged or hostile metadata gives fewer pairs, never an error.
    """
    texts = png_texts(data) if data.startswith(_PNG) else {}
    found: dict[str, str] = {}
    comment = texts.get("parameters") or ("" if texts else _user_comment(data))
    if comment:
        found.update(_a1111(comment))
    elif "prompt" in texts:
        found.update(_comfy(texts["prompt"]))
    elif "Job ID:" in texts.get("Description", ""):
        found.update(_midjourney_text(texts["Description"]))
    if "generator" not in found:
        found.update(_midjourney_name(stem))
    found.update(_xmp(texts.get("XML:com.adobe.xmp", "") or _xmp_packet(data)))
    order = (
        "generator",
        "prompt",
        "negative",
        "seed",
        "steps",
        "sampler",
        "guidance",
        "base",
        "job",
    )
    known = [*order, "made_by_model", "document", "derived_from"]
    return tuple((key, found[key][:MAX_TEXT]) for key in known if found.get(key))


def png_texts(data: bytes) -> dict[str, str]:
    """Return the text entries of a PNG without decoding its pixels; unreadable ones are left out."""
    texts: dict[str, str] = {}
    for kind, body in _chunks(data):
        key, _, rest = body.partition(b"\0")
        name = key.decode("latin-1")
        if kind == b"tEXt":
            # The standard says Latin-1; programs of today write UTF-8 into it.
            texts.setdefault(name, _utf8_or_latin(rest))
        elif kind == b"zTXt" and rest[:1] == b"\0":
            texts.setdefault(name, _utf8_or_latin(_unpacked(rest[1:])))
        elif kind == b"iTXt" and len(rest) >= 2:
            parts = rest[2:].split(b"\0", 2)
            if len(parts) == 3:
                words = _unpacked(parts[2]) if rest[0] == 1 else parts[2]
                texts.setdefault(name, words.decode("utf-8", "replace"))
    return texts


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_PNG)
    while place + 12 <= len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        kind = data[place + 4 : place + 8]
        if kind == b"IEND" or place + 12 + size > len(data):
            return
        if kind in (b"tEXt", b"zTXt", b"iTXt") and size <= MAX_UNPACKED:
            yield kind, data[place + 8 : place + 8 + size]
        place += 12 + size


def _unpacked(packed: bytes) -> bytes:
    """A compressed text, at most MAX_UNPACKED bytes of it: a kilobyte can claim a gigabyte."""
    try:
        return zlib.decompressobj().decompress(packed, MAX_UNPACKED)
    except zlib.error:
        return b""


def _utf8_or_latin(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _user_comment(data: bytes) -> str:
    """EXIF UserComment of a JPEG or WebP: eight bytes name the code, the text follows."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=["JPEG", "WEBP"]) as image:
                raw = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    except Exception:  # noqa: BLE001 - decoders raise anything on hostile bytes; all of it means "no comment"
        return ""
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, bytes):
        return ""
    code, words = raw[:8], raw[8:]
    if code.startswith(b"UNICODE"):
        big = words[:1] == b"\0" or words.startswith(b"\xfe\xff")
        return words.decode("utf-16-be" if big else "utf-16-le", "replace").lstrip("\ufeff")
    return _utf8_or_latin(words if code.startswith((b"ASCII", b"\0")) else raw)


def _a1111(text: str) -> dict[str, str]:
    """Prompt, negative prompt and settings as A1111 and its family write them."""
    head, _, settings = text.rpartition("\nSteps: ") if "\nSteps: " in text else (text, "", "")
    prompt, _, negative = head.partition("\nNegative prompt:")
    if not settings and "Negative prompt:" not in text:
        return {}
    table = dict(re.findall(r"([A-Z][\w ]*): (\"[^\"]*\"|[^,]+)", "Steps: " + settings))
    return {
        "generator": "A1111",
        "prompt": prompt.strip(),
        "negative": negative.strip(),
        "seed": table.get("Seed", "").strip(),
        "steps": table.get("Steps", "").strip(),
        "sampler": table.get("Sampler", "").strip(),
        "guidance": table.get("CFG scale", "").strip(),
        "base": table.get("Model", "").strip(),
    }


def _comfy(text: str) -> dict[str, str]:
    """The sampler of a ComfyUI graph: its seed and settings, and the texts that lead to it."""
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(graph, dict):
        return {}
    nodes = {str(key): node for key, node in graph.items() if isinstance(node, dict)}
    found = {"generator": "ComfyUI"}
    for key in sorted(nodes):
        inputs = nodes[key].get("inputs")
        if not isinstance(inputs, dict):
            continue
        if "positive" in inputs and "prompt" not in found:
            found["prompt"] = _linked_text(nodes, inputs.get("positive"))
            found["negative"] = _linked_text(nodes, inputs.get("negative"))
            names = {"steps": "steps", "cfg": "guidance", "sampler_name": "sampler"}
            found.update(
                {ours: str(inputs[n]) for n, ours in names.items() if _plain(inputs.get(n))}
            )
            seed = inputs.get("seed", inputs.get("noise_seed"))
            found["seed"] = str(seed) if _plain(seed) else ""
        if _plain(inputs.get("ckpt_name")):
            found.setdefault("base", str(inputs["ckpt_name"]))
    return found


def _linked_text(nodes: Mapping[str, Any], link: Any) -> str:
    """Follow links from a sampler's input until a node with a text; at most 20 steps, no circles."""
    waiting: list[Any] = [link]
    seen: set[str] = set()
    while waiting and len(seen) < 20:
        one = waiting.pop(0)
        if not (isinstance(one, list) and one and str(one[0]) in nodes) or str(one[0]) in seen:
            continue
        seen.add(str(one[0]))
        inputs = nodes[str(one[0])].get("inputs")
        if not isinstance(inputs, dict):
            continue
        for name in ("text", "text_g", "prompt", "string", "value"):
            if isinstance(inputs.get(name), str) and inputs[name].strip():
                return str(inputs[name]).strip()
        waiting += [value for value in inputs.values() if isinstance(value, list)]
    return ""


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _midjourney_text(text: str) -> dict[str, str]:
    prompt, _, rest = text.partition("Job ID:")
    job = re.search(_UUID, rest)
    return {"generator": "Midjourney", "prompt": prompt.strip(), "job": job.group(0) if job else ""}


def _midjourney_name(stem: str) -> dict[str, str]:
    found = _MIDJOURNEY.match(stem)
    if not found:
        return {}
    words = found["words"].replace("_", " ").strip()
    return {"generator": "Midjourney", "prompt": words, "job": found["job"]}


def _xmp_packet(data: bytes) -> str:
    """The XMP of a JPEG: an APP1 segment that begins with its name space, in the first 256 KiB."""
    start = data[: 256 * 1024].find(_XMP_IN_JPEG)
    if start < 0:
        return ""
    body = data[start + len(_XMP_IN_JPEG) : start + 64 * 1024]
    end = body.find(b"</x:xmpmeta>")
    return body[: end if end >= 0 else None].decode("utf-8", "replace")


def _xmp(packet: str) -> dict[str, str]:
    """Three facts, found by pattern: an XML parser would be a door for a file that means harm."""
    found: dict[str, str] = {}
    if re.search(r"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrained)", packet):
        found["made_by_model"] = "yes"
    document = re.search(r"xmpMM:OriginalDocumentID[=>]\s*\"?([\w:.-]{8,80})", packet)
    if document:
        found["document"] = document.group(1)
    parent = re.search(
        r"<xmpMM:DerivedFrom[^>]*?stRef:(?:documentID|DocumentID)=\"([\w:.-]{8,80})\"", packet
    )
    if parent:
        found["derived_from"] = parent.group(1)
    return found
