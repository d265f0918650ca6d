"""A frozen manifest has one digest, refuses a split that leaks, and exports the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.curation.hostile import picture_bytes
from vultus.core.errors import DatasetError
from vultus.datasets.exports import FORMATS, export
from vultus.datasets.freeze import bucket_of, freeze, frozen_digests, read_frozen
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.datasets.persona import Persona
from vultus.datasets.records import Entry, Lineage, SetAside
from vultus.images.load import decode_picture, load_picture
from vultus.images.write import png_bytes

ADA = Persona("Ada", "ohwx", "woman", "synthetic", True)


def filled(folder: Path) -> Library:
    source = folder.parent / f"{folder.name}-photos"
    source.mkdir()
    for n in range(4):
        (source / f"{n}.png").write_bytes(picture_bytes(str(n)))
        (source / f"{n}.txt").write_text(f"photo of ohwx woman, hat {n}", encoding="utf-8")
    library = Library.create(folder)
    ingest_sources(library, [source])
    return library


def split_as(library: Library, *references: str) -> None:
    """The outcome of a split that holds these out, of the pictures that are kept now."""
    kept = {one.name: one.content_id for one in library.kept() if not one.derived}
    assert set(references) <= set(kept)
    library.write_stage(
        "split", {"roles": dict.fromkeys(references, "reference"), "contents": kept}
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_same_decisions_give_the_same_digest_anywhere(tmp_path: Path) -> None:
    with filled(tmp_path / "one") as one, filled(tmp_path / "two") as two:
        first = freeze(one, persona=ADA)
        assert freeze(two, persona=ADA).digest == first.digest == freeze(one, persona=ADA).digest
        assert frozen_digests(one) == [first.digest[7:23]]
        one.decide("dedupe", [SetAside("0.png", "edited", "1.png")])
        second = freeze(one, persona=ADA)
        assert second.digest != first.digest and len(frozen_digests(one)) == 2
        assert read_frozen(one, second.digest) == second
        one.undo("dedupe")
        assert freeze(one, persona=ADA).digest == first.digest
        with pytest.raises(DatasetError, match="2 frozen manifests"):
            read_frozen(one)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        path = freeze(library).path
        path.write_text(path.read_text().replace("hat 1", "hat 9"), encoding="utf-8")
        with pytest.raises(DatasetError, match="changed after it was frozen"):
            read_frozen(library)


def test_a_split_that_tears_a_shot_apart_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        group = {"keep": "0.png", "reason": "", "members": [{"name": "1.png", "kind": "burst"}]}
        library.write_stage("dedupe", {"groups": [group]})
        split_as(library, "0.png")
        with pytest.raises(DatasetError, match=r"0\.png is held out and 1\.png is trained on"):
            freeze(library)
        split_as(library, "0.png", "1.png")
        roles = [row["role"] for row in freeze(library).manifest["pictures"]]
        assert roles == ["reference", "reference", "training", "training"]


def test_pictures_that_came_or_came_back_after_the_split_are_refused(tmp_path: Path) -> None:
    """They would be trained on without anybody's word, even a copy of a held-out reference."""
    with filled(tmp_path / "set") as library:
        library.decide("audit", [SetAside("2.png", "blurred")])
        split_as(library, "0.png")
        assert len(freeze(library).manifest["pictures"]) == 3
        library.undo("audit")
        with pytest.raises(DatasetError, match=r"does not know 2\.png:") as refused:
            freeze(library)
        assert refused.value.next_command == f"vultus dataset split {tmp_path / 'set'}"
        more = tmp_path / "more"
        more.mkdir()
        for n in range(9, 4, -1):
            (more / f"{n}.png").write_bytes(picture_bytes(str(n)))
        ingest_sources(library, [more])
        with pytest.raises(DatasetError, match=r"2\.png, 5\.png, 6\.png, 7\.png and 2 more"):
            freeze(library)
        split_as(library, "0.png")
        assert len(freeze(library).manifest["pictures"]) == 9
        changed = {**(library.read_stage("split") or {})["contents"], "3.png": "sha256:else"}
        library.write_stage("split", {"roles": {}, "contents": changed})
        with pytest.raises(DatasetError, match=r"does not know 3\.png:"):
            freeze(library)


def test_a_split_of_the_version_before_stands_where_nothing_came(tmp_path: Path) -> None:
    """It noted names only; a new split with other words would train on what was held out."""
    with filled(tmp_path / "set") as library:
        names = [entry.name for entry in library.kept()]
        roles = {name: "reference" if name == "0.png" else "training" for name in names[:-1]}
        stage = {"roles": roles, "unused": names[-1:], "seed": 7}
        library.write_stage("split", stage)
        rows = freeze(library).manifest["pictures"]
        assert [row["name"] for row in rows if row["role"] == "reference"] == ["0.png"]
        library.write_stage("split", {**stage, "unused": []})
        with pytest.raises(DatasetError, match="does not know") as refused:
            freeze(library)
        assert refused.value.next_command.endswith(" --seed 7")


