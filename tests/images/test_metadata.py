"""What a file says about how it was made is read from the forms that programs write, and hostile ones say nothing."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vultus.images.metadata import MAX_TEXT, MAX_UNPACKED, png_texts, read_origin
from vultus.images.write import png_bytes

RGB = np.zeros((16, 16, 3), np.uint8)
A1111 = (
    "photo of ohwx woman, red hat\nNegative prompt: blurry, extra hands\n"
    "Steps: 28, Sampler: DPM++ 2M, CFG scale: 5.5, Seed: 1234, Size: 832x1216, Model: realvis"
)


def png_with(texts: dict[str, str], *, packed: bool = False) -> bytes:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value, zip=packed)
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "PNG", pnginfo=info)
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_a1111_in_a_png(packed: bool) -> None:
    found = dict(read_origin(png_with({"parameters": A1111}, packed=packed), "x"))
    assert found == {
        "generator": "A1111",
        "prompt": "photo of ohwx woman, red hat",
        "negative": "blurry, extra hands",
        "seed": "1234",
        "steps": "28",
        "sampler": "DPM++ 2M",
        "guidance": "5.5",
        "base": "realvis",
    }


def test_a1111_in_a_jpeg() -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    found = dict(read_origin(out.getvalue(), "x"))
    assert found["seed"] == "1234" and found["prompt"].startswith("photo of")


def test_comfyui_follows_links_to_the_texts() -> None:
    graph = {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 99,
                "steps": 20,
                "cfg": 4.5,
                "sampler_name": "euler",
                "positive": ["10", 0],
                "negative": ["7", 0],
            },
        },
        "10": {"inputs": {"conditioning": ["6", 0], "control_net": ["11", 0]}},
        "6": {"inputs": {"text": "a woman on a beach"}},
        "7": {"inputs": {"text": "bad hands"}},
        "4": {"inputs": {"ckpt_name": "sdxl.safetensors"}},
        "11": {"inputs": {"loop": ["10", 0]}},
    }
    found = dict(read_origin(png_with({"prompt": json.dumps(graph)}), "x"))
    assert found["generator"] == "ComfyUI" and found["prompt"] == "a woman on a beach"
    assert (found["negative"], found["seed"], found["base"]) == (
        "bad hands",
        "99",
        "sdxl.safetensors",
    )


def test_midjourney_by_text_and_by_name() -> None:
    job = "0a1b2c3d-1111-2222-3333-444455556666"
    by_text = dict(
        read_origin(png_with({"Description": f"a tall ship --ar 3:2 Job ID: {job}"}), "x")
    )
    by_name = dict(read_origin(png_bytes(RGB, xmp_ai=False), f"ada_a_tall_ship_at_sea_{job}_2"))
    assert by_text["job"] == by_name["job"] == job
    assert by_text["prompt"].startswith("a tall ship") and by_name["prompt"] == "a tall ship at sea"
    assert read_origin(png_bytes(RGB, xmp_ai=False), "holiday_2024_beach") == ()


def test_our_own_renders_say_that_a_model_made_them() -> None:
    assert dict(read_origin(png_bytes(RGB), "x")) == {"made_by_model": "yes"}


def test_hostile_texts_give_less_and_never_an_error() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    head = b"\x89PNG\r\n\x1a\n"
    bomb = zlib.compress(bytes(64 * 2**20))
    files = [
        head + chunk(b"zTXt", b"parameters\0\0" + bomb) + chunk(b"IEND", b""),
        head + chunk(b"iTXt", b"parameters\0\1\0\0\0" + b"not zlib"),
        head + struct.pack(">I", 2**31) + b"tEXt",
        png_with({"prompt": "[" * 5000}),
        png_with({"prompt": json.dumps({"3": {"inputs": {"positive": ["3", 0]}}})}),
        png_with({"prompt": json.dumps([1, 2])}),
        b"\xff\xd8\xff" + bytes(40),
    ]
    for data in files:
        assert len(str(read_origin(data, "x"))) < 2 * MAX_TEXT
    assert len(files) == 7
    assert len(png_texts(files[0])["parameters"]) <= MAX_UNPACKED
    long = dict(read_origin(png_with({"parameters": "w" * 9000 + "\nSteps: 3, Seed: 1"}), "x"))
    assert len(long["prompt"]) == MAX_TEXT
