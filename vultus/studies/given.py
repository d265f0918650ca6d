"""What a run starts from, looked up before any work: persona, plan, bases, face pack, pictures or a frozen dataset.

Everything that can be wrong with the user's input and needs no net is found here, in a second, so that nobody
learns after an hour of training that a base was a LoRA.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.core.errors import DatasetError, PackError, SpecError
from vultus.core.keys import content_id, file_content_id
from vultus.core.weights import require_lora
from vultus.datasets.adopt import find_frozen, refuse_unfit
from vultus.datasets.freeze import Frozen
from vultus.datasets.listing import Row, list_inputs
from vultus.datasets.persona import Persona
from vultus.faces.packs import Pack, find_pack
from vultus.scoring.eyes import EyeFile
from vultus.studies.bases import PACKAGED, Base, base_digest, find_base, packaged_oracle
from vultus.studies.plan import RunSpec
from vultus.studies.workspace import Workspace
from vultus.sweeps.cells import Block, Cell, list_blocks, list_cells


@dataclass(frozen=True)
class Checkpoint:
    """One weight file of the run: after how many steps, its content id, and where it lies."""

    step: int
    content_id: str
    path: Path
    averaged: tuple[int, ...] = ()
    """steps of the checkpoints that it is the average of; its own step is one that no training has"""

    @property
    def words(self) -> str:
        """What it is, in a word or two: the step, or `mean 675-900`."""
        return f"mean {self.averaged[0]}-{self.averaged[-1]}" if self.averaged else f"{self.step}"


@dataclass(frozen=True)
class Given:
    """The input of one run, resolved."""

    workspace: Workspace
    persona: Persona
    plan: RunSpec
    pictures: tuple[Row, ...]
    bases: dict[str, Base]
    pack_name: str
    pack: Pack
    frozen: Frozen | None = None
    retry_failed: bool = False
    second: tuple[str, Pack] | None = None
    """name and pack of the second judge"""
    eye: EyeFile | None = None
    """who says how much of a prompt is in a picture"""
    loras: tuple[Checkpoint, ...] = ()
    """files that are measured instead of training one"""

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the checkpoints, trained or given, and of their average."""
        if self.loras:
            return tuple(one.step for one in self.loras)
        trained = self.plan.train.checkpoint_steps
        return (*trained, trained[-1] + 1) if self.plan.sweep.average else trained

    @property
    def training_base(self) -> Base:
        """The base that the LoRA is trained on."""
        return self.bases[self.plan.trains_on]

    @property
    def panel(self) -> list[Block]:
        """The blocks every cell renders."""
        return list_blocks(self.plan.panel.prompts.rows(), self.plan.panel.seeds)

    @property
    def fresh(self) -> list[Block]:
        """The blocks that confirm the chosen cell and chose nothing."""
        return list_blocks(self.plan.confirm.prompts.rows(), self.plan.confirm.seeds)

    @property
    def leak_blocks(self) -> list[Block]:
        """The fresh blocks that are rendered with the LoRA and the class words, to see whether strangers change."""
        seeds = self.plan.confirm.seeds[: self.plan.guards.leakage_seeds]
        return [block for block in self.fresh if block.seed in seeds]

    @property
    def cells(self) -> list[Cell]:
        """Every cell with a LoRA."""
        sweep = self.plan.sweep
        return list_cells(self.plan.bases, self.steps, sweep.strengths, sweep.face_detail)

    @property
    def hints(self) -> dict[str, Any]:
        """What speeds the work up or finds it, and never enters a key."""
        return {
            "device": self.plan.machine.device,
            "face_pack": self.pack_name,
            "retry_failed": self.retry_failed,
        }


def gather(workspace: Workspace, *, retry_failed: bool = False) -> Given:
    """Resolve a workspace. Raises SpecError, DatasetError, WeightsError or PackError, before any work."""
    persona, plan = workspace.load()
    frozen: Frozen | None = None
    if plan.dataset:
        folder, frozen = find_frozen(workspace.folder / Path(plan.dataset).expanduser())
        refuse_unfit(folder, frozen, persona, plan.curate)
        pictures = _listed(frozen)
    else:
        pictures = list_inputs(workspace.pictures)
        _refuse_few(workspace.pictures, pictures, plan)
    workspace.refuse_unwritable()
    names = dict.fromkeys((*plan.bases, plan.trains_on))
    bases = {name: find_base(name, workspace.folder, workspace.memory) for name in names}
    pack_name = _pack_name(plan.face_pack, workspace.folder)
    pack = find_pack(pack_name)
    _refuse_own_judge(plan, pack)
    return Given(
        workspace,
        persona,
        plan,
        tuple(pictures),
        bases,
        pack_name,
        pack,
        frozen,
        retry_failed,
        second=_second_judge(plan, pack_name, pack, workspace.folder),
        eye=_eye(plan, workspace),
        loras=_given_loras(plan, workspace.folder),
    )


