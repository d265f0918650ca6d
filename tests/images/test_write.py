"""What this program writes says what it is, and comes back as it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.images.scenes import scene
from vultus.core.errors import DiskError, PictureError
from vultus.core.keys import file_content_id
from vultus.images.load import load_picture
from vultus.images.write import AI_SOURCE_TYPE, png_bytes, read_png_text, save_png

XMP = "XML:com.adobe.xmp"


def test_pixels_and_text_come_back(tmp_path: Path) -> None:
    path = tmp_path / "render.png"
    text = {"prompt": "photo of ada, naïve – 写真", "seed": "7"}
    made = save_png(path, scene("write", 64, 48), text)
    assert np.array_equal(load_picture(path).rgb, scene("write", 64, 48))
    found = read_png_text(path)
    assert {k: found[k] for k in text} == text and set(found) == {*text, XMP}
    assert made == file_content_id(path)
    assert [p.name for p in tmp_path.iterdir()] == ["render.png"]


def test_a_render_is_marked_as_made_by_a_model(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", scene("write", 64, 48))
    packet = read_png_text(tmp_path / "a.png")[XMP]
    body = packet[packet.index("<x:xmpmeta") : packet.index("<?xpacket end")]
    tag = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    marks = [node.text for node in ElementTree.fromstring(body).iter(tag)]
    assert marks == [AI_SOURCE_TYPE]
    assert AI_SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")
    save_png(tmp_path / "b.png", scene("write", 64, 48), xmp_ai=False)
    assert read_png_text(tmp_path / "b.png") == {}


def test_equal_renders_are_equal_bytes() -> None:
    one = png_bytes(scene("write", 64, 48), {"seed": "7"})
    assert one == png_bytes(scene("write", 64, 48), {"seed": "7"})
    assert one != png_bytes(scene("write", 64, 48), {"seed": "8"})


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    wrong: list[Any] = [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.int64),
    ]
    for array in wrong:
        with pytest.raises(PictureError, match="cannot write an array"):
            save_png(tmp_path / "a.png", array)
    for key in ("", "k" * 80, "schlüssel", "a\nb", XMP):
        with pytest.raises(PictureError, match="cannot name a text entry"):
            save_png(tmp_path / "a.png", scene("write", 64, 48), {key: "x"})
    assert not (tmp_path / "a.png").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError):
        save_png(tmp_path / "file" / "a.png", scene("write", 64, 48))


def test_text_of_a_file_that_is_no_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(PictureError, match="text entries"):
        read_png_text(tmp_path / "a.png")
