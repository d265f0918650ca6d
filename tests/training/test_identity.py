"""The identity loss: the same face as the pack's own reader sees, and a gradient that is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.tiny_base import write_pictures
from vultus.core.errors import PackError, TrainingError
from vultus.core.weights import read_header
from vultus.faces.align import align
from vultus.faces.engines.recogniser import Recogniser
from vultus.faces.packs import find_pack
from vultus.studies.requests import Checkpoint, recognisers_used
from vultus.training.lora_tools import convert_lora, sum_loras
from vultus.training.native import recipe, step
from vultus.training.native.data import View
from vultus.training.native.identity import (
    Identity,
    clean_guess,
    embed_face,
    face_place,
    prototypes,
)
from vultus.training.native.losses import identity_taper
from vultus.training.native.onnx_file import read_onnx
from vultus.training.native.parts import load_parts
from vultus.training.native.recogniser import open_recogniser
from vultus.training.records import TrainPicture, TrainSpec

CPU = torch.device("cpu")
PACK = find_pack("standin:b")
POINTS = ((24.0, 26.0), (40.0, 26.0), (32.0, 35.0), (26.0, 42.0), (38.0, 42.0))
SPEC = TrainSpec(
    rank=2,
    alpha=2.0,
    steps=4,
    batch=2,
    checkpoints=2,
    resolution_px=64,
    learning_rate=1e-2,
    identity_recogniser="standin:b",
    identity_min_latents=2.0,
    identity_from=0.0,
    identity_every=1,
    identity_below_t=1000,
)


def _view(latents: torch.Tensor, frame: tuple[float, float, float]) -> View:
    return View(latents, None, torch.zeros(6), torch.ones(1, 1, 1), frame)


def _picture(points: Any = POINTS, box: Any = (16.0, 16.0, 48.0, 48.0)) -> TrainPicture:
    return TrainPicture(Path("a.png"), "a", (64, 64), faces=(box,), points=points)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[TrainPicture]:
    paths = write_pictures(tmp_path_factory.mktemp("faces"), 4)
    return [
        replace(_picture(), path=path, caption=f"photo of woman {i}")
        for i, path in enumerate(paths)
    ]


@pytest.mark.parametrize("name", ["standin:a", "standin:b"])
def test_torch_says_what_onnx_runtime_says(name: str) -> None:
    pack = find_pack(name)
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (3, 7, 7, 3), dtype=np.uint8)
    shown = np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8))
    wanted = Recogniser(pack).embed(list(shown))
    batch = torch.from_numpy(shown).permute(0, 3, 1, 2).float()
    found = open_recogniser(pack, CPU)(batch)
    assert found.shape == (3, 128)
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)


def test_a_file_that_is_no_network_and_an_unknown_operation_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(PACK.file(PACK.recogniser.file).read_bytes()[:1000])
    with pytest.raises(PackError, match="cannot be read as a network"):
        read_onnx(torn)
    known = dict(open_recogniser.__globals__["_OPS"])
    del known["PRelu"]
    monkeypatch.setitem(open_recogniser.__globals__, "_OPS", known)
    with pytest.raises(PackError, match="computes PRelu"):
        open_recogniser(PACK, CPU)


class _Shows:
    """A decoder that shows the first three latents as they are, 8 px each: geometry without a network."""

    config = SimpleNamespace(scaling_factor=2.0)

    def decode(self, latents: torch.Tensor) -> Any:
        wide = torch.nn.functional.interpolate(latents[:, :3], scale_factor=8, mode="bilinear")
        return SimpleNamespace(sample=wide)


@pytest.mark.parametrize("frame", [(0.0, 0.0, 1.0), (4.0, 8.0, 2.0), (0.0, 0.0, 4.0)])
def test_the_aligned_face_is_the_readers(frame: tuple[float, float, float]) -> None:
    """Latents around the face, decoded and warped, are what `faces.align` cuts from the whole picture."""
    left, top, scale = frame
    side = int(64 * scale) // 8
    draw = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 6, 6, generator=draw) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)
    vae = _Shows()
    place = face_place(
        _picture(), _view(smooth[0], frame), PACK.recogniser, factor_px=8, min_latents=2
    )
    assert place is not None
    assert place.shrink == {1.0: 1, 2.0: 1, 4.0: 3}[scale]
    if scale > 1:
        assert place.crop[2] - place.crop[0] <= side
    found = embed_face(vae, lambda face: face.flatten(1), 2.0 * smooth[0], place, 128.0)
    whole = (vae.decode(smooth).sample[0].permute(1, 2, 0) + 1) * 127.5
    rgb = whole.round().to(torch.uint8).numpy()
    shift = 0.0  # the stand-in's points and template count from corners
    points = (np.array(POINTS) + shift - (left, top)) * scale
    wanted = align(
        rgb, points, PACK.recogniser.template_px, PACK.recogniser.size_px, origin="corner", fill=128
    )
    off = np.abs(found.reshape(3, 56, 56).permute(1, 2, 0).numpy() - wanted)
    assert float(np.median(off)) < 2.0
    assert float(np.quantile(off, 0.98)) < 12.0


def test_small_and_cut_off_faces_are_skipped() -> None:
    view = _view(torch.zeros(8, 8, 8), (0.0, 0.0, 1.0))
    small = face_place(_picture(), view, PACK.recogniser, factor_px=8, min_latents=5)
    cut = face_place(
        _picture(box=(48.0, 16.0, 80.0, 48.0)), view, PACK.recogniser, factor_px=8, min_latents=2
    )
    assert small is None and cut is None


def test_a_prototype_is_made_of_the_other_pictures() -> None:
    """Two views of one picture: neither is in the other's target, and together they count once."""
    eye = torch.eye(4)
    embs = {0: eye[0], 1: eye[0], 2: eye[1], 3: eye[2]}
    found = prototypes(embs, {0: "a", 1: "a", 2: "b", 3: "c", 4: "d"})
    half = 2**-0.5
    torch.testing.assert_close(found[0], torch.tensor([0.0, half, half, 0.0]))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], torch.tensor([half, 0.0, half, 0.0]))
    with pytest.raises(TrainingError, match="a readable face in 1 of 2"):
        prototypes({0: eye[0]}, {0: "a", 1: "b"})


