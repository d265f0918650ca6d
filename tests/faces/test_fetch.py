"""Files come from a server, a folder or the user's own place, compared by sum; terms are asked once."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.faces.insight_nets import save_detector, save_recogniser
from tests.faces.planted_nets import planted_pack
from vultus.core.clock import FakeClock
from vultus.core.errors import PackError
from vultus.core.specs import dumps
from vultus.faces import packs
from vultus.faces.fetch import add_pack, check_files, download, fetch_pack
from vultus.faces.packs import PackSpec, find_pack, read_spec
from vultus.faces.shelf import accept, data_folder, has_accepted, read_shelf, terms_id

DATA = bytes(range(256)) * 400
SUM = hashlib.sha256(DATA).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves DATA under any name; /cut stops half-way, /range obeys ranges, /gone is 404."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        span = self.headers.get("Range")
        Server.asked.append((self.path, span))
        if self.path == "/gone":
            self.send_error(404)
            return
        start = (
            int(span.removeprefix("bytes=").rstrip("-")) if span and self.path == "/range" else 0
        )
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : len(DATA) // 2 if self.path == "/cut" else None])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(name="address")
def serve() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VULTUS_HOME", raising=False)
    monkeypatch.setenv("VULTUS_SHARED", str(tmp_path / "nowhere"))
    monkeypatch.delenv("VULTUS_MODELS", raising=False)


def test_a_file_is_fetched_and_compared(address: str, tmp_path: Path) -> None:
    told: list[str] = []
    download(f"{address}/file", tmp_path / "a" / "net.onnx", SUM, tell=told.append)
    assert (tmp_path / "a" / "net.onnx").read_bytes() == DATA
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["net.onnx"]
    assert told == [f"net.onnx: fetched, {len(DATA)} bytes"]


def test_a_cut_download_goes_on_where_it_stopped(address: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(PackError, match="the connection broke after") as caught:
        download(f"{address}/cut", path, SUM)
    assert "what has arrived is kept" in caught.value.next_command
    part = tmp_path / "net.onnx.part"
    assert part.stat().st_size == len(DATA) // 2 and not path.exists()
    download(f"{address}/range", path, SUM)
    assert path.read_bytes() == DATA and not part.exists()
    assert Server.asked[-1] == ("/range", f"bytes={len(DATA) // 2}-")


def test_a_server_without_ranges_sends_the_whole_again(address: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx.part").write_bytes(DATA[:100])
    download(f"{address}/file", tmp_path / "net.onnx", SUM)
    assert (tmp_path / "net.onnx").read_bytes() == DATA


def test_another_file_never_takes_the_place(address: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(PackError, match="is not the file that was asked for"):
        download(f"{address}/file", path, "0" * 64)
    assert path.read_bytes() == b"the old one" and not (tmp_path / "net.onnx.part").exists()
    with pytest.raises(PackError, match="more than"):
        download(f"{address}/file", path, SUM, most=1000)
    with pytest.raises(PackError, match="404"):
        download(f"{address}/gone", path, SUM)
    with pytest.raises(PackError, match="cannot be fetched"):
        download("http://127.0.0.1:9/none", path, SUM)


@pytest.fixture(name="listed")
def make_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one pack, `tiny`, whose files lie in `usb` under other names."""
    pack = planted_pack(tmp_path / "usb")
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "tiny.toml").write_text(dumps(pack.spec))
    for name in list(pack.spec.files()):
        (tmp_path / "usb" / name).rename(tmp_path / "usb" / f"renamed_{name}.dat")
    (tmp_path / "usb" / "pack.toml").unlink()
    monkeypatch.setattr(packs, "CATALOGUE", tmp_path / "catalogue")
    return tmp_path / "usb"


