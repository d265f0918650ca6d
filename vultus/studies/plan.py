"""What a run does: vultus.toml as one frozen plan, with every setting documented.

A prompt contains the word {persona}. With the LoRA it reads "<trigger> <class words>"; for the impostor
renders, which show what the base draws without the persona, it reads "<class words>".

Prompts are listed by framing, because a face that fills the picture is easier to match than a small one:
a report that pools them says nothing about either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from vultus.core import specs
from vultus.core.errors import SpecError, UnknownNameError
from vultus.core.registry import hint
from vultus.core.specs import setting
from vultus.datasets.records import CurateSpec
from vultus.generation.records import SEED_MAX, RenderSpec
from vultus.notices.records import NotifySpec
from vultus.scoring.gate import GUARD_NAMES
from vultus.scoring.yardstick import IMPOSTORS_MIN
from vultus.steps.executors import parse_executor
from vultus.steps.kinds.resident import RENDERERS
from vultus.steps.kinds.train import TRAINERS
from vultus.sweeps.allocate import ALLOCATORS
from vultus.sweeps.budget import parse_amount
from vultus.sweeps.cells import PERSONA_WORD
from vultus.training.checks import contradictions
from vultus.training.records import TrainSpec

PLAN_FILE = "vultus.toml"
CLOCK_BLOCKS_MIN = 4


@dataclass(frozen=True)
class Prompts:
    """Prompts by framing. Each contains {persona}."""

    close_up: tuple[str, ...] = setting((), help="prompts whose face fills the picture")
    half_body: tuple[str, ...] = setting((), help="prompts that show head and chest")
    full_body: tuple[str, ...] = setting((), help="prompts that show the whole figure")

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Every prompt as (framing, text), in the order of the file."""
        return tuple((f.name, text) for f in fields(self) for text in getattr(self, f.name))


@dataclass(frozen=True)
class Blocks:
    """Prompts x seeds: one prompt with one seed is a block."""

    seeds: tuple[int, ...] = setting(
        (1,), help="starting noises of every prompt", low=0, high=SEED_MAX
    )
    prompts: Prompts = field(default_factory=Prompts)


@dataclass(frozen=True)
class SweepSpec:
    """Which cells are rendered and how the next ones are decided."""

    strengths: tuple[float, ...] = setting(
        (0.0, 0.4, 0.7, 1.0, 1.3),
        help="LoRA strengths; 0 shows the base alone and is always rendered",
    )
    face_detail: tuple[float, ...] = setting(
        (0.0,),
        help="how far a second pass over the enlarged face goes, each value a column of cells: 0 = off, 0.3 sharpens,"
        " 0.6 draws another face",
    )
    average: int = setting(
        0,
        help="how many of the last checkpoints are averaged into one more candidate beside them; 0 = none",
        low=0,
        high=100,
    )
    allocator: str = setting(
        "halving",
        help="halving drops the weaker half each round; racing drops what is proven worse; grid renders every cell",
        choices=lambda: ALLOCATORS.names(),
    )
    budget: str = setting(
        "",
        help='what sweep and confirmation may spend: "600 renders", "40 minutes" or "25 gpu-minutes";'
        " empty = five renders per cell and the confirmation",
    )
    finalists: int = setting(
        3, help="cells that are measured again on fresh blocks before one is chosen", low=1, high=20
    )
    indifference_m10: float = setting(
        0.1,
        help="cells this close to the best count as tied; the mildest of them is chosen",
        low=0.0,
        high=5.0,
    )


@dataclass(frozen=True)
class GateSettings:
    """The bar a chosen cell must clear on fresh prompts and seeds."""

    m10: float = setting(8.0, help="m10 the chosen cell must reach", low=0.0, high=10.0)
    worst_group_m10: float = setting(
        6.0, help="m10 that every framing of the panel must reach", low=0.0, high=10.0
    )
    miss_rate_max: float = setting(
        0.10, help="largest share of renders without a usable face", low=0.0, high=1.0
    )
    guards: tuple[str, ...] = setting(
        (),
        help="guard-rails that must have been measured before anything is certified: "
        + ", ".join(GUARD_NAMES),
    )
    confidence: float = setting(
        0.90, help="confidence of the one-sided bound that certifies", low=0.5, high=0.999
    )