def test_the_guess_is_taken_apart_again() -> None:
    draw = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, 4, 8, 8, generator=draw)
    a_t = torch.tensor([0.9, 0.2])
    a = a_t[:, None, None, None]
    x_t = a.sqrt() * x_0 + (1 - a).sqrt() * eps
    v = a.sqrt() * eps - (1 - a).sqrt() * x_0
    torch.testing.assert_close(clean_guess(eps, x_t, a_t, "epsilon"), x_0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clean_guess(v, x_t, a_t, "v_prediction"), x_0, atol=1e-5, rtol=1e-5)


def test_the_term_fades_and_ends() -> None:
    share = torch.tensor([0.0, 0.25, 0.499, 0.5, 0.9])
    taper = identity_taper(share, 0.5)
    torch.testing.assert_close(taper, torch.tensor([1.0, 0.5625, 0.501**2, 0.0, 0.0]))


@pytest.mark.parametrize("vae", ["tiny_base", "kl_base"])
def test_the_gradient_is_that_of_finite_differences(
    vae: str, request: pytest.FixtureRequest
) -> None:
    """Through decoder, warp and recogniser, in float64: the slope along random directions."""
    parts = load_parts(request.getfixturevalue(vae), torch.float32, CPU)
    decoder = parts.vae.double()
    draw = torch.Generator().manual_seed(2)
    channels = int(parts.unet.config.in_channels)
    latents = torch.randn(channels, 8, 8, generator=draw).double()
    view = _view(latents, (0.0, 0.0, 1.0))
    place = face_place(_picture(), view, PACK.recogniser, factor_px=8, min_latents=2)
    assert place is not None
    embed = open_recogniser(PACK, CPU)
    target = torch.nn.functional.normalize(torch.randn(128, generator=draw).double(), dim=0)
    told = Identity(decoder, embed, 128.0, {0: place}, {0: target}, "")
    there = latents.clone().requires_grad_()
    told.likeness(there, 0).backward()
    assert there.grad is not None
    checked = 0
    for _ in range(4):
        way = torch.randn(latents.shape, generator=draw).double()
        with torch.no_grad():
            up = told.likeness(latents + 1e-6 * way, 0)
            down = told.likeness(latents - 1e-6 * way, 0)
        slope = float(up - down) / 2e-6
        assert float((there.grad * way).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-7)
        assert abs(slope) > 1e-7
        checked += 1
    assert checked == 4


