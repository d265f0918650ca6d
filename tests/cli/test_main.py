"""The command line's manners: light at the door, clear faults, honest exit codes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vultus import __version__
from vultus.cli import main as command_line
from vultus.cli.main import NOUNS, build_parser, main, present_nouns
from vultus.cli.wording import Nouns, noun
from vultus.core.errors import CancelledError, DatasetError, Fault, SpecError

ROOT = Path(__file__).resolve().parents[2]

SLOW_TO_IMPORT = {"numpy", "torch", "PIL", "cv2", "scipy", "onnxruntime", "diffusers", "sqlite3"}


def plant(
    monkeypatch: pytest.MonkeyPatch, handle: Callable[[argparse.Namespace], int | None]
) -> None:
    """Put a noun `planted` on the command line whose handler is `handle`."""

    class Planted:
        @staticmethod
        def add(subparsers: Nouns) -> None:
            parser = noun(subparsers, "planted", help="a planted command")
            parser.add_argument("words", nargs="*")
            parser.set_defaults(handle=handle)

    monkeypatch.setattr(command_line, "present_nouns", lambda: ("planted",))
    monkeypatch.setattr("importlib.import_module", lambda name: Planted)


def test_every_file_of_a_noun_is_listed_and_every_listed_noun_has_a_file() -> None:
    manners = {"__init__", "main", "wording"}
    files = {path.stem for path in (ROOT / "vultus" / "cli").glob("*.py")} - manners
    # `dataset_keep.py` holds verbs of `dataset`: a noun with many verbs is several files.
    files -= {name for name in files if name.partition("_")[0] in files and "_" in name}
    assert files == set(NOUNS) == set(present_nouns())
    assert len(NOUNS) >= 7


def test_every_noun_builds_its_parser_with_help_examples_and_json() -> None:
    checked = 0
    for name in present_nouns():
        parsers = [build_parser(name)]
        while parsers:
            parser = parsers.pop()
            below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
            parsers += [choice for action in below for choice in action.choices.values()]
            if parser.prog == "vultus":
                continue
            checked += 1
            assert parser.description, f"{parser.prog} says nothing about itself"
            assert "--json" in parser._option_string_actions, f"{parser.prog} has no --json"
            handled = parser.get_default("handle") is not None
            assert handled or below, f"{parser.prog} does nothing"
    assert checked >= len(NOUNS)


def test_help_loads_only_what_is_light() -> None:
    """`vultus --help` may cost 0.2 s of CPU. What could cost more is an import: look at those."""
    program = (
        "import json, sys\n"
        "from vultus.cli.main import build_parser\n"
        "text = build_parser().format_help()\n"
        "print(json.dumps([text, sorted(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    text, modules = json.loads(done.stdout)
    assert all(f"    {name} " in text for name in NOUNS)
    assert not SLOW_TO_IMPORT & set(modules)
    assert len(modules) < 250, "something large is imported for --help"


def test_help_of_every_command_imports_next_to_nothing() -> None:
    """0.2 s of CPU are some 250 small modules: they are counted, because a time says more about the machine."""
    program = (
        "import json, sys\n"
        "from vultus.cli.main import build_parser, present_nouns\n"
        "for noun in present_nouns(): build_parser(noun)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = json.loads(done.stdout)
    looked_at = {noun for noun in NOUNS if f"vultus.cli.{noun}" in modules}
    assert looked_at == set(NOUNS), "not every command was looked at"
    foreign = (
        {m.split(".")[0] for m in modules} - set(sys.stdlib_module_names) - {"vultus", "__main__"}
    )
    assert not {m for m in foreign if not m.startswith("_")} - {"sitecustomize", "usercustomize"}
    assert not SLOW_TO_IMPORT & set(modules) and len(modules) < 250


def test_python_dash_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vultus", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"vultus {__version__}\n"


def test_a_fault_is_told_in_lines_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: argparse.Namespace) -> int:
        del args
        raise DatasetError(
            "3 pictures are too few", where="ada/pictures", expected="12", next_command="add some"
        )

    plant(monkeypatch, fail)
    assert main(["planted"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "vultus: ada/pictures: 3 pictures are too few",
        "  expected: 12",
        "  next: add some",
    ]


def test_all_faults_of_a_file_are_told_each_on_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: argparse.Namespace) -> int:
        del args
        raise SpecError([Fault("vultus.toml: seed", "is text", "a whole number"), Fault("x", "y")])

    plant(monkeypatch, fail)
    assert main(["planted", "--json"]) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[:2] == [
        "vultus: vultus.toml: seed: is text (expected a whole number)",
        "vultus: x: y",
    ]
    assert json.loads(told.out)["error"] == "SpecError"


def test_stopping_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt if args.words else CancelledError("the budget is spent")

    plant(monkeypatch, stop)
    assert main(["planted", "my ada"]) == 130
    assert "resume with: vultus planted 'my ada'" in capsys.readouterr().err
    assert main(["planted"]) == 130
    told = capsys.readouterr().err
    assert "vultus: the budget is spent" in told and "resume with: vultus planted" in told


@pytest.mark.parametrize(("outcome", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_the_handlers(
    monkeypatch: pytest.MonkeyPatch, outcome: int | None, code: int
) -> None:
    plant(monkeypatch, lambda args: outcome)
    assert main(["planted"]) == code


def test_a_mistake_of_ours_is_not_dressed_up_as_a_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise ZeroDivisionError

    plant(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError):
        main(["planted"])


def test_without_a_word_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "commands:" in capsys.readouterr().out


def test_an_unknown_command_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["demmo"])
    assert stopped.value.code == 2
    assert "demo" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_fault() -> None:
    """`vultus --help | head -1`: no traceback when the pipe closes early."""
    line = f"{sys.executable} -m vultus models list | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() in {"0", "2"}
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
