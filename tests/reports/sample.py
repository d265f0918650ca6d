"""A whole report with planted numbers and drawn pictures, for tests and for looking at.

    python -m tests.reports.sample FOLDER      writes FOLDER/report.html

Faces are simulated vectors scored by the real scorer, pictures come from the stand-in renderer: a
persona that fades into a stranger as strength falls. Nothing is trained.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vultus.core.seeds import stream
from vultus.images.write import save_png
from vultus.reports.build import write_report
from vultus.reports.records import (
    CellView,
    ChosenView,
    ContactRow,
    ContactSheet,
    Curve,
    DroppedPicture,
    Fact,
    GroupView,
    GuardView,
    PictureView,
    RunReport,
    SecondView,
    Timing,
    YardstickView,
)
from vultus.reports.words import run_limits, run_verdict
from vultus.scoring.gate import judge
from vultus.scoring.panel import score_cell
from vultus.scoring.records import CellScore, GateSpec, RenderRow
from vultus.scoring.yardstick import Yardstick
from vultus.standin.identity import Identity
from vultus.standin.nuisance import sample_nuisance, without_accessories
from vultus.standin.personas import persona
from vultus.standin.render import render
from vultus.stats.estimate import Estimate

Rows = NDArray[np.float64]
BASES = ("standin/plain", "standin/soft", "standin/ink")
STEPS = (125, 250, 375, 500)
STRENGTHS = (0.0, 0.4, 0.7, 1.0, 1.3)
FRAMINGS = ("close-up", "half body", "full body")
PROMPTS = tuple(
    f"{framing}, {more}"
    for framing in FRAMINGS
    for more in (
        "smiling, garden",
        "stern, city",
        "looking left, studio",
        "red striped shirt, room",
    )
)
D = 64


def _unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


class World:
    """Vectors with a planted peak: step 375, strength 1.0, the base `soft` a little ahead."""

    def __init__(self, peak: float = 0.82) -> None:
        rng = stream("sample", "world")
        self.peak = peak
        self.persona = _unit(rng.normal(size=D))
        self.strangers = {base: _unit(rng.normal(size=D)) for base in BASES}
        self.rng = rng

    def references(self, count: int) -> NDArray[np.float32]:
        rows = self.persona + self.rng.normal(size=(count, D)) * 0.08
        return _unit(rows).astype(np.float32)

    def rows(
        self, base: str, step: int, strength: float, seeds: tuple[int, ...]
    ) -> list[RenderRow]:
        share = self.share(base, step, strength)
        found = []
        for number, prompt in enumerate(PROMPTS):
            framing = prompt.split(",")[0]
            for seed in seeds:
                noise = stream("sample", prompt, seed).normal(size=D) * 0.06
                own = (
                    stream("sample", base, step, str(strength), prompt, seed).normal(size=D) * 0.05
                )
                fine = share - 0.05 * FRAMINGS.index(framing)
                emb = _unit(fine * self.persona + (1 - fine) * self.strangers[base] + noise + own)
                missing = strength >= 1.3 and framing == "full body" and number % 4 == 1
                state = "none" if missing else "ok"
                row = emb.astype(np.float32)
                found.append(RenderRow(prompt, seed, None if missing else row, state, framing))
        return found

    def share(self, base: str, step: int, strength: float) -> float:
        if strength == 0.0:
            return 0.06
        lead = {"standin/plain": 0.0, "standin/soft": 0.03, "standin/ink": -0.10}[base]
        learnt = 1.0 - 0.9 * np.exp(-step / 140.0) - 0.10 * max(0, step - 400) / 100
        dose = 1.0 - 0.75 * (strength - 1.0) ** 2 - 0.25 * max(0.0, 1.0 - strength)
        return float((self.peak + lead) * learnt * dose)


class Pictures:
    """Draws and keeps pictures; asked twice it gives the same file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.who = persona(3)
        self.other = {base: persona(40 + i) for i, base in enumerate(BASES)}

    def render(self, prompt: str, seed: int, base: str, share: float) -> Path:
        z = share * self.who.z + (1 - share) * self.other[base].z
        framing = prompt.split(",")[0]
        scene = without_accessories(
            sample_nuisance(stream("sample", "scene", prompt, seed), framing=framing)
        )
        style = base.rsplit("/", 1)[-1]
        return self._save(render(Identity(z.astype(np.float32)), scene, style=style).rgb, True)

    def own(self, number: int, change: Callable[[Rgb], Rgb] | None = None) -> Path:
        rng = stream("sample", "own", number)
        scene = without_accessories(sample_nuisance(rng, framing=FRAMINGS[number % 3]))
        rgb = render(self.who, scene).rgb
        return self._save(rgb if change is None else change(rgb), False)

    def stranger(self) -> Path:
        scene = sample_nuisance(stream("sample", "stranger"), framing="close-up")
        return self._save(render(persona(77), scene).rgb, False)

    def _save(self, rgb: Rgb, generated: bool) -> Path:
        path = self.folder / f"{len(list(self.folder.iterdir())):04d}.png"
        save_png(path, np.ascontiguousarray(rgb), xmp_ai=generated)
        return path


