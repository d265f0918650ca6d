"""What the hand-written pages say is true: links lead somewhere, commands exist and parse."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from vultus.cli.main import NOUNS, build_parser, main

ROOT = Path(__file__).resolve().parents[2]

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
TARGET = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)

SHELL_WORDS = {"cp", "source"}
"""What else than make and vultus a reader is told to type."""


def documents() -> list[Path]:
    """Return every page: those at the root, docs/, changes/ and bench/."""
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "changes", "bench"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    titles = HEADING.findall(path.read_text(encoding="utf-8"))
    plain = [re.sub(r"[^\w\- ]", "", title.replace("`", "")).strip().lower() for title in titles]
    return {title.replace(" ", "-") for title in plain}


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Yield every command line of the pages' shell blocks."""
    for path in documents():
        for block in BLOCK.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and "=" in words[0]:
                    words = words[1:]  # VARIABLE=value before the command
                if words:
                    yield path, words


def parses(words: list[str]) -> bool:
    """Say whether the command line takes these words (nothing is run)."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            build_parser().parse_args(words)
        except SystemExit as stopped:
            return stopped.code == 0
    return True


def test_links_lead_somewhere() -> None:
    checked = 0
    broken = []
    for path in documents():
        for link in LINK.findall(path.read_text(encoding="utf-8")):
            if "://" in link or link.startswith("mailto:"):
                continue
            checked += 1
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                broken.append(f"{path.relative_to(ROOT)}: {link}")
            elif anchor and anchor not in anchors(target):
                broken.append(f"{path.relative_to(ROOT)}: {link} (no such heading)")
    assert checked >= 25, "the test looked at almost nothing"
    assert not broken, "\n".join(broken)


def test_commands_of_the_pages_exist() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    seen = {"make": 0, "vultus": 0, "other": 0}
    wrong = []
    for path, words in commands():
        tool, rest = words[0], words[1:]
        good = tool in SHELL_WORDS
        if tool == "make":
            good = all("=" in word or word in targets for word in rest)
        elif tool == "vultus":
            good = parses(rest)
        elif words[:2] == ["python", "-m"]:
            good = importlib.util.find_spec(words[2]) is not None
        seen[tool if tool in seen else "other"] += 1
        if not good:
            wrong.append(f"{path.relative_to(ROOT)}: {' '.join(words)}")
    assert seen["make"] >= 5 and seen["vultus"] >= 8, "the test looked at almost nothing"
    assert not wrong, "\n".join(wrong)


def test_the_parser_of_this_test_refuses_what_is_wrong() -> None:
    assert parses(["doctor", "--json"])
    assert not parses(["doctor", "--jsn"]) and not parses(["diagnose"])


def test_examples_in_the_help_parse() -> None:
    checked = 0
    parsers: list[argparse.ArgumentParser] = [build_parser()]
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        for line in (parser.epilog or "").splitlines():
            words = shlex.split(line, comments=True)
            if line.startswith("  ") and words[:1] == ["vultus"] and "COMMAND" not in words:
                checked += 1
                assert parses(words[1:]), f"{parser.prog}: {line}"
    assert checked >= len(NOUNS)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        *(["models", "list"], ["models", "list", "--json"]),
        *([noun, "--help"] for noun in NOUNS),
    ],
)
def test_harmless_commands_of_the_pages_are_run(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The long ones are run elsewhere: the demo in tests/whole, doctor in tests/cli."""
    try:
        code: object = main(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 0
    assert capsys.readouterr().out


def test_words_of_the_makefile_are_told_and_are_no_files() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = set(TARGET.findall(text))
    rules = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    phony = set(text.split(".PHONY:")[1].splitlines()[0].split())
    assert told == rules == phony
    wanted = "demo test check fix check-models bench-standin bench-demo clean help"
    assert set(wanted.split()) <= told


def test_files_that_make_calls_exist() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    files = set(re.findall(r"scripts/[\w/]+\.\w+", text))
    files |= {name.replace(".", "/") + ".py" for name in re.findall(r"-m (bench[.\w]+)", text)}
    assert len(files) >= 5
    assert not [name for name in sorted(files) if not (ROOT / name).exists()]


def test_every_decision_is_listed_with_its_status() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert len(records) >= 2
    for number, path in enumerate(records, start=1):
        assert path.name.startswith(f"{number:04}-"), "decisions are numbered without a gap"
        assert f"({path.name})" in listed
        assert re.search(
            r"^Status: (proposed|accepted|superseded by \d{4})", path.read_text(), re.MULTILINE
        )


def test_change_notes_have_a_kind_and_a_sentence() -> None:
    kinds = {"added", "changed", "fixed", "removed", "security"}
    notes = [path for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert notes
    for path in notes:
        parts = path.name.split(".")
        assert len(parts) == 3 and parts[1] in kinds and parts[2] == "md", path.name
        assert path.read_text(encoding="utf-8").strip().endswith("."), (
            f"{path.name} is not a sentence"
        )


def test_settings_named_on_the_pages_exist() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"^\| `([\w.<>]+)` \|", reference, re.MULTILINE))
    tables = {key.split(".")[0] for key in keys if "." in key}
    checked = 0
    for path in documents():
        for name in re.findall(r"`([a-z_]+\.[a-z_0-9.]+)`", path.read_text(encoding="utf-8")):
            if name.split(".")[0] in tables and not name.endswith(".toml"):
                checked += 1
                assert name in keys, f"{path.relative_to(ROOT)} names `{name}`, which is no setting"
    assert len(keys) >= 60 and checked >= 60


def test_every_word_of_the_design_is_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = "Picture Reference Dataset Run Checkpoint Cell Panel Block Render Score Yardstick Gate"
    words += " Question Study Verdict Step Ledger Persona m10 Miss"
    missing = [word for word in words.split() if f"| **{word}** |" not in glossary]
    assert len(words.split()) == 20 and not missing


def test_the_floors_drawn_in_the_docs_are_the_enforced_ones() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = drawn.split("## Floors")[1].split("```")[1]
    enforced = (ROOT / ".importlinter").read_text(encoding="utf-8")
    layers = enforced.split("layers =")[1].split("exhaustive")[0].replace("__main__", "")
    floors = [line.strip() for line in layers.splitlines() if line.strip()]
    assert len(floors) >= 10
    positions = [block.find(floor) for floor in floors]
    assert -1 not in positions and positions == sorted(positions)
