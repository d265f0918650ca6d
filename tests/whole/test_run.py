"""The whole run in a planted world: it finds the planted truth, remembers everything, and tells it on one page."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vultus.cli.main import main
from vultus.core.errors import CardBusyError, MissingExtraError, ScoreError
from vultus.faces.engines.fake import Planted
from vultus.reports.sheets import contact_sheets
from vultus.scoring.gate import GUARD_NAMES
from vultus.scoring.second import SECOND_JUDGE
from vultus.store.ledger import Ledger
from vultus.studies.calibration import calibrate_workspace
from vultus.studies.drive import drive
from vultus.studies.outcome import Outcome
from vultus.studies.workspace import Workspace
from vultus.testing.planted import PERSONA, make_picture, make_workspace

BOX = (8.0, 8.0, 40.0, 40.0)


@dataclass
class World:
    """One finished run."""

    folder: Path
    outcome: Outcome


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = make_workspace(tmp_path_factory.mktemp("ada") / "ada", pictures=20)
    shutil.copy(folder / "pictures" / "p002.png", folder / "pictures" / "copy.png")
    make_picture(folder / "pictures" / "stranger.png", Planted(99, 0.95, "ok", BOX, 1), "stranger")
    yield World(folder, drive(Workspace(folder), inline=True, quiet=True))


def _attempts(folder: Path) -> list[tuple[str, str]]:
    with Ledger.open(folder / ".vultus") as ledger:
        return [(attempt.kind, attempt.state.value) for attempt in ledger.attempts()]


def test_the_planted_best_cell_is_chosen(world: World) -> None:
    chosen = world.outcome.choice.chosen
    assert chosen.base == "soft"
    assert chosen.strength == 0.8
    # The planted peak lies at 0.75 of the training; 0.5 and 1.0 are so near that the mildest of a tie may win.
    assert chosen.checkpoint in (4, 6)
    assert world.outcome.choice.best.checkpoint == 6


def test_the_base_alone_scores_zero(world: World) -> None:
    zeros = [one for one in world.outcome.cells if one.cell.strength == 0]
    assert [one.cell.base for one in zeros] == ["plain", "soft"]
    for one in (*zeros, world.outcome.fresh_alone):
        assert abs(one.score.m10.value) <= 1.0
        assert one.score.m10.low <= one.score.m10.value <= one.score.m10.high


def test_strength_rises_and_falls(world: World) -> None:
    line = [
        one.score.m10.value
        for one in sorted(world.outcome.cells, key=lambda one: one.cell)
        if one.cell.base == "soft" and one.cell.checkpoint in (0, 6)
    ]
    assert len(line) == 4
    assert line[0] < line[1] < line[2] > line[3]


def test_the_reported_number_comes_from_fresh_blocks(world: World) -> None:
    panel = {(b.template, b.seed) for b in world.outcome.cell(world.outcome.choice.chosen).renders}
    fresh = {(b.template, b.seed) for b in world.outcome.fresh.renders}
    assert len(panel) == 12 and len(fresh) == 8
    assert not panel & fresh
    assert world.outcome.fresh.score.yardstick_digest == world.outcome.fresh_scale.yardstick.digest


def test_references_were_split_off_before_training(world: World) -> None:
    outcome = world.outcome
    references = {member.content_id for member in outcome.dataset.references}
    trained = {member.content_id for member in outcome.dataset.training}
    assert len(references) == 12 and len(trained) == 8
    assert not references & trained
    assert {drop.reason for drop in outcome.dataset.drops} == {"identical", "off_persona"}
    for scale in outcome.scales:
        assert set(scale.yardstick.reference_ids) == references


def test_asking_again_is_a_look_up(world: World) -> None:
    before = _attempts(world.folder)
    assert len(before) > 60
    again = drive(Workspace(world.folder), inline=True, quiet=True)
    assert _attempts(world.folder) == before, "something was done again"
    assert again.choice == world.outcome.choice
    assert again.fresh.score == world.outcome.fresh.score
    assert again.stages == world.outcome.stages


def test_every_step_was_done_once(world: World) -> None:
    attempts = _attempts(world.folder)
    assert {state for _, state in attempts} == {"done"}
    kinds = [kind for kind, _ in attempts]
    # 2 bases x (impostors, alone) + 2 x 4 x 3 cells + confirmation (three finalists; impostors, alone of their base)
    # + the chosen LoRA with the class words alone
    assert {one.cell.base for one in world.outcome.finalists} == {"soft"}
    assert kinds.count("render") == kinds.count("read") == 2 * 2 + 24 + 3 + 2 + 1
    assert kinds.count("inspect") == 3
    assert kinds.count("train") == kinds.count("curate") == 1


def test_one_more_strength_renders_only_what_is_new(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    shutil.copytree(world.folder, folder)
    plan = (folder / "vultus.toml").read_text(encoding="utf-8")
    (folder / "vultus.toml").write_text(
        plan.replace("0.8, 1.2]", "0.8, 1.0, 1.2]"), encoding="utf-8"
    )
    before = len(_attempts(folder))
    drive(Workspace(folder), inline=True, quiet=True)
    new = [kind for kind, _ in _attempts(folder)[before:]]
    assert new.count("render") == new.count("read") == 8, (
        "one new strength x 2 bases x 4 checkpoints"
    )
    assert not {"curate", "train"} & set(new)


def test_halving_finds_the_same_cell_with_fewer_renders(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    shutil.copytree(world.folder, folder)
    plan = (folder / "vultus.toml").read_text(encoding="utf-8")
    (folder / "vultus.toml").write_text(
        plan.replace('allocator = "grid"', 'allocator = "halving"'), encoding="utf-8"
    )
    outcome = drive(Workspace(folder), inline=True, quiet=True)
    assert outcome.choice.chosen.base == "soft" and outcome.choice.chosen.strength == 0.8
    grid = sum(len(one.renders) for one in world.outcome.cells)
    assert sum(len(one.renders) for one in outcome.cells) < 0.6 * grid
    assert outcome.swept_rounds > 2
    chosen = outcome.choice.chosen
    row = [
        one
        for one in outcome.cells
        if (one.cell.base, one.cell.checkpoint) == (chosen.base, chosen.checkpoint)
    ]
    assert len(row) == 3 and outcome.row_renders > 0
    blocks = set(outcome.cell(chosen).renders)
    assert all(set(one.renders) == blocks for one in row), "the row of strengths has no holes"
    others = [len(one.renders) for one in outcome.cells if one not in row and one.cell.strength > 0]
    assert min(others) < len(blocks), "the rest keeps the holes that halving left"


def test_the_page_and_the_lora_are_delivered(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder.parent)
    code = main(["run", "ada", "--json", "--quiet"])
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["gate"] in ("certified", "provisional") else 1)
    assert said["chosen"]["base"] == "soft"
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert said["report"].startswith("ada/reports/")
    for words in ("Ada", "soft", "stranger.png", "another person", "Fresh prompts and seeds"):
        assert words in page, words
    assert not re.search(r'(?:src|href)="https?:', page), "the page loads something"
    lora = Path(said["lora"])
    assert lora.parent.name == "loras"
    assert lora.read_bytes() == world.outcome.chosen_checkpoint.path.read_bytes()
    stamp = Path(said["report"]).stat().st_mtime_ns
    main(["run", "ada", "--json", "--quiet"])
    assert json.loads(capsys.readouterr().out)["report"] == said["report"]
    assert Path(said["report"]).stat().st_mtime_ns == stamp, "the page was written again"


def test_a_finished_run_needs_no_card_no_package_and_no_tool(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on a rented machine, looked up on another one; what is not finished is refused as before."""

    def gone(*_: object) -> None:
        raise MissingExtraError("the 8-bit optimizer's package is not installed")

    monkeypatch.setattr("vultus.studies.drive.refuse_hopeless", gone)
    before = _attempts(world.folder)
    found = drive(Workspace(world.folder), inline=True, quiet=True)
    assert found.choice == world.outcome.choice and _attempts(world.folder) == before
    with pytest.raises(MissingExtraError):
        drive(Workspace(make_workspace(tmp_path / "new", pictures=20)), inline=True, quiet=True)


