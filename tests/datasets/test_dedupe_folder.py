"""Dedupe of a dataset folder: proposals, decisions, views, and the search that replaces comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.test_dedupe import jpeg, resized, scene
from vultus.core.errors import DatasetError
from vultus.datasets import dedupe as room
from vultus.datasets import neighbours
from vultus.datasets.dedupe import Applied, apply, dedupe
from vultus.datasets.intake import ingest_sources
from vultus.datasets.library import Library
from vultus.datasets.prints import measure_print, pack, packed_parts
from vultus.datasets.records import CurateSpec, Entry, Lineage, SetAside
from vultus.images.hashing import pixel_id
from vultus.images.write import png_bytes
from vultus.reports.dataset_pages import proof


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Four pictures; of the first a mirrored crop and a JPEG, of the second a byte-equal copy."""
    source = tmp_path / "photos"
    source.mkdir()
    for name in ("a", "b", "c", "d"):
        Image.fromarray(scene(f"folder {name}")).save(source / f"{name}.png")
    a = scene("folder a")
    Image.fromarray(np.ascontiguousarray(a[20:150, 150:10:-1])).save(source / "a-crop.png")
    (source / "a-again.jpg").write_bytes(jpeg(a, 60))
    (source / "b-again.png").write_bytes((source / "b.png").read_bytes())
    with Library.create(tmp_path / "set") as made:
        ingest_sources(made, [source])
        yield made


def test_groups_are_proposals_until_the_user_says_so(library: Library) -> None:
    outcome = dedupe(library, CurateSpec())
    assert [group["keep"] for group in outcome["groups"]] == ["a.png", "b.png"]
    told = {m["name"]: (m["kind"], m["how"]) for g in outcome["groups"] for m in g["members"]}
    assert told == {
        "a-again.jpg": ("edited", "recoded"),
        "a-crop.png": ("edited", "mirrored"),
        "b-again.png": ("identical", "bytes"),
    }
    assert [g["reason"] for g in outcome["groups"]] == [
        "it is stored without loss",
        "the others are no better; it has the plainest name",
    ]
    assert len(library.kept()) == 7, "nothing goes without the user's word"
    assert {row.name for row in apply(library, outcome).fresh} == set(told)
    assert [one.name for one in library.kept()] == ["a.png", "b.png", "c.png", "d.png"]
    assert apply(library, outcome) == Applied((), (), ())
    library.undo("dedupe")
    assert len(library.kept()) == 7


def test_the_proof_lays_each_member_over_its_partner(library: Library) -> None:
    outcome = dedupe(library, CurateSpec())
    by_name = {entry.name: entry for entry in library.entries()}
    checked = 0
    for group in outcome["groups"]:
        for member in group["members"]:
            if member["matrix"] is None:
                continue
            laid = proof(
                library, by_name[member["name"]], by_name[member["partner"]], member["matrix"]
            )
            assert laid is not None
            red, cyan = laid[..., 0].astype(int), laid[..., 1].astype(int)
            inside = cyan > 90  # what the member does not cover is dark
            assert np.median(np.abs(red - cyan)[inside]) < 12, member["name"]
            checked += 1
    assert checked == 2


def test_the_user_may_choose_another_one(library: Library) -> None:
    outcome = dedupe(library, CurateSpec(), keep=["a-again.jpg", "b-again.png"])
    assert [group["keep"] for group in outcome["groups"]] == ["a-again.jpg", "b-again.png"]
    assert outcome["groups"][0]["reason"] == "you asked for it"
    with pytest.raises(DatasetError, match="no picture 'x'"):
        dedupe(library, CurateSpec(), keep=["x"])


def test_choosing_another_one_after_all_brings_it_back(library: Library) -> None:
    apply(library, dedupe(library, CurateSpec()))
    done = apply(library, dedupe(library, CurateSpec(), keep=["a-crop.png"]))
    assert ({row.name for row in done.fresh}, done.back) == ({"a.png"}, ("a-crop.png",))
    kept = [one.name for one in library.kept()]
    assert kept == ["a-crop.png", "b.png", "c.png", "d.png"], "a shot lost all its pictures"
    assert library.undo("dedupe") is not None and len(library.kept()) == 5, "the last word alone"
    assert library.undo("dedupe") is not None and len(library.kept()) == 7