def test_it_is_taught_when_it_is_due(tiny_base: Path, faces: list[TrainPicture]) -> None:
    spec = replace(SPEC, identity_weight=0.5, identity_from=0.5, identity_every=2)
    bench = recipe._prepare(spec, tiny_base, faces, 3, CPU)
    assert bench.identity is not None
    assert sorted(bench.identity.places) == [0, 1, 2, 3]
    assert bench.identity.recogniser == PACK.recogniser.sha256
    asked = []
    for at in range(4):
        batch = step._draw(bench, at, 0)
        with torch.no_grad():
            guess = step._guess(bench, batch)
            asked.append(step._identity_term(bench, batch, guess, at))
    assert [one is not None for one in asked] == [False, False, True, False]
    assert 0 < float(asked[2]) < 2  # type: ignore[arg-type]


def test_a_training_is_changed_by_it_and_says_so(
    tiny_base: Path, faces: list[TrainPicture], tmp_path: Path
) -> None:
    """Other weights, the recogniser in every file, also a private one, and in what is made of them."""
    spec = replace(SPEC, identity_weight=1.0, private=True)
    plain = recipe.train(replace(SPEC, private=True), tiny_base, faces, tmp_path / "plain", 3)
    taught = recipe.train(spec, tiny_base, faces, tmp_path / "taught", 3)
    assert taught.losses[0][1] > plain.losses[0][1]
    files = [record.path for record in taught.checkpoints]
    assert len(files) == 2
    for record, other in zip(taught.checkpoints, plain.checkpoints, strict=True):
        told = read_header(record.path).metadata
        assert told["vultus_recognisers"] == PACK.recogniser.sha256
        assert "vultus_recognisers" not in read_header(other.path).metadata
        hashes = [read_header(p).metadata["sshs_model_hash"] for p in (record.path, other.path)]
        assert hashes[0] != hashes[1]
    sum_loras(
        [plain.checkpoints[0].path, files[1]],
        tmp_path / "mean.safetensors",
        weights=None,
        rank=None,
        precision="fp16",
    )
    convert_lora(
        files[0], tmp_path / "c.safetensors", to="kohya", precision="fp16", private=True, base=None
    )
    for made in ("mean", "c"):
        told = read_header(tmp_path / f"{made}.safetensors").metadata
        assert told["vultus_recognisers"] == PACK.recogniser.sha256
    used = recognisers_used([Checkpoint(1, "", files[0])])
    assert used == (PACK.recogniser.sha256,)


def test_a_killed_training_goes_on_bit_for_bit(
    tiny_base: Path, faces: list[TrainPicture], tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    class After:
        left = 2

        def advance(self, n: float = 1.0, note: str = "", *, remembered: bool = False) -> None:
            self.left -= not remembered
            if self.left == 0:
                raise Stop

    spec = replace(SPEC, identity_weight=1.0, views="added", view_enlarge_max=16.0)
    straight = recipe.train(spec, tiny_base, faces, tmp_path / "straight", 3)
    with pytest.raises(Stop):
        recipe.train(spec, tiny_base, faces, tmp_path / "cut", 3, After(), state_every_steps=1)
    again = recipe.train(spec, tiny_base, faces, tmp_path / "cut", 3)
    assert again.resumed_from == 2
    assert again.losses == straight.losses
    assert again.checkpoints[-1].path.read_bytes() == straight.checkpoints[-1].path.read_bytes()
