"""What a run hands over: whole files only, and never in the place of another file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vultus.core.errors import StoreError, TornBlobError
from vultus.core.keys import file_content_id
from vultus.reports.deliver import deliver
from vultus.studies.drive import drive
from vultus.studies.outcome import Outcome
from vultus.studies.workspace import Workspace
from vultus.testing.planted import make_workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Outcome]]:
    folder = make_workspace(tmp_path_factory.mktemp("ada") / "ada", pictures=20)
    yield Workspace(folder), drive(Workspace(folder), inline=True, quiet=True)


@pytest.fixture
def world(run: tuple[Workspace, Outcome]) -> tuple[Workspace, Outcome]:
    for name in ("loras", "reports"):
        shutil.rmtree(run[0].folder / name, ignore_errors=True)
    return run


def _loras(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workspace.folder / "loras").iterdir()}


def test_a_torn_checkpoint_is_not_delivered_over_the_good_one(
    world: tuple[Workspace, Outcome], tmp_path: Path
) -> None:
    workspace, outcome = world
    good = deliver(workspace, outcome)
    before = good.lora.read_bytes()
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(before[: len(before) // 2])
    checkpoints = tuple(
        replace(one, path=torn) if one == outcome.chosen_checkpoint else one
        for one in outcome.checkpoints
    )
    with pytest.raises(TornBlobError, match="torn or altered") as told:
        deliver(workspace, replace(outcome, checkpoints=checkpoints))
    assert told.value.next_command.startswith(f"vultus store verify {workspace.folder};")
    assert _loras(workspace) == {good.lora.name: before}


def test_an_altered_page_is_not_delivered(world: tuple[Workspace, Outcome]) -> None:
    workspace, outcome = world
    good = deliver(workspace, outcome)
    page = good.report.read_bytes()
    (stored,) = workspace.memory.glob("outputs/*/report.html")
    stored.chmod(0o644)
    try:
        stored.write_bytes(page.replace(b"Ada", b"Eve"))
        with pytest.raises(TornBlobError):
            deliver(workspace, outcome)
        assert good.report.read_bytes() == page
    finally:
        stored.write_bytes(page)


def test_another_file_of_that_name_stays_and_this_one_lies_beside_it(
    world: tuple[Workspace, Outcome],
) -> None:
    workspace, outcome = world
    first = deliver(workspace, outcome)
    plain = first.lora
    assert plain.stem.startswith("ada-step-0") and file_content_id(plain).startswith("sha256:")
    wanted = plain.read_bytes()
    plain.write_bytes(b"of another plan, or the user's own")
    second = deliver(workspace, outcome)
    assert second.lora.name == f"{plain.stem}-{second.report.stem}.safetensors"
    assert second.report == first.report and second.report.stem.startswith("run-")
    assert second.lora.read_bytes() == wanted
    assert plain.read_bytes() == b"of another plan, or the user's own"
    assert second.lora.name in " ".join(second.words)
    assert second.lora.name in second.report.read_text("utf-8")
    # asked again it finds its own file, also when the plain name has become free
    assert deliver(workspace, outcome) == second
    plain.unlink()
    assert deliver(workspace, outcome) == second
    assert _loras(workspace) == {second.lora.name: wanted}
    second.lora.unlink()
    third = deliver(workspace, outcome)
    assert third == first and plain.name in third.report.read_text("utf-8")
    assert second.lora.name not in third.report.read_text("utf-8")


def test_where_both_names_are_taken_nothing_is_written_over(
    world: tuple[Workspace, Outcome],
) -> None:
    workspace, outcome = world
    first = deliver(workspace, outcome)
    first.lora.write_bytes(b"one")
    second = deliver(workspace, outcome)
    second.lora.write_bytes(b"two")
    with pytest.raises(StoreError, match="not written over"):
        deliver(workspace, outcome)
    assert _loras(workspace) == {first.lora.name: b"one", second.lora.name: b"two"}