def test_a_folder_serves_by_content_and_whole_files_are_left_alone(listed: Path) -> None:
    told: list[str] = []
    assert fetch_pack("tiny", data_folder(), source=listed, tell=told.append) == data_folder()
    assert sum("copied" in words for words in told) == 3
    pack = find_pack("tiny")
    assert pack.name == "planted"
    assert {s.state for s in check_files(pack.spec, pack.folder)} == {"whole"}
    told.clear()
    fetch_pack("tiny", data_folder(), source=listed, tell=told.append)
    assert [words.endswith(": here") for words in told] == [True] * 3
    (data_folder() / "landmarks.onnx").write_bytes(b"altered")
    assert "altered" in {s.state for s in check_files(pack.spec, data_folder())}
    with pytest.raises(PackError, match=r"landmarks\.onnx is not the file"):
        find_pack("tiny")


def test_what_cannot_be_fetched_says_why(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="is not fetched"):
        fetch_pack("tiny", tmp_path / "to")
    with pytest.raises(PackError, match="no face pack 'huge'"):
        fetch_pack("huge", tmp_path / "to")
    with pytest.raises(PackError, match="no such folder"):
        fetch_pack("tiny", tmp_path / "to", source=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackError, match="not among its files"):
        fetch_pack("tiny", tmp_path / "to", source=tmp_path / "empty")


def insightface_folder(folder: Path, name: str = "buffalo_l") -> PackSpec:
    spec = read_spec(packs.CATALOGUE / f"{name}.toml")
    folder.mkdir(parents=True)
    save_detector(folder / spec.detector.file)
    save_recogniser(folder / spec.recognisers[spec.judge].file)
    return spec


def test_insightface_needs_agreement_once_and_notices_another_file(tmp_path: Path) -> None:
    # Its archives unpack into themselves: models/buffalo_l/buffalo_l/*.onnx.
    folder = tmp_path / "models" / "buffalo_l" / "buffalo_l"
    spec = insightface_folder(folder)
    assert "non-commercial" in spec.licence and spec.consent and not spec.sources
    with pytest.raises(PackError, match="have not been agreed to") as caught:
        find_pack(str(folder.parent))
    assert "vultus models add buffalo_l" in caught.value.next_command
    with pytest.raises(PackError, match="were not found"):
        find_pack("buffalo_l")
    assert add_pack("buffalo_l", folder.parent) == folder
    assert find_pack("buffalo_l").digest == find_pack(str(folder)).digest
    assert read_shelf().placed["buffalo_l"].sums.keys() == spec.files().keys()
    save_detector(folder / "w600k_r50.onnx")
    with pytest.raises(PackError, match=r"w600k_r50\.onnx is not the file"):
        find_pack("buffalo_l")
    with pytest.raises(PackError, match="files of pack antelopev2 are not in it"):
        add_pack("antelopev2", folder)


def test_every_pack_of_the_catalogue_is_described_whole() -> None:
    names = sorted(packs.catalogue())
    assert names == ["antelopev2", "buffalo_l", "buffalo_s", "free"]
    for name in names:
        spec = read_spec(packs.catalogue()[name])
        assert spec.name == name and spec.licence and spec.terms
        assert spec.consent == (name != "free")
        if name == "free":
            assert set(spec.sources) == set(spec.files()) and all(spec.files().values())


def test_agreement_is_dated_and_belongs_to_the_words(tmp_path: Path) -> None:
    spec = read_spec(packs.CATALOGUE / "buffalo_s.toml")
    assert not has_accepted(spec)
    accept(spec, FakeClock(1_700_000_000.0))
    assert has_accepted(spec) and read_shelf().accepted == {terms_id(spec): "2023-11-14"}
    from dataclasses import replace

    assert not has_accepted(replace(spec, terms="other words"))
    table = json.loads((data_folder() / "shelf.json").read_text())
    assert set(table) == {"placed", "accepted"}
    (data_folder() / "shelf.json").write_text("{")
    with pytest.raises(PackError, match="cannot be read"):
        read_shelf()
    shutil.rmtree(data_folder())
    assert read_shelf().placed == {}