Rgb = NDArray[np.uint8]


GUARDS = (
    GuardView(
        "copying",
        True,
        "nearer to trained than to held-out pictures by 0.20 (-0.4 to 0.8) m10",
    ),
    GuardView("framing", None, "faces are 1.31 times as high as the base's (1.12 to 1.53)"),
    GuardView(
        "diversity",
        False,
        "pictures differ 0.41 times as much as the base's (0.33 to 0.51)",
    ),
    GuardView("adherence", None, "adherence was not measured: name a CLIP model", measured=False),
    GuardView("leakage", False, "class words gain 5.1 (3.9 to 6.2) m10", counted=False),
)


TIMINGS = (
    Timing("curate 47 pictures", 6.1, "36 kept, 11 dropped"),
    Timing("train", 71.4, "500 steps, 4 checkpoints"),
    Timing("render", 128.9, "1,224 renders of 51 cells"),
    Timing("read faces", 44.2, "1,260 pictures"),
    Timing("score", 1.3, "51 cells"),
    Timing("confirm", 9.7, "24 fresh renders"),
)


def sample_report(folder: Path, *, peak: float = 0.82, sheet_rows: int = 6) -> RunReport:
    """The record of a run that went well (or, with a low peak, not so well)."""
    folder.mkdir(parents=True, exist_ok=True)
    world, pictures = World(peak), Pictures(folder)
    references = world.references(14)
    yardsticks = {base: _yardstick(world, references, base) for base in BASES}
    scores = {
        (base, step, strength): score_cell(
            yardsticks[base], world.rows(base, step, strength, (1, 2))
        )
        for base in BASES
        for strength in STRENGTHS
        for step in (STEPS if strength else (0,))
    }
    lora = {cell: s for cell, s in scores.items() if cell[2] > 0}
    best = max(lora, key=lambda cell: lora[cell].m10.value)
    limit = lora[best].m10.value - 0.3
    tied = {cell for cell, score in lora.items() if score.m10.value >= limit}
    winner = min(tied, key=lambda cell: (cell[2], cell[1]))
    fresh = score_cell(yardsticks[winner[0]], world.rows(*winner, seeds=(11, 12)))
    chosen = _chosen(winner, lora[winner], fresh)
    report = RunReport(
        title="Ada",
        subtitle="run of 22 November 2026",
        created="2026-11-22 08:14 UTC",
        verdict=run_verdict(chosen, "Ada"),
        chosen=chosen,
        cells=tuple(
            CellView(*cell, score.m10, score.misses, score.n_renders, cell == winner, cell in tied)
            for cell, score in scores.items()
        ),
        yardsticks=(_scale_view(yardsticks[winner[0]], fresh, winner[0]),),
        sheets=_sheets(world, pictures, winner, scores, fresh, sheet_rows),
        losses=(_loss(),),
        timings=TIMINGS,
        facts=(
            Fact("LoRA", "ada-000375.safetensors"),
            Fact("weights", "sha256:51c0a4be2f7d"),
            Fact("face pack", "standin (Apache-2.0)"),
        ),
        environment={"vultus": "0.1.0", "torch": "2.13.0+cpu", "machine": "2 cores, 23 GiB"},
        limits=run_limits(1, len(PROMPTS), 14),
        guards=GUARDS,
        second=SecondView(
            "standin:b",
            scores[winner].m10,
            Estimate(6.2, 5.1, 7.3, "m10", 24),
            "the second judge (standin:b) gives m10 6.2 (5.1 to 7.3) and would refuse",
            0.71,
            False,
        ),
    )
    return _with_dataset(report, pictures, yardsticks[winner[0]])


def _yardstick(world: World, references: NDArray[np.float32], base: str) -> Yardstick:
    rows = world.rows(base, 0, 0.0, (1, 2, 3, 4))
    rows = [replace(row, prompt_id=row.prompt_id) for row in rows]
    faces = np.stack([row.emb for row in rows if row.emb is not None])
    prompts = [row.prompt_id for row in rows]
    return Yardstick.freeze(references, faces, prompts, "sha256:" + "5" * 64, base=base)


