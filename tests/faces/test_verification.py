"""Error rates on samples whose rates are known, trials from folders and lists, charts that are files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from vultus.core.errors import FaceError
from vultus.core.seeds import stream
from vultus.faces.beside import disagreement
from vultus.faces.engines import open_engine
from vultus.faces.engines.fake import Planted, fake_pack, plant
from vultus.faces.plots import error_curve_svg, histogram_svg
from vultus.faces.reading import Reading, pictures_of, read_files
from vultus.faces.records import FaceResult
from vultus.faces.similarity import gather
from vultus.faces.trials import read_trials, write_tables
from vultus.faces.verification import (
    centroid_trials,
    equal_error_rate,
    pair_trials,
    true_accept_rate,
    verify,
    verify_people,
)
from vultus.images.write import save_png

CANVAS = np.full((96, 96, 3), 120, np.uint8)


def test_rates_of_known_samples() -> None:
    g = np.array([0.2, 0.6, 0.7, 0.8, 0.9])
    i = np.array([0.0, 0.1, 0.1, 0.3, 0.65])
    eer, cut = equal_error_rate(g, i)
    assert eer == pytest.approx(0.2) and 0.3 < cut <= 0.65
    assert true_accept_rate(g, i, 0.2) == pytest.approx(0.8)
    apart = verify(np.array([0.8, 0.9]), np.array([0.0, 0.1]))
    assert apart.eer == 0 and apart.tar[1e-3] == 1.0
    assert apart.d_prime == pytest.approx(0.8 / 0.05)
    with pytest.raises(FaceError, match="0 genuine"):
        verify(np.array([]), i)


def test_two_normal_humps_have_the_rate_of_the_formula() -> None:
    """Equal widths, d' apart: EER = Phi(-d'/2). Here d' = 2: 15.87 %."""
    rng = stream("tests.faces.verification", "normal")
    g, i = rng.normal(2, 1, 20_000), rng.normal(0, 1, 20_000)
    found = verify(g, i)
    assert found.eer == pytest.approx(0.1587, abs=0.006)
    assert found.d_prime == pytest.approx(2.0, abs=0.03)


def planted(people: int, each: int, likeness: float) -> tuple[list[FaceResult], list[str]]:
    engine = open_engine(fake_pack())
    who = [p for p in range(people) for _ in range(each)]
    plants = [Planted(p, likeness, noise_seed=k) for k, p in enumerate(who)]
    return engine.read_many([plant(CANVAS, one) for one in plants]), [f"p{p}" for p in who]


def test_people_with_planted_likeness() -> None:
    results, who = planted(8, 5, 0.9)
    v = gather(results)
    g, i = pair_trials(v, who)
    assert len(g) == 8 * 10 and len(i) == 40 * 39 // 2 - 80
    found = verify_people(v, who)
    assert found.genuine_mean == pytest.approx(0.81, abs=0.02)
    assert found.eer_low <= found.eer <= found.eer_high <= 0.05
    gc, ic = centroid_trials(v, who, stream("tests", "centroid"), draws=2)
    assert len(gc) == 80 and len(ic) == 560
    assert gc.mean() > g.mean() + 0.03  # a centroid is nearer than a single picture
    with pytest.raises(FaceError, match="more than 4"):
        centroid_trials(v, [f"x{k}" for k in range(40)], stream("tests", "centroid"))


def test_a_second_recogniser_that_agrees_and_one_that_does_not() -> None:
    results, _ = planted(4, 3, 0.9)
    same = disagreement(results, results)
    assert same.pearson == pytest.approx(1.0) and same.spearman == pytest.approx(1.0)
    assert max(abs(gap.gap) for gap in same.worst) < 1e-9
    other = open_engine(fake_pack()).read_many(
        [plant(CANVAS, Planted(k % 4 if k else 3, 0.9, noise_seed=100 + k)) for k in range(12)]
    )
    told = disagreement(results, other)
    assert told.pairs == 66 and told.pearson < 0.5
    assert abs(told.worst[0].gap) >= abs(told.worst[-1].gap) > 0.5
    with pytest.raises(FaceError, match="the same pictures"):
        disagreement(results, other[:-1])
    with pytest.raises(FaceError, match="only 2"):
        disagreement(results[:2], other[:2])