def _given_loras(plan: RunSpec, folder: Path) -> tuple[Checkpoint, ...]:
    """The LoRA files that the plan names, by their own steps where all of them tell different ones, else numbered."""
    paths = [(folder / Path(name).expanduser()).resolve() for name in plan.loras]
    told = [require_lora(path).metadata.get("ss_steps", "") for path in paths]
    steps = [int(one) if one.isdecimal() and one.isascii() else 0 for one in told]
    if 0 in steps or len(set(steps)) != len(steps):
        steps = list(range(1, len(paths) + 1))
    rows = zip(steps, paths, strict=True)
    return tuple(sorted((Checkpoint(s, file_content_id(p), p) for s, p in rows), key=_by_step))


def _by_step(one: Checkpoint) -> int:
    return one.step


def _second_judge(
    plan: RunSpec, pack_name: str, pack: Pack, folder: Path
) -> tuple[str, Pack] | None:
    """The second judge; `auto` takes another recogniser of the same pack, if it has one that teaches nobody."""
    asked = plan.guards.second_pack
    if asked == "none":
        return None
    taught = plan.train.identity_weight > 0
    teacher = find_pack(plan.train.identity_recogniser).recogniser.sha256 if taught else ""
    if asked != "auto":
        name = _pack_name(asked, folder)
        second = find_pack(name)
        if second.recogniser.sha256 in (teacher, pack.recogniser.sha256):
            raise PackError(
                f"the recogniser of {second.name} is the judge already, or teaches the LoRA",
                where="[guards] second_pack",
                expected="a third recogniser: the one that teaches, the judge and the second judge differ",
                next_command="choose another guards.second_pack in vultus.toml, or none",
            )
        return name, second
    others = [
        name
        for name, one in pack.spec.recognisers.items()
        if name != pack.recogniser_name and one.sha256 != teacher
    ]
    if not others:
        return None
    plain = pack_name.removesuffix(f":{pack.recogniser_name}")
    return f"{plain}:{others[0]}", pack.choose(others[0])


def _eye(plan: RunSpec, workspace: Workspace) -> EyeFile | None:
    """The eye for adherence: CLIP where it is named, else the oracle where every base is of the stand-in world."""
    if plan.guards.adherence == "none":
        return None
    if plan.guards.clip:
        folder = (workspace.folder / Path(plan.guards.clip).expanduser()).resolve()
        if not (folder / "config.json").is_file():
            raise SpecError(
                [f"[guards] clip: {folder} is no folder of a CLIP model"],
                next_command="name a folder with config.json and model.safetensors, or leave clip empty",
            )
        return EyeFile("clip", base_digest(folder, workspace.memory), folder, "cosine")
    if plan.renderer == "diffusers" and all(name.startswith(PACKAGED) for name in plan.bases):
        oracle = packaged_oracle()
        if oracle.is_file():
            return EyeFile("scene", base_digest(oracle, workspace.memory), oracle, "share")
    return None


def _listed(frozen: Frozen) -> list[Row]:
    """The pictures of a frozen manifest as a folder would be listed."""
    return [
        (row["name"], row["content_id"], content_id(row["caption"].encode()))
        for row in frozen.manifest["pictures"]
    ]


def _refuse_few(folder: Path, pictures: list[Row], plan: RunSpec) -> None:
    needed = plan.curate.references_min + plan.curate.training_min
    if len(pictures) >= needed:
        return
    count = len(pictures)
    raise DatasetError(
        "the folder holds no pictures"
        if count == 0
        else f"only {count} picture{'' if count == 1 else 's'} in the folder",
        where=str(folder),
        expected=f"at least {needed}: {plan.curate.references_min} held out as references,"
        f" {plan.curate.training_min} to train on; 30 or more serve better",
        next_command=f"put pictures of the persona into {folder} and run the same command again",
    )


def _refuse_own_judge(plan: RunSpec, pack: Pack) -> None:
    """Whoever is taught by a recogniser is not measured by it: its likeness rises by construction."""
    if plan.train.identity_weight <= 0:
        return
    taught = find_pack(plan.train.identity_recogniser)
    if taught.recogniser.sha256 == pack.recogniser.sha256:
        raise PackError(
            f"the recogniser of {pack.name} would teach the LoRA and measure it",
            where="[train] identity_recogniser",
            expected="another recogniser than that of face_pack",
            next_command="choose another train.identity_recogniser in vultus.toml",
        )


def _pack_name(name: str, folder: Path) -> str:
    """A pack given as a folder is relative to vultus.toml, like every path in it."""
    here = folder / Path(name).expanduser()
    return str(here.resolve()) if (here / "pack.toml").is_file() else name


__all__ = ["Checkpoint", "Given", "gather"]