def _chosen(cell: tuple[str, int, float], screened: CellScore, fresh: CellScore) -> ChosenView:
    verdict = judge(GateSpec(m10=7.0, worst_group_m10=5.0), fresh)
    return ChosenView(
        *cell,
        m10=fresh.m10,
        yield_share=fresh.yield_share,
        misses=fresh.misses,
        n_renders=fresh.n_renders,
        cosine_mean=fresh.cosine_mean,
        llr10_mean=fresh.llr10_mean,
        screening=screened.m10,
        groups=tuple(GroupView(g.name, g.m10, g.misses, g.n_renders) for g in fresh.groups),
        gate_answer=verdict.answer,
        gate_bar=7.0,
        gate_reasons=verdict.reasons,
        file_name="ada-000375.safetensors",
        trigger="vlt ada woman",
    )


def _scale_view(yardstick: Yardstick, fresh: CellScore, base: str) -> YardstickView:
    return YardstickView(
        label=f"Measured on {base}",
        references=tuple(float(x) for x in yardstick.genuine),
        impostors=tuple(float(x) for x in yardstick.strangers),
        renders=tuple(r.cosine for r in fresh.renders if r.cosine is not None),
        cllr=yardstick.calibration.cllr,
        cllr_min=yardstick.calibration.cllr_min,
        digest=yardstick.digest,
        pack="standin (Apache-2.0)",
    )


def _sheets(
    world: World,
    pictures: Pictures,
    winner: tuple[str, int, float],
    scores: dict[tuple[str, int, float], CellScore],
    fresh: CellScore,
    count: int,
) -> tuple[ContactSheet, ...]:
    base, step, strength = winner

    def tile(prompt: str, seed: int, s: float, score: CellScore) -> PictureView:
        mark = next(r for r in score.renders if (r.prompt_id, r.seed) == (prompt, seed))
        share = 0.0 if s == 0 else min(1.0, world.share(base, step, s) * 1.1)
        return PictureView(
            pictures.render(prompt, seed, base, share),
            name=f"{prompt}, seed {seed}",
            points=None if mark.cosine is None else mark.points,
            state=mark.state,
            generated=True,
        )

    across = [
        ContactRow(
            prompt,
            tuple(tile(prompt, 1, s, scores[base, step if s else 0, s]) for s in STRENGTHS),
        )
        for prompt in PROMPTS[:: max(1, 12 // count)][:count]
    ]
    new = [
        ContactRow("", tuple(tile(p, 11, strength, fresh) for p in PROMPTS[i : i + 6]))
        for i in (0, 6)
    ]
    return (
        ContactSheet(
            "One row, one prompt and one starting noise; only the strength changes",
            tuple("base alone" if s == 0 else f"{s:.1f}" for s in STRENGTHS),
            tuple(across),
            chosen_column=STRENGTHS.index(strength),
        ),
        ContactSheet("Fresh renders of the chosen cell", (), tuple(new), "They chose nothing."),
    )


def _loss() -> Curve:
    rng = stream("sample", "loss")
    points = [
        (float(step), float((0.07 + 0.09 * np.exp(-step / 90)) * np.exp(rng.normal() * 0.28)))
        for step in range(1, 501)
    ]
    return Curve("training", tuple(points))


def _with_dataset(report: RunReport, pictures: Pictures, yardstick: Yardstick) -> RunReport:
    own = [pictures.own(i) for i in range(36)]
    names = [f"ada_{i:02d}.png" for i in range(36)]
    views = [PictureView(path, name=name) for path, name in zip(own, names, strict=True)]
    references = tuple(
        replace(view, cosine=float(c)) for view, c in zip(views, yardstick.genuine, strict=False)
    )

    def twin(i: int, change: Callable[[Rgb], Rgb], reason: str, words: str) -> DroppedPicture:
        shown = PictureView(pictures.own(i, change), name=f"copy of {names[i]}")
        return DroppedPicture(shown, reason, words, views[i])

    dropped = (
        twin(4, lambda rgb: rgb, "Exact copy", "Every pixel is the same."),
        twin(9, lambda rgb: np.flip(rgb, 1), "Mirrored copy", "6 of 256 hash bits differ."),
        twin(11, lambda rgb: rgb[8:112, 10:114], "Cropped copy", "41 points of the picture match."),
        twin(15, lambda rgb: (rgb * 0.8).astype(np.uint8), "Edited copy", "Darker; 9 of 256 bits."),
        DroppedPicture(
            PictureView(pictures.stranger(), name="IMG_2231.png", cosine=0.11),
            "Somebody else",
            "Its cosine to the others is 0.11; theirs are 0.61 to 0.84.",
        ),
        DroppedPicture(
            PictureView(pictures.own(70), name="blurred.png"), "Blurred", "Sharpness 0.02."
        ),
    )
    return replace(
        report,
        references=references,
        trained=tuple(views[14:]),
        n_pictures=36 + len(dropped),
        dropped=dropped,
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_report(sample_report(target / "pictures"), target / "report.html")
