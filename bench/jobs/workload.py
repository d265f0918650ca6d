"""What the survival matrix kills: a real training and a real sweep, each small.

    training    the native trainer on a stand-in base, as one step of a ledger; its state is saved
                at every optimizer step, and each optimizer step is noted in a diary
    sweep       60 renders by the fake renderer, each a step of a ledger, begun by a job's command

`plant(folder)` makes an interpreter that runs `-m vultus drill ...` as this work and everything
else as it is, so that every launcher is given the same command line. (A whole `vultus run` is what
`bench.jobs.kills` kills: at 12 CPU seconds a run it is too dear for a matrix.)
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["OPTIMIZER_STEPS", "RENDERS", "diary", "main", "plant", "prepare", "sweep_attempts"]

OPTIMIZER_STEPS = 10
RENDERS = 60
PAUSE_S = 0.05
ROOT = Path(__file__).resolve().parents[2]

INTERPRETER = """#!{python}
import sys
sys.path[:0] = [{root!r}]
sys.argv = sys.argv[2:]
if sys.argv[0] == "vultus" and sys.argv[1:2] == ["drill"]:
    from bench.jobs.workload import main
    sys.exit(main(sys.argv[2], sys.argv[3]))
import runpy
name = sys.argv[0]
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""


def plant(folder: Path) -> Path:
    """Write the interpreter and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python"
    path.write_text(INTERPRETER.format(python=sys.executable, root=str(ROOT)))
    path.chmod(0o755)
    return path


def prepare(kind: str, folder: Path) -> list[str]:
    """Make what the work needs; return the words after `vultus`."""
    folder.mkdir(parents=True)
    return ["drill", kind, str(folder)]


def diary(folder: Path) -> Counter[str]:
    """How often each optimizer step was done."""
    path = folder / "diary"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def sweep_attempts(folder: Path) -> Counter[str]:
    """How often each step of the ledger was begun, by key."""
    from vultus.store.ledger import Ledger

    if not (folder / ".vultus" / "ledger.sqlite").exists():
        return Counter()
    with Ledger.open(folder / ".vultus") as ledger:
        return Counter(attempt.step_key for attempt in ledger.attempts())


def main(kind: str, place: str) -> int:
    """Do the work, attached to a job if there is one."""
    from vultus.jobs.attached import attach

    job = attach()
    code, crash = 130, ""
    try:
        (_train if kind == "training" else _sweep)(Path(place))
        (Path(place) / "finished").touch()
        code = 0
    except KeyboardInterrupt:
        pass
    except Exception as fault:  # noqa: BLE001  told as the command line tells it
        code, crash = 2, f"{type(fault).__name__}: {fault}"
    if job is not None:
        job.say_last_word(code, crash=crash)
    return code


def _train(folder: Path) -> None:
    from vultus.core.progress import Progress
    from vultus.images.write import save_png
    from vultus.steps.run import run_once
    from vultus.steps.step import Step
    from vultus.store.ledger import Ledger
    from vultus.studies.bases import packaged_base
    from vultus.testing.planted import texture
    from vultus.training.native.recipe import train
    from vultus.training.records import TrainPicture, TrainSpec

    picture = folder / "picture.png"
    if not picture.exists():
        save_png(picture, texture("drill", 64), xmp_ai=False)
    spec = TrainSpec(steps=OPTIMIZER_STEPS, batch=1, checkpoints=2, resolution_px=64, rank=4)
    base = packaged_base("standin/plain")
    pictures = [TrainPicture(picture, "photo of ohwx woman", (64, 64))]

    class Noted(Progress):
        def advance(
            self, n: float = 1.0, note: str = "", *, remembered: bool = False, pace: str = ""
        ) -> None:
            super().advance(n, note, remembered=remembered, pace=pace)
            if not remembered:
                handle = os.open(folder / "diary", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(handle, f"{int(self.done)}\n".encode())
                os.close(handle)

    def work(scratch: Path) -> Mapping[str, Path]:
        out = scratch / "training"
        with Noted(OPTIMIZER_STEPS, "train", "steps", tty=False) as progress:
            done = train(spec, base, pictures, out, 1, progress, state_every_steps=1)
        return {record.path.name: record.path for record in done.checkpoints}

    with Ledger.open(folder / ".vultus") as ledger:
        run_once(Step("train", 1, {"drill": 1}), ledger, work)


def _sweep(folder: Path) -> None:
    from vultus.core.progress import Progress
    from vultus.generation.backends.fake import open_renderer, write_fake_base
    from vultus.generation.records import RenderRequest, RenderSpec
    from vultus.images.write import save_png
    from vultus.steps.run import run_once
    from vultus.steps.step import Step
    from vultus.store.ledger import Ledger

    renderer = open_renderer(
        write_fake_base(folder / "base"), RenderSpec(width_px=64, height_px=64)
    )
    with (
        Ledger.open(folder / ".vultus") as ledger,
        Progress(RENDERS, "sweep", "renders", tty=False) as progress,
    ):
        for seed in range(RENDERS):
            worked = False

            def work(scratch: Path, seed: int = seed) -> Mapping[str, Path]:
                nonlocal worked
                worked = True
                (rgb,) = renderer.render([RenderRequest("photo of woman", seed)])
                time.sleep(PAUSE_S)
                save_png(scratch / "r.png", rgb)
                return {"r.png": scratch / "r.png"}

            run_once(Step("render", 1, {"seed": seed}), ledger, work)
            progress.advance(1, remembered=not worked)