def folder_of_people(root: Path) -> None:
    for person in range(3):
        for k in range(3):
            state = "none" if (person, k) == (2, 2) else "ok"
            rgb = plant(CANVAS, Planted(person, 0.9, state=state, noise_seed=10 * person + k))  # type: ignore[arg-type]
            save_png(root / f"p{person}" / f"{k}.png", rgb, xmp_ai=False)


def test_a_folder_of_people_becomes_tables_and_charts(tmp_path: Path) -> None:
    folder_of_people(tmp_path / "people")
    (tmp_path / "people" / "p0" / "bad.png").write_bytes(b"no picture")
    engine = open_engine(fake_pack())
    trials = read_trials(tmp_path / "people")
    read = list(read_files(engine, trials.paths))
    seen = [one for one in read if isinstance(one, Reading)]
    assert len(read) == 10 and len(seen) == 9
    found = trials.run({one.picture.path: one.result for one in seen})
    assert found.figures.genuine == 3 + 3 + 1 and found.figures.impostors == 28 - 7
    assert len(found.unread) == 2 and found.missed == 45 - 28
    files = write_tables(tmp_path / "out", found, engine.pack)
    assert [path.name for path in files] == ["pairs.csv", "histogram.svg", "errors.svg"]
    lines = files[0].read_text().splitlines()
    assert len(lines) == 29 and lines[0] == "first,second,same,cosine,pack_digest"
    for path in files[1:]:
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg") and len(list(root)) > 8
    assert any("EER" in line for line in found.lines(engine.pack))
    assert found.record(engine.pack)["figures"]["genuine"] == 7


def test_a_list_of_pairs(tmp_path: Path) -> None:
    folder_of_people(tmp_path)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "first,second,same\np0/0.png,p0/1.png,yes\np0/0.png,p1/0.png,no\np0/0.png,p2/2.png,0\n"
    )
    trials = read_trials(pairs)
    assert len(trials.paths) == 4
    engine = open_engine(fake_pack())
    seen = [one for one in read_files(engine, trials.paths) if isinstance(one, Reading)]
    found = trials.run({one.picture.path: one.result for one in seen})
    assert (found.figures.genuine, found.figures.impostors, found.missed) == (1, 1, 1)
    pairs.write_text("first,second,same\na.png,b.png,perhaps\n")
    with pytest.raises(FaceError, match="line 2 is not a pair"):
        read_trials(pairs)
    with pytest.raises(FaceError, match="cannot be read"):
        read_trials(tmp_path / "absent.csv")
    with pytest.raises(FaceError, match="pictures of 1 people"):
        (tmp_path / "one" / "p").mkdir(parents=True)
        save_png(tmp_path / "one" / "p" / "a.png", CANVAS, xmp_ai=False)
        read_trials(tmp_path / "one")


def test_charts_hold_the_cut_and_both_samples() -> None:
    rng = stream("tests.faces.verification", "charts")
    g, i = rng.normal(0.8, 0.1, 300), rng.normal(0.1, 0.1, 900)
    text = histogram_svg(g, i, 0.44, "a < b & c")
    assert "equal errors at 0.44" in text and "900 pairs" in text and "a &lt; b &amp; c" in text
    ElementTree.fromstring(text)
    ElementTree.fromstring(error_curve_svg(g, i, "errors"))


def test_folders_and_files_are_listed_in_order(tmp_path: Path) -> None:
    folder_of_people(tmp_path)
    found = pictures_of([tmp_path / "p1", tmp_path / "p0" / "2.png"])
    assert [p.name for p in found] == ["0.png", "1.png", "2.png", "2.png"]
