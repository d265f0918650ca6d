"""What runs on a Ray worker, without Ray: on a shared disk, and on a machine that sees no file of the driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vultus.core.errors import StepError
from vultus.steps import parcels
from vultus.steps.orders import Order, step_of
from vultus.steps.parcels import Packer, pieces, place_piece, refuse_large
from vultus.steps.ray_hand import RayHand
from vultus.steps.worker_process import WORKERS_LOCK, order_message
from vultus.testing.planted import make_base

SPEC = {"steps": 1, "guidance": 1.0, "width_px": 64, "height_px": 64, "scheduler": "ddim",
        "negative": "", "precision": "auto"}  # fmt: skip


def _order(base: Path, **changes: Any) -> Order:
    inputs = {"renderer": "fake", "base": "sha256:" + "0" * 64, "lora": "", "strength": 0.0,
              "spec": SPEC, "blocks": [["photo", 1], ["photo", 2]], **changes}  # fmt: skip
    return Order(step_of("render", inputs), {"base": base})


def _hand(folder: Path, word: str) -> RayHand:
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    (folder / "locks" / "probe").write_text("the word")
    return RayHand(str(folder), "locks/probe", word, WORKERS_LOCK, {"OMP_NUM_THREADS": "1"})


def test_on_a_shared_disk_outputs_stay_in_the_steps_own_scratch(tmp_path: Path) -> None:
    hand = _hand(tmp_path / ".vultus", "the word")
    assert hand.about()["shared"] is True
    scratch = tmp_path / "scratch"
    answers = list(hand.perform(order_message(_order(make_base(tmp_path / "base")), scratch), {}))
    assert [a["advance"] for a in answers if "advance" in a] == [1, 1]
    assert set(answers[-1]["outputs"]) == {"r000.png", "r001.png"}
    assert all(Path(p).parent == scratch for p in answers[-1]["outputs"].values())
    assert answers[-1]["environment"]["threads"] == "1"


@pytest.mark.parametrize("word", ["", "another run's word"])
def test_elsewhere_inputs_are_sent_once_and_outputs_come_back(tmp_path: Path, word: str) -> None:
    hand = _hand(tmp_path / ".vultus", word)
    assert hand.about()["shared"] is False
    order = _order(make_base(tmp_path / "base"))
    parcel = Packer().pack(order.files["base"])
    assert parcel is not None and hand.lacks([parcel]) == [], "the same bytes lie at the same path"
    kept = {p: p.read_bytes() for p in order.files["base"].rglob("*") if p.is_file()}
    sent = list(pieces(order.files["base"]))
    for path in kept:
        path.write_bytes(kept[path][:-1] + b"?")  # another file of the same size
    assert hand.lacks([parcel]) == [parcel.digest]
    for name, first, data in sent:
        hand.receive(parcel.digest, name, first, data, False)
    hand.receive(parcel.digest, "", False, b"", True)
    assert hand.lacks([parcel]) == []
    answers = list(hand.perform(order_message(order, tmp_path / "nowhere"), {"base": parcel}))
    back = tmp_path / "back"
    for name, inside, first, data in (a["piece"] for a in answers if "piece" in a):
        place_piece(back / name, inside, first, data)
    assert sorted(p.name for p in back.iterdir()) == ["r000.png", "r001.png"]
    assert not (tmp_path / "nowhere").exists()


def test_what_a_step_says_is_told_whole(tmp_path: Path) -> None:
    hand = _hand(tmp_path / ".vultus", "the word")
    base = make_base(tmp_path / "base")
    said_no = list(hand.perform(order_message(_order(base, renderer="no-such"), tmp_path), {}))
    assert said_no[-1]["fault"]["type"] == "UnknownNameError"
    crashed = list(hand.perform(order_message(_order(base, blocks=None), tmp_path), {}))
    assert "Traceback" in crashed[-1]["crash"]
    well = list(hand.perform(order_message(_order(base), tmp_path), {}))
    assert "outputs" in well[-1], "a crash ended the hand"


def test_folders_survive_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "PIECE_BYTES", 7)
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "long").write_bytes(bytes(range(100)))
    (source / "empty").write_bytes(b"")
    for name, first, data in pieces(source):
        place_piece(tmp_path / "out", name, first, data)
    packer = Packer()
    one, other = packer.pack(source), packer.pack(tmp_path / "out")
    assert one is not None and other is not None and one.digest == other.digest
    assert one.size_bytes == 100 and packer.pack(tmp_path / "absent") is None
    with pytest.raises(StepError, match="outside"):
        place_piece(tmp_path / "out", "../x", True, b"")
    monkeypatch.setattr(parcels, "SHIP_MAX_BYTES", 99)
    with pytest.raises(StepError, match="not sent") as caught:
        refuse_large([one])
    assert "copy" in caught.value.next_command