def test_a_workspace_that_is_calibrated_needs_no_card(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise CardBusyError("card 0 is in use by another job")

    monkeypatch.setattr("vultus.studies.calibration.lease", busy)
    before = _attempts(world.folder)
    found = calibrate_workspace(Workspace(world.folder), inline=True, quiet=True)
    assert found.healthy and len(found.scales) == 2 and _attempts(world.folder) == before
    with pytest.raises(CardBusyError):
        new = make_workspace(tmp_path / "new", pictures=20)
        calibrate_workspace(Workspace(new), inline=True, quiet=True)


def test_the_best_and_the_worst_are_shown_beside_the_base(world: World) -> None:
    (sheet,) = [one for one in contact_sheets(world.outcome) if one.title.startswith("Best")]
    assert [row.label for row in sheet.rows[:3]] == ["best", "middling", "worst"]
    points = [
        [view.points for view in row.pictures[0::2] if view is not None and view.points is not None]
        for row in sheet.rows[:3]
    ]
    assert [len(row) for row in points] == [2, 2, 2], "eight fresh renders: two of each"
    told = sorted((row.points for row in world.outcome.fresh.score.renders), reverse=True)
    assert points[0] == told[:2] and points[2] == told[-2:]
    assert min(points[0]) >= max(points[1]) >= min(points[1]) >= max(points[2])
    alone = set(world.outcome.fresh_alone.renders.values())
    beside = [view for row in sheet.rows[:3] for view in row.pictures[1::2] if view is not None]
    assert len(beside) == 6 and all(view.path in alone for view in beside)


def test_the_gate_looks_up_and_answers_with_its_exit_code(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _attempts(world.folder)
    codes = {}
    for bar in ("0.5", "9.9"):
        codes[bar] = main(["gate", str(world.folder), "--bar", bar, "--json"])
        said = json.loads(capsys.readouterr().out)
        assert {"pass": 0, "fail": 1, "undecided": 2}[said["decision"]] == codes[bar]
        assert said["conditions"][0]["name"] == "m10" and said["evidence"]
        assert said["m10"]["value"] == world.outcome.fresh.score.m10.value
    assert codes["9.9"] == 1 and codes["0.5"] in (0, 1, 2)
    assert _attempts(world.folder) == before, "the gate made something"
    empty = make_workspace(tmp_path / "empty", pictures=20)
    assert main(["gate", str(empty)]) == 2
    assert "not finished" in capsys.readouterr().err
    assert _attempts(empty) == []


def test_the_guard_rails_and_their_words_are_on_the_page_and_in_the_gate(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [one.name for one in world.outcome.guards]
    assert len(names) == len(set(names)) == 10 and "leakage" in names
    assert {*names, SECOND_JUDGE} == set(GUARD_NAMES), "what [gate] guards may name"
    told = {one.name: one for one in world.outcome.guards}
    assert not told["adherence"].measured, "nobody in the planted world knows prompts"
    assert told["copied pictures"].kept and told["flat pictures"].kept
    assert world.outcome.second is None, "the planted pack has one recogniser"
    main(["gate", str(world.folder), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in said["guards"]] == names
    counted = {one["name"] for one in said["conditions"]}
    assert "copying" in counted and not {"adherence", "leakage"} & counted


def test_a_blind_vote_is_dealt_answered_and_compared(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _attempts(world.folder)
    assert main(["votes", str(world.folder), "--pairs", "12", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    page = Path(said["page"]).read_text(encoding="utf-8")
    assert said["pairs"] == 16 and page.count("<fieldset") == 16
    assert "soft" not in page and "m10" not in page, "the page tells nothing about the cells"
    assert not re.search(r'(?:src|href)="https?:', page)
    answers = "".join("9 3\n" for _ in range(15)) + "eleven\n8 4\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    assert main(["votes", str(world.folder), "--pairs", "12", "--answer", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["marks"] == 24 and found["herself"] is not None
    votes = world.folder / "reports" / "votes.json"
    assert main(["votes", str(world.folder), "--pairs", "11", "--read", str(votes)]) == 2
    assert "another deck" in capsys.readouterr().err
    assert _attempts(world.folder) == before, "a vote made something"


def test_the_sweep_is_shown_and_exported(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "show", str(world.folder)]) == 0
    said = capsys.readouterr().out
    chosen = world.outcome.cell(world.outcome.choice.chosen).score.m10.value
    assert f"{chosen:.1f}*" in said and "plain" in said and "soft" in said
    assert len([line for line in said.splitlines() if line[:6].strip().isdigit()]) == 2 * 4
    assert main(["sweep", "show", str(world.folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 2 * (1 + 4 * 3)
    assert main(["sweep", "export", str(world.folder), str(tmp_path / "charts"), "--json"]) == 0
    files = [Path(one) for one in json.loads(capsys.readouterr().out)["files"]]
    drawings = [one for one in files if one.suffix == ".svg"]
    assert {one.name for one in drawings} >= {"strength.svg", "checkpoints.svg", "scale.svg"}
    assert [one.with_suffix(".png") for one in drawings] == files[1::2]
    for one in drawings:
        root = ElementTree.fromstring(one.read_text(encoding="utf-8"))
        assert root.tag.endswith("svg") and len(list(root)) > 5


def test_calibrate_is_what_a_run_needs_anyway(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _attempts(world.folder)
    assert main(["calibrate", str(world.folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["healthy"] and [y["base"] for y in said["yardsticks"]] == ["plain", "soft"]
    assert all(y["references"] == 12 and y["cllr"] < 0.5 for y in said["yardsticks"])
    # The planted world loses nothing; crops of its pictures lose the plant, hence no row survives but as a miss.
    assert len(said["power"]) == 5 and said["renders"] > 100
    assert _attempts(world.folder) == before, "it was all made by the run"
    assert main(["run", str(world.folder), "--preview"]) == 0
    told = capsys.readouterr().out
    assert "sweep    24 cells, at most 288 renders" in told and "chance to be certified" in told


def test_a_budget_is_kept_and_a_hopeless_one_is_refused(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    shutil.copytree(world.folder, folder)
    plan = (folder / "vultus.toml").read_text(encoding="utf-8")
    told = plan.replace('allocator = "grid"', 'allocator = "halving"\nbudget = "130 renders"')
    (folder / "vultus.toml").write_text(told, encoding="utf-8")
    outcome = drive(Workspace(folder), inline=True, quiet=True)
    swept = sum(len(one.renders) for one in outcome.cells if one.cell.strength > 0)
    fresh = sum(len(one.renders) for one in outcome.finalists)
    swept -= outcome.row_renders  # declared beside the budget: it chooses nothing
    assert swept + fresh + 2 * 8 * len({one.cell.base for one in outcome.finalists}) <= 130
    (folder / "vultus.toml").write_text(told.replace("130", "40"), encoding="utf-8")
    with pytest.raises(ScoreError, match="24 cells want one each"):
        drive(Workspace(folder), inline=True, quiet=True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[sweep]", '[sweep]\nbudget = "5 renders"', "24 cells want one each"),
        ('allocator = "grid"', 'allocator = "optuna-tpe"', "needs the package 'optuna'"),
        ('trainer = "fake"', 'trainer = "kohya"', "'kohya' is not installed"),
        ('trainer = "fake"', 'trainer = "native"', "model_index.json"),
        ('renderer = "fake"', 'renderer = "diffusers"', "model_index.json"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    told: str,
) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "optuna", None)
    folder = make_workspace(tmp_path / "ada", pictures=20)
    plan = (folder / "vultus.toml").read_text(encoding="utf-8")
    assert old in plan
    (folder / "vultus.toml").write_text(plan.replace(old, new), encoding="utf-8")
    for words in (["run", str(folder), "--preview"], ["run", str(folder)]):
        assert main(words) == 2
        assert told in capsys.readouterr().err
    assert not (folder / ".vultus" / "ledger.sqlite").exists(), "something was started"


def test_renders_say_what_they_are(world: World) -> None:
    from vultus.images.write import AI_SOURCE_TYPE

    looked = 0
    for path in world.outcome.fresh.renders.values():
        assert AI_SOURCE_TYPE.encode() in path.read_bytes()
        looked += 1
    assert looked == 8


def test_users_pictures_are_never_modified(world: World) -> None:
    fresh = make_workspace(world.folder.parent / "other", pictures=20)
    compared = 0
    for path in (fresh / "pictures").glob("p*"):
        assert (world.folder / "pictures" / path.name).read_bytes() == path.read_bytes()
        compared += 1
    assert compared == 40
    assert PERSONA == 7
