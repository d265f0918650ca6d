"""`vultus models` tells what is here and what a weight file really is."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from vultus.cli import models
from vultus.cli.main import main
from vultus.cli.models import found_models


def write_weights(path: Path, names: list[str], metadata: dict[str, str]) -> None:
    """Write a safetensors file by hand: one float per tensor."""
    table: dict[str, object] = {"__metadata__": metadata}
    for position, name in enumerate(names):
        offsets = [4 * position, 4 * position + 4]
        table[name] = {"dtype": "F32", "shape": [1], "data_offsets": offsets}
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * len(names)))


def test_the_bundled_bases_and_packs_are_here() -> None:
    here = {(model.kind, model.name) for model in found_models() if model.present}
    assert {("base", "standin/plain"), ("base", "standin/soft"), ("base", "standin/ink")} <= here
    assert ("face pack", "standin") in here


def test_the_list_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert {model["name"] for model in listed} >= {"free", "standin"}


def test_what_is_absent_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    bases = list(models._bases())
    assert len(bases) == 1
    assert not bases[0].present and bases[0].bundled and bases[0].next_command


def test_a_lora_is_known_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ada.safetensors"
    module = "lora_unet_input_blocks_4_1_proj_in"
    names = [f"{module}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")]
    write_weights(file, names, {"ss_network_dim": "8"})
    assert main(["models", "check", str(file)]) == 0
    told = capsys.readouterr().out
    assert "a LoRA with 3 tensors, 1 of them alphas" in told and "ss_network_dim = 8" in told


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("torn.safetensors", b"\xff" * 20, "safetensors"),
        ("old.ckpt", b"PK", "pickle"),
        ("other.safetensors", None, "not an SDXL checkpoint"),
    ],
)
def test_a_wrong_file_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, told: str
) -> None:
    file = tmp_path / name
    if content is None:
        write_weights(file, ["some.weight"], {})
    else:
        file.write_bytes(content)
    assert main(["models", "check", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("vultus: ") and told in err and "Traceback" not in err


def test_an_absent_file_is_a_clear_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "check", str(tmp_path / "no.safetensors")]) == 2
    assert "does not exist" in capsys.readouterr().err
