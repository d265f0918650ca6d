"""What cannot end well, refused before anything is started: a budget, packages, tools, and who takes which base.

All of it is known from vultus.toml, the headers of the bases and what is installed here. A look-up of a finished run
needs none of it.
"""

from __future__ import annotations

import importlib.util

from vultus.core.errors import MissingExtraError, RenderError
from vultus.core.weights import require_base
from vultus.store.ledger import Ledger
from vultus.studies.cost import refuse_small_budget
from vultus.studies.given import Given
from vultus.sweeps.allocate import ALLOCATORS, Rules
from vultus.tools.places import current
from vultus.training.kohya.command import refuse_unknown_to_kohya
from vultus.training.kohya.trainer import refuse_folder

__all__ = ["refuse_hopeless"]


def refuse_hopeless(given: Given) -> None:
    """Raise the first fault that a run of this plan would end with hours later."""
    refuse_small_budget(given)
    ALLOCATORS.get(given.plan.sweep.allocator)(Rules())
    _refuse_bases(given)
    if not given.loras and not _has_trained(given):
        _refuse_trainer(given)


def _has_trained(given: Given) -> bool:
    """True where a training of this workspace is finished: what it needed may be gone, or on another machine."""
    if not given.workspace.was_begun:
        return False
    with Ledger.open(given.workspace.memory) as ledger:
        return any(ledger.outputs(step.key) is not None for step in ledger.steps("train"))


def _refuse_bases(given: Given) -> None:
    plan = given.plan
    if plan.renderer == "fake":
        return
    for name in plan.bases:
        kind = require_base(given.bases[name].path)
        if plan.renderer == "comfyui" and kind == "folder":
            raise RenderError(
                "ComfyUI renders with checkpoints of one file, and this base is a folder",
                where=f"bases: {name}",
                expected="an SDXL checkpoint as one .safetensors file, in ComfyUI's checkpoints folder",
                next_command='name another base in vultus.toml, or set renderer = "diffusers"',
            )


def _refuse_trainer(given: Given) -> None:
    plan = given.plan
    if plan.trainer == "native":
        require_base(given.training_base.path)
        if plan.train.optimizer == "adamw8bit" and not importlib.util.find_spec("bitsandbytes"):
            raise MissingExtraError(
                "the 8-bit optimizer's package is not installed",
                where='train.optimizer = "adamw8bit"',
                expected="the package bitsandbytes, or another optimizer",
                next_command="VULTUS_EXTRAS=gpu make setup",
            )
    if plan.trainer == "kohya":
        current("kohya")
        refuse_folder(given.training_base.path)
        refuse_unknown_to_kohya(plan.train)