def test_what_was_asked_for_stays_and_other_words_stand(library: Library) -> None:
    """A plain call after --keep goes by it; naming another one releases that one and nothing else."""
    apply(library, dedupe(library, CurateSpec(), keep=["a-crop.png"]))
    first = {one.name for one in library.kept()}
    outcome = dedupe(library, CurateSpec())
    assert outcome["groups"][0]["reason"] == "you asked for it"
    done = apply(library, outcome)
    assert (done.fresh, done.back) == ((), ()) and {one.name for one in library.kept()} == first
    again = apply(library, dedupe(library, CurateSpec(), keep=["a.png"]))
    assert again.back == ("a.png",) and {row.name for row in again.fresh} == {"a-crop.png"}
    assert "b-again.png" in library.set_aside()


def test_a_group_whose_best_is_set_aside_by_another_verb_stays(library: Library) -> None:
    outcome = dedupe(library, CurateSpec())
    library.decide("audit", [SetAside("a.png", "blurred")])
    done = apply(library, outcome)
    assert [row.name for row in done.fresh] == ["b-again.png"] and done.left == (
        ("a.png", "audit"),
    )
    assert {"a-again.jpg", "a-crop.png"} <= {one.name for one in library.kept()}


@pytest.mark.parametrize("mode", ["L", "1"])
def test_the_copy_in_colour_is_kept(tmp_path: Path, mode: str) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    original = Image.fromarray(resized(scene("in colour"), 800))
    original.save(source / "z-original.png")
    original.convert(mode).save(source / "a.png")
    (source / "a.txt").write_text("a caption", encoding="utf-8")
    with Library.create(tmp_path / "set") as library:
        ingest_sources(library, [source])
        (group,) = dedupe(library, CurateSpec())["groups"]
    assert (group["keep"], group["reason"]) == ("z-original.png", "it is in colour")
    assert [member["name"] for member in group["members"]] == ["a.png"]


def test_a_second_call_remembers_and_says_the_same(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dedupe(library, CurateSpec())

    def never(*_: object) -> None:
        raise AssertionError("compared again")

    monkeypatch.setattr(room, "compare", never)
    monkeypatch.setattr("vultus.datasets.prints.measure_print", never)
    # The kept one is compared with members anew only where no link is there; here all links are.
    assert dedupe(library, CurateSpec()) == first


def test_views_are_never_duplicates_of_their_parents(library: Library) -> None:
    before = dedupe(library, CurateSpec())
    c = scene("folder c")
    for n, (rgb, how) in enumerate(
        ((c[:140, :140], "view"), (c[10:90, 10:90], "crop"), (c, "mask"))
    ):
        entry = Entry(
            f"c-{how}-{n}.png", "", pixel_id(rgb), rgb.shape[1], rgb.shape[0], "PNG",
            lineage=Lineage("c.png", how, "made by the test"),
        )  # fmt: skip
        library.derive(entry, png_bytes(np.ascontiguousarray(rgb), xmp_ai=False))
    assert len(library.entries()) == 10
    assert dedupe(library, CurateSpec()) == before
    undeclared = Entry("c-lost.png", "", pixel_id(c[:140, :140]), 140, 140, "PNG")
    stored = library.blobs.put_bytes(png_bytes(np.ascontiguousarray(c[:140, :140]), xmp_ai=False))
    library.add([Entry(**{**vars(undeclared), "content_id": stored})])
    found = dedupe(library, CurateSpec())
    assert [group["keep"] for group in found["groups"]] == ["a.png", "b.png", "c.png"], (
        "without its lineage the same crop is a copy: the rule is the lineage, not blindness"
    )


def test_the_search_proposes_the_pairs_that_all_pairs_would_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "ALL_PAIRS_MAX", 10)
    pictures = [scene(f"search {n}") for n in range(30)]
    copies = {
        30: (3, np.ascontiguousarray(pictures[3][:, ::-1])),
        31: (7, resized(np.ascontiguousarray(pictures[7][20:120, 30:130]), 90)),
        32: (11, np.rot90(pictures[11])),
        33: (29, np.asarray(255 - (255 - pictures[29].astype(int)) * 0.7, np.uint8)),
    }
    pictures += [np.ascontiguousarray(rgb) for _, rgb in copies.values()]
    parts = [packed_parts(pack(measure_print(rgb))) for rgb in pictures]
    pairs = neighbours.candidate_pairs(len(parts), lambda a, b: parts[a:b], 31)
    assert {(of, n) for n, (of, _) in copies.items()} <= set(pairs)
    assert len(pairs) <= 34 * neighbours.MOST < 34 * 33 / 2
    assert pairs == neighbours.candidate_pairs(len(parts), lambda a, b: parts[a:b], 31)