@dataclass(frozen=True)
class GuardSettings:
    """Guard-rails beside m10: what looks at the renders, and a second judge."""

    second_pack: str = setting(
        "auto",
        help="a second face pack that judges the finalists beside the first: a name, name:recogniser or a folder;"
        " auto = another recogniser of the first pack, where it has one; none",
    )
    adherence: str = setting(
        "auto",
        help="who says how much of the prompt is in a picture: auto (the stand-in world's oracle for stand-in bases,"
        " CLIP where its folder is named), or none",
        choices=("auto", "none"),
    )
    clip: str = setting(
        "", help="folder of a CLIP model in transformers' layout, for real pictures; empty = none"
    )
    leakage_seeds: int = setting(
        1,
        help="seeds of the fresh panel that are rendered with the LoRA and the class words alone;"
        " 0 = leakage is not measured",
        low=0,
        high=100,
    )


@dataclass(frozen=True)
class ClockSpec:
    """Likeness as the clock of the training: every checkpoint is rendered and scored before the training goes on."""

    blocks: int = setting(
        0,
        help="blocks of the panel that are rendered and scored at every checkpoint while the training goes on;"
        " it stops when nothing is gained. 0 = off: the whole training first",
        low=0,
        high=10_000,
    )
    strength: float = setting(1.0, help="LoRA strength of those renders", low=0.01, high=4.0)
    patience: int = setting(
        2, help="checkpoints in a row without a gain beyond noise that end the training", low=1
    )
    confidence: float = setting(
        0.90, help="confidence of the interval that tells a gain from noise", low=0.5, high=0.999
    )


