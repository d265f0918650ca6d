"""Start a workspace: an empty one for a new persona, or a copy of the bundled demo."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import DatasetError, SpecError
from vultus.core.files import disk_errors, write_bytes, write_text
from vultus.datasets.persona import PERSONA_FILE, Persona
from vultus.generation.records import RenderSpec
from vultus.studies.bases import PACKAGED
from vultus.studies.plan import PLAN_FILE, Blocks, Prompts, RunSpec, plan_faults
from vultus.training.records import TrainSpec

DEMO = "standin/demo"

FULL_SIZE_PX = 512
"""A training at this resolution or above is one of SDXL; the stand-in world's is 128."""
UNSET_BASE = "PATH/TO/YOUR_SDXL.safetensors"
"""What stands in a full-size plan until its user names a base; a run refuses it as a base that is not there."""

PANEL = Prompts(
    close_up=(
        "close-up photo of {persona}, smiling, in a garden, soft light",
        "close-up photo of {persona}, serious, in front of a grey wall, studio light",
        "close-up photo of {persona}, laughing, in a city street, evening light",
        "close-up photo of {persona}, looking to the left, at a window, side light",
    ),
    half_body=(
        "half body photo of {persona}, wearing a blue shirt, in a library, warm light",
        "half body photo of {persona}, wearing a coat, on a beach, overcast",
        "half body photo of {persona}, reading, in a kitchen, morning light",
        "half body photo of {persona}, looking to the right, in a park, sunlight",
    ),
    full_body=(
        "full body photo of {persona}, walking in a city street, daylight",
        "full body photo of {persona}, standing in a room, soft light",
        "full body photo of {persona}, sitting on stairs, shade",
        "full body photo of {persona}, on a mountain path, sunlight",
    ),
)
FRESH = Prompts(
    close_up=(
        "close-up photo of {persona}, surprised, in a cafe, warm light",
        "close-up photo of {persona}, calm, by the sea, overcast",
        "close-up photo of {persona}, smiling, at night, street lamps",
        "close-up photo of {persona}, thoughtful, in a train, side light",
    ),
    half_body=(
        "half body photo of {persona}, cooking, in a kitchen, bright light",
        "half body photo of {persona}, wearing a red dress, in a theatre, spotlight",
    ),
    full_body=(
        "full body photo of {persona}, running in a park, morning light",
        "full body photo of {persona}, leaning on a wall, sunset",
    ),
)


def make_workspace(
    folder: Path,
    *,
    name: str,
    trigger: str,
    class_words: str,
    provenance: str,
    adult: bool,
    train: TrainSpec | None = None,
    bases: Sequence[str] = (),
) -> list[Path]:
    """Make persona.toml, vultus.toml and pictures/ in a folder; nothing that exists is overwritten.

    Raises SpecError when provenance or age are not declared: they are nobody's default.
    """
    plan = first_plan(train or TrainSpec(), tuple(bases))
    faults = []
    if not provenance:
        faults.append(
            "say where the face comes from: --synthetic, or --consented for a real person"
        )
    if not adult:
        faults.append("say that the persona is an adult: --adult")
    existing = [n for n in (PERSONA_FILE, PLAN_FILE) if (folder / n).exists()]
    faults.extend(f"{folder / n} exists already and is left as it is" for n in existing)
    faults.extend(plan_faults(plan, PLAN_FILE))
    faults.extend(
        f"{name} is a stand-in base of 128 px, the preset is for full-size SDXL: leave out one of them"
        for name in plan.bases
        if is_full_size(plan) and name.startswith(PACKAGED)
    )
    if faults:
        raise SpecError(faults)
    persona = Persona(name, trigger, class_words, provenance, adult)
    written = {
        folder / PERSONA_FILE: specs.dumps(persona, comments=True),
        folder / PLAN_FILE: specs.dumps(plan, comments=True),
    }
    for path, text in written.items():
        write_text(path, text)
    with disk_errors(folder):
        (folder / "pictures").mkdir(exist_ok=True)
    return [*written, folder / "pictures"]


def first_plan(train: TrainSpec, bases: tuple[str, ...] = ()) -> RunSpec:
    """The plan that a new workspace begins with: who trains at full size renders so too, and measures photographs."""
    plan = RunSpec(
        train=train,
        panel=Blocks(seeds=(11,), prompts=PANEL),
        confirm=Blocks(seeds=(21, 22, 23), prompts=FRESH),
    )
    if is_full_size(plan):
        side = train.resolution_px
        # Practice for SDXL with this sampler, no measurement of ours: more steps change little, fewer leave faces soft.
        render = RenderSpec(
            steps=28, guidance=5.0, width_px=side, height_px=side, scheduler="dpmpp_2m_karras"
        )
        plan = replace(plan, bases=(UNSET_BASE,), face_pack="free", render=render)
    return replace(plan, bases=bases) if bases else plan


def is_full_size(plan: RunSpec) -> bool:
    """True for a plan of full-size SDXL, by what it trains at."""
    return plan.train.resolution_px >= FULL_SIZE_PX


def copy_demo(folder: Path) -> None:
    """Copy the bundled demo persona into a folder; files that are there stay as they are.

    Raises SpecError when the folder holds something that is no demo, so that nobody's files are mixed with ours.
    """
    source = demo_folder()
    files = sorted(path for path in source.rglob("*") if path.is_file())
    wanted = [path for path in files if path.parent == source or path.parent.name == "pictures"]
    wanted = [path for path in wanted if path.suffix != ".json"]
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN_FILE).is_file():
        raise SpecError(
            [f"{folder} holds other files"],
            next_command="choose an empty folder: vultus demo FOLDER",
        )
    if (folder / ".vultus").is_dir():
        return  # a demo that was begun: it goes on with what it began with
    for path in wanted:
        target = folder / path.relative_to(source)
        if not target.exists():
            with disk_errors(target):
                data = path.read_bytes()
            write_bytes(target, data)


def demo_folder() -> Path:
    """The bundled demo persona, found without importing the stand-in world."""
    spec = importlib.util.find_spec("vultus")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / DEMO
    if not (folder / PLAN_FILE).is_file():
        raise DatasetError(
            "the demo persona is not part of this installation",
            where=str(folder),
            expected="an installation with the stand-in world's data",
            next_command="vultus doctor",
        )
    return folder


__all__ = [
    "UNSET_BASE",
    "copy_demo",
    "demo_folder",
    "first_plan",
    "is_full_size",
    "make_workspace",
]