@pytest.mark.parametrize("same", ["bytes", "pixels"])
def test_equal_pictures_are_one_shot_whatever_dedupe_said(tmp_path: Path, same: str) -> None:
    data = picture_bytes("0")
    if same == "pixels":
        data = png_bytes(decode_picture(data, Path("0.png")).rgb, {"Note": "x"}, xmp_ai=False)
    (tmp_path / "copy.png").write_bytes(data)
    with filled(tmp_path / "set") as library:
        ingest_sources(library, [tmp_path / "copy.png"])
        found = {one.name: one for one in library.entries()}
        assert found["copy.png"].pixel_id == found["0.png"].pixel_id
        assert (found["copy.png"].content_id == found["0.png"].content_id) is (same == "bytes")
        split_as(library, "0.png")
        with pytest.raises(DatasetError, match=r"0\.png is held out and copy\.png is trained on"):
            freeze(library)
        # Joined to what dedupe said: 1.png is a burst of the copy, so it is of the reference's shot, too.
        group = {"keep": "1.png", "reason": "", "members": [{"name": "copy.png", "kind": "burst"}]}
        library.write_stage("dedupe", {"groups": [group]})
        split_as(library, "0.png", "copy.png")
        with pytest.raises(DatasetError, match=r"0\.png is held out and 1\.png is trained on"):
            freeze(library)


def test_the_placeholder_of_the_persona_never_reaches_a_manifest(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        (tmp_path / "set-photos" / "2.txt").write_text("{persona} at sea", encoding="utf-8")
        ingest_sources(library, [tmp_path / "set-photos"])
        with pytest.raises(DatasetError, match=r"2\.png hold \{persona\}") as refused:
            freeze(library)
        assert "--persona" in refused.value.next_command
        captions = [row["caption"] for row in freeze(library, persona=ADA).manifest["pictures"]]
    assert captions[2] == "ohwx woman at sea" and captions[1] == "photo of ohwx woman, hat 1"


def test_words_that_changed_after_caption_are_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        own = {one.name: one.caption for one in library.kept()}
        library.write_stage("captions", {"captions": {**own, "0.png": "as agreed"}, "own": own})
        assert freeze(library).manifest["pictures"][0]["caption"] == "as agreed"
        (tmp_path / "set-photos" / "1.txt").write_text("a new hat", encoding="utf-8")
        ingest_sources(library, [tmp_path / "set-photos"])
        with pytest.raises(DatasetError, match=r"words changed .*: 1\.png") as refused:
            freeze(library)
        assert refused.value.next_command == f"vultus dataset caption {tmp_path / 'set'}"


def test_a_view_stands_on_its_parents_side(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        split_as(library, "0.png")
        view = Entry("0-face.png", "", "", 24, 24, "PNG", lineage=Lineage("0.png", "view", "face"))
        library.derive(view, picture_bytes("face"))
        rows = {row["name"]: row["role"] for row in freeze(library).manifest["pictures"]}
        assert rows["0-face.png"] == rows["0.png"] == "reference"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_same_manifest_exports_the_same_bytes(tmp_path: Path, form: str) -> None:
    with filled(tmp_path / "one") as one, filled(tmp_path / "two") as two:
        for library, name in ((one, "x"), (two, "y")):
            split_as(library, "3.png")
            mask = library.blobs.put_bytes(picture_bytes("mask"))
            library.write_stage("masks", {"masks": {f"{n}.png": mask for n in range(3)}})
            frozen = freeze(library, persona=ADA)
            made = export(library, frozen, form, tmp_path / name, repeats=2)
            assert made.pictures == 3, "references are not exported"
        with pytest.raises(DatasetError, match="not empty"):
            export(two, frozen, form, tmp_path / "y")
        original = load_picture(two.path(two.entries()[0])).rgb
    found = contents(tmp_path / "x")
    assert found == contents(tmp_path / "y") and len(found) >= 5
    pictures = sorted(n for n in found if n.endswith("00000.png") and not n.startswith("masks"))
    assert len(pictures) == 1
    with Image.open(tmp_path / "x" / pictures[0]) as image:
        assert np.array_equal(np.asarray(image), original) and not image.info
    told = json.loads((tmp_path / "x" / "export.json").read_text(encoding="utf-8"))
    listed = {name: one.removeprefix("sha256:") for name, one in told["files"].items()}
    assert listed == {name: one for name, one in found.items() if name != "export.json"}


def test_each_trainer_finds_what_it_looks_for(tmp_path: Path) -> None:
    with filled(tmp_path / "set") as library:
        frozen = freeze(library, persona=ADA)
        for form in FORMATS:
            export(library, frozen, form, tmp_path / form, repeats=3)
    kohya = tomllib.loads((tmp_path / "kohya" / "dataset.toml").read_text(encoding="utf-8"))
    subset = kohya["datasets"][0]["subsets"][0]
    assert (subset["image_dir"], subset["num_repeats"]) == ("3_ohwx woman", 3)
    assert kohya["general"]["flip_aug"] is False and "conditioning_data_dir" not in subset
    captions = sorted((tmp_path / "kohya" / "3_ohwx woman").glob("*.txt"))
    assert len(captions) == 4 and captions[2].read_text() == "photo of ohwx woman, hat 2\n"
    lines = (tmp_path / "diffusers" / "train" / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["file_name"] for line in lines] == [f"{n:05d}.png" for n in range(4)]
    concept = json.loads((tmp_path / "onetrainer" / "concepts.json").read_text())[0]
    assert concept["image"]["enable_random_flip"] is False and concept["balancing"] == 3.0


def test_buckets_are_steps_of_64_with_the_nearest_aspect() -> None:
    known = {(1024, 1024): (1024, 1024), (1600, 900): (1344, 768), (832, 1216): (832, 1216)}
    assert {size: bucket_of(*size, 1024) for size in known} == known
    checked = 0
    for width in range(200, 4000, 333):
        for height in range(200, 4000, 333):
            w, h = bucket_of(width, height, 1024)
            assert w % 64 == h % 64 == 0 and w * h <= 1024 * 1024
            checked += 1
    assert checked == 144