@dataclass(frozen=True)
class MachineSpec:
    """What does the work. None of this enters a key: it changes the speed, not the question."""

    executor: str = setting(
        "auto",
        help="who does the work: auto, inline, local:N (N workers, one per card), ray or ray:HOST:PORT",
    )
    device: str = setting("auto", help="where nets run", choices=("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class RunSpec:
    """vultus.toml: bases, face pack, curation, training, panel, sweep, gate."""

    bases: tuple[str, ...] = setting(
        ("standin/plain",),
        help="base models to render with: standin/<name>, a diffusers folder or one .safetensors file",
    )
    training_base: str = setting("", help="base the LoRA is trained on; empty = the first of bases")
    dataset: str = setting(
        "",
        help="a dataset frozen with `vultus dataset freeze` to train on: its folder, or DATASET/frozen/DIGEST;"
        " empty = curate the pictures folder",
    )
    loras: tuple[str, ...] = setting(
        (),
        help="LoRA files to measure instead of training one, each a checkpoint of the sweep; [train] is then not read",
    )
    face_pack: str = setting("standin", help="face pack that measures: a name or a folder")
    seed: int = setting(1, help="seed of every random stream of the run", low=0, high=2**31 - 1)
    trainer: str = setting("native", help="who trains", choices=lambda: TRAINERS.names())
    renderer: str = setting("diffusers", help="who renders", choices=lambda: RENDERERS.names())
    curate: CurateSpec = field(default_factory=CurateSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    clock: ClockSpec = field(default_factory=ClockSpec)
    render: RenderSpec = field(default_factory=RenderSpec)
    panel: Blocks = field(default_factory=Blocks)
    confirm: Blocks = field(default_factory=Blocks)
    sweep: SweepSpec = field(default_factory=SweepSpec)
    guards: GuardSettings = field(default_factory=GuardSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    machine: MachineSpec = field(default_factory=MachineSpec)
    notify: NotifySpec = field(default_factory=NotifySpec)

    @property
    def trains_on(self) -> str:
        """Name of the base that the LoRA is trained on."""
        return self.training_base or self.bases[0]


def load_plan(path: Path) -> RunSpec:
    """Read vultus.toml; every fault of the file is named at once."""
    plan = specs.load(RunSpec, path)
    faults = plan_faults(plan, path.name, path.parent)
    if faults:
        raise SpecError(faults)
    return plan


def plan_faults(plan: RunSpec, where: str, folder: Path = Path()) -> list[str]:
    """Return what single settings cannot see: empty panels, prompts without persona, shared blocks.

    Paths of the plan begin at `folder`.
    """
    faults: list[str] = []
    try:
        parse_executor(plan.machine.executor)
    except UnknownNameError as fault:
        faults.append(f"{where}: [machine] {fault.what} (expected {fault.expected})")
    if not plan.bases:
        faults.append(f"{where}: bases is empty: name at least one base model")
    if _names_twice(plan.bases, folder):
        faults.append(f"{where}: bases names one base twice")
    if not any(strength > 0 for strength in plan.sweep.strengths):
        faults.append(f"{where}: [sweep] strengths needs a strength above 0")
    if any(strength < 0 for strength in plan.sweep.strengths):
        faults.append(f"{where}: [sweep] strengths may not be negative")
    if not plan.sweep.face_detail or any(not 0 <= one < 1 for one in plan.sweep.face_detail):
        faults.append(f"{where}: [sweep] face_detail wants values from 0 (off) to below 1")
    if _names_twice(plan.loras, folder):
        faults.append(f"{where}: loras names one file twice")
    faults.extend(f"{where}: [sweep] {fault}" for fault in _number_faults(plan))
    faults.extend(
        f"{where}: [gate] guards: there is no guard-rail {name!r}{hint(name, GUARD_NAMES)}"
        f" (expected some of {', '.join(GUARD_NAMES)})"
        for name in plan.gate.guards
        if name not in GUARD_NAMES
    )
    faults.extend(f"{where}: [sweep] average {fault}" for fault in _average_faults(plan))
    faults.extend(f"{where}: [clock] {fault}" for fault in _clock_faults(plan))
    faults.extend(f"{where}: [train] {fault}" for fault in contradictions(plan.train))
    for name, blocks in (("panel", plan.panel), ("confirm", plan.confirm)):
        faults.extend(f"{where}: [{name}{fault}" for fault in _block_faults(blocks))
    try:
        parse_amount(plan.sweep.budget)
    except ValueError as fault:
        faults.append(f"{where}: [sweep] budget: {fault}")
    shared = _pairs(plan.panel) & _pairs(plan.confirm)
    if shared:
        text, seed = sorted(shared)[0]
        faults.append(
            f"{where}: [confirm] repeats a block of the panel ({text!r}, seed {seed}):"
            " a cell is confirmed on blocks that did not choose it"
        )
    return faults


def _block_faults(blocks: Blocks) -> list[str]:
    faults = []
    rows = blocks.prompts.rows()
    if not rows:
        faults.append(".prompts] lists no prompt")
    if not blocks.seeds:
        faults.append("] seeds is empty")
    count = len(rows) * len(set(blocks.seeds))
    if rows and blocks.seeds and count < IMPOSTORS_MIN:
        faults.append(f"] has {count} blocks (prompts x seeds); the scale needs {IMPOSTORS_MIN}")
    if len(set(blocks.seeds)) != len(blocks.seeds):
        faults.append("] seeds names one seed twice")
    if len({text for _, text in rows}) != len(rows):
        faults.append(".prompts] lists one prompt twice")
    faults.extend(
        f".prompts] {framing}: {text!r} has no {PERSONA_WORD}"
        for framing, text in rows
        if PERSONA_WORD not in text
    )
    return faults


def _names_twice(names: Sequence[str], folder: Path) -> bool:
    """Whether two names stand for one file or folder: `plain` and `./plain`."""
    return len({(folder / Path(name).expanduser()).resolve() for name in names}) != len(names)


def _number_faults(plan: RunSpec) -> list[str]:
    # what a table shows alike is one cell to its reader
    return [
        f"{name} names one value twice"
        for name, values in (
            ("strengths", plan.sweep.strengths),
            ("face_detail", plan.sweep.face_detail),
        )
        if len({f"{value:g}" for value in values}) != len(values)
    ]


def _average_faults(plan: RunSpec) -> list[str]:
    count = plan.sweep.average
    if not count:
        return []
    saved = len(plan.train.checkpoint_steps)
    faults = []
    if plan.loras:
        faults.append("takes trained checkpoints; average given ones with `vultus lora average`")
    elif not 2 <= count <= saved:
        faults.append(f"is {count}: two or more, and the training saves {saved} checkpoints")
    if plan.train.dora:
        faults.append("does not go with [train] dora: magnitudes have no average")
    return faults


def _clock_faults(plan: RunSpec) -> list[str]:
    blocks = plan.clock.blocks
    if not blocks:
        return []
    faults = []
    if plan.trains_on not in plan.bases:
        faults.append("needs the training base among bases: it renders with it")
    if plan.loras:
        faults.append("times a training; with loras nothing is trained")
    if plan.trainer == "kohya":
        faults.append("needs a trainer that goes on exactly: native, not kohya")
    if blocks < CLOCK_BLOCKS_MIN:
        faults.append(f"blocks: fewer than {CLOCK_BLOCKS_MIN} tell nothing from noise")
    return faults


def _pairs(blocks: Blocks) -> set[tuple[str, int]]:
    return {(text, seed) for _, text in blocks.prompts.rows() for seed in blocks.seeds}


__all__ = [
    "PERSONA_WORD",
    "PLAN_FILE",
    "Blocks",
    "ClockSpec",
    "GateSettings",
    "GuardSettings",
    "MachineSpec",
    "Prompts",
    "RunSpec",
    "SweepSpec",
    "load_plan",
    "plan_faults",
]
