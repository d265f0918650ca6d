"""A little study that is killed, for `test_kills.py`; run as a program, it prints what it saw.

    python world.py points FOLDER         killed before every call that changes something outside
    python world.py moments FOLDER N SEED killed from outside until N kills hit it at work
    python world.py pairs FOLDER N SEED   two at the same work, one of them killed

The study: a `draw` step gives a file, a `train` step saves its state after each of three rounds
and gives a folder, a `join` step needs both. Children are forks of this
process, so a life costs milliseconds. What each life did is in a diary outside the ledger: one
line per event, appended by one write call, which no kill can tear.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from vultus.core.files import staged, write_bytes
from vultus.core.keys import file_content_id
from vultus.core.seeds import seed_of
from vultus.steps.run import run_once
from vultus.steps.step import Step
from vultus.store.ledger import Ledger
from vultus.store.records import AttemptState

ROUNDS = 3
STEPS = 3
HERE = {"machine": "crash suite"}
# The calls by which a process changes what others see. Between two of them nothing changes that a
# kill could leave behind, so a kill before each one covers every state there is. (`fsync` and
# `close` are not among them: what was written is seen before it is safe from a power cut.)
TELLING = {
    "posix": {"open", "mkdir", "rename", "replace", "unlink", "rmdir", "link", "pwrite", "write"},
    "fcntl": {"flock"},
}
TELLING_METHODS = {"Connection": {"execute"}, "BufferedWriter": {"write"}}


class Home:
    """One workspace and its diary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = folder / ".vultus"
        self.diary = folder / "diary"

    def note(self, *words: object) -> None:
        line = " ".join(str(word) for word in words) + "\n"
        handle = os.open(self.diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, line.encode())
        os.close(handle)

    def events(self) -> Counter[str]:
        return Counter(self.diary.read_text().splitlines()) if self.diary.exists() else Counter()


# -- the study ----------------------------------------------------------------------------------


def draw_step() -> Step:
    return Step("draw", 1, {"seed": 7})


def train_step() -> Step:
    return Step("train", 1, {"rounds": ROUNDS, "rate": 0.1})


def join_step(drawn: str) -> Step:
    return Step("join", 1, {"drawn": drawn, "trained": train_step()})


def study(home: Home) -> dict[str, str]:
    """The whole program of one life; returns content ids of all outputs."""
    with Ledger.open(home.memory) as ledger:
        drawn = run_once(draw_step(), ledger, lambda s: draw(home, s), environment=HERE)
        trained = run_once(train_step(), ledger, lambda s: train(home, s), environment=HERE)
        files = [drawn["picture.bin"], trained["checkpoints"] / "deep" / "final.bin"]
        step = join_step((ledger.outputs(draw_step().key) or {})["picture.bin"])
        run_once(step, ledger, lambda s: join(home, files, s), environment=HERE)
        return {
            f"{step.kind} {name}": content
            for step in ledger.steps()
            for name, content in (ledger.outputs(step.key) or {}).items()
        }


def draw(home: Home, scratch: Path) -> dict[str, Path]:
    home.note("work", "draw")
    target = scratch / "any name"
    write_bytes(target, seed_of("draw", 7).to_bytes(8, "big") * 3000)
    return {"picture.bin": target}


def train(home: Home, scratch: Path) -> dict[str, Path]:
    """Goes on from its own saved state: the state after round k is a function of k alone."""
    home.note("work", "train")
    out = scratch / "out"
    state_file = scratch / "state"
    done, state = 0, b"start"
    if state_file.exists():
        count, _, rest = state_file.read_bytes().partition(b" ")
        done, state = int(count), rest
    for k in range(done, ROUNDS):
        state = hashlib.sha256(state).digest()
        write_bytes(out / f"round{k}.bin", state * 200)
        with staged(state_file) as draft:
            draft.write_bytes(f"{k + 1} ".encode() + state)
        home.note("round", k)
    write_bytes(out / "deep" / "final.bin", state * 500)
    return {"checkpoints": out}


def join(home: Home, files: Sequence[Path], scratch: Path) -> dict[str, Path]:
    home.note("work", "join")
    text = "".join(f"{file_content_id(path)}\n" for path in files)
    target = scratch / "joined.txt"
    target.write_text(text)
    return {"joined.txt": target}


# -- lives and deaths ---------------------------------------------------------------------------


def live(home: Home, before: Callable[[], None] = lambda: None) -> int:
    """Fork a child that lives the study from its start; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            before()
            study(home)
            sys.setprofile(None)
        except BaseException:  # noqa: BLE001 (a fork must never return into its parent's code)
            sys.setprofile(None)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def ended(child: int) -> bool:
    """Wait for a child; true if it was killed, false if it came to its end."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"a life ended by signal {status}"
        return True
    assert os.WEXITSTATUS(status) == 0, "a life ended with an error; see stderr"
    return False


def profile(hit: Callable[[], None]) -> Callable[[], None]:
    """Make a child call `hit` before each of its telling calls."""

    def seen(_frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        owner = getattr(function, "__self__", None)
        name = function.__name__
        if name in TELLING_METHODS.get(type(owner).__name__, ()) or name in TELLING.get(
            getattr(function, "__module__", None) or "", ()
        ):
            hit()

    return lambda: sys.setprofile(seen)


def kill_at(point: int) -> Callable[[], None]:
    count = 0

    def hit() -> None:
        nonlocal count
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    return profile(hit)


def points_of(home: Home) -> int:
    """How many telling calls one undisturbed life makes."""
    tally = home.folder / "tally"

    def hit() -> None:
        handle = os.open(tally, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, b".")
        os.close(handle)

    # Calls made by `hit` itself are not reported: the interpreter profiles no profiler.
    assert not ended(live(home, profile(hit)))
    return tally.stat().st_size


# -- what must hold -----------------------------------------------------------------------------


def check_after_kill(home: Home) -> set[str]:
    """Nothing torn, nothing half committed. Returns the kinds of the finished steps."""
    if not (home.memory / "ledger.sqlite").exists():
        return set()
    with Ledger.open(home.memory) as ledger:
        check_whole(ledger)
        return {step.kind for step in ledger.steps() if ledger.outputs(step.key) is not None}


def check_whole(ledger: Ledger) -> None:
    answer = ledger.rows("PRAGMA integrity_check")[0][0]
    assert answer == "ok", f"the database is damaged: {answer}"
    faults = ledger.blobs.verify()
    assert not faults, f"torn files: {faults}"
    for step in ledger.steps():
        winners = [a for a in ledger.attempts(step.key) if a.state is AttemptState.DONE]
        assert len(winners) <= 1, f"{step.kind} was done {len(winners)} times"
        outputs = ledger.outputs(step.key)
        assert (outputs is not None) == bool(winners), f"{step.kind}: outputs without a winner"
        for content in (outputs or {}).values():
            assert ledger.blobs.has(content), f"{step.kind}: a committed file is not there"


def check_at_end(home: Home, expected: Mapping[str, str], kills: int) -> None:
    """All there, all as expected, nothing left over, no more attempts than deaths explain."""
    with Ledger.open(home.memory) as ledger:
        check_whole(ledger)
        found = study(home)  # a second asking: a look-up
        assert found == dict(expected), f"other outputs: {found}"
        attempts = ledger.attempts()
        states = Counter(a.state for a in attempts)
        assert states[AttemptState.DONE] == len(ledger.steps()) == STEPS
        assert states[AttemptState.RUNNING] == 0, "an attempt still runs"
        assert states[AttemptState.FAILED] == 0
        assert states[AttemptState.LOST] <= kills, "more attempts were lost than processes killed"
        for step in ledger.steps():
            for name, path in (ledger.paths(step.key) or {}).items():
                check_view(ledger, (ledger.outputs(step.key) or {})[name], path)
    leftovers = list(home.memory.rglob("*.staged*"))
    assert not leftovers, f"left over: {leftovers}"
    scratch = list((home.memory / "scratch").glob("*"))
    assert not scratch, f"working folders left over: {scratch}"
    assert not list((home.memory / "blobs" / "incoming").glob(".*"))
    events = home.events()
    for k in range(ROUNDS):
        # A round's note comes after its state is saved: noted twice would be trained twice.
        assert events[f"round {k}"] <= 1, f"round {k} was trained again after it was saved"


def check_view(ledger: Ledger, content: str, path: Path) -> None:
    if content.startswith("tree:"):
        lines = ledger.blobs.manifest(content)
        assert len(lines) == ROUNDS + 1
        for inside, part in lines:
            assert file_content_id(path / inside) == part
    else:
        assert file_content_id(path) == content


def expected_of(folder: Path) -> dict[str, str]:
    home = Home(folder)
    home.folder.mkdir()
    found = study(home)
    assert len(found) == STEPS
    assert set(home.events().values()) == {1}
    return found


# -- the three ways to be killed ----------------------------------------------------------------


def points(folder: Path) -> dict[str, int]:
    expected = expected_of(folder / "expected")
    counted = Home(folder / "counted")
    counted.folder.mkdir()
    total = points_of(counted)
    landed = resumed = 0
    for point in range(total):
        home = Home(folder / f"point{point}")
        home.folder.mkdir()
        landed += ended(live(home, kill_at(point)))
        done = check_after_kill(home)
        work = home.events()
        assert not ended(live(home))
        again = home.events() - work
        redone = done & {event.removeprefix("work ") for event in again}
        assert not redone, f"made twice after a kill at point {point}: {redone}"
        check_at_end(home, expected, kills=1)
        resumed += 1
        shutil.rmtree(home.folder)
    return {"points": total, "landed": landed, "resumed": resumed}


def span_of(folder: Path) -> float:
    """How long one life takes here, in seconds: the moments are drawn from it."""
    spans = []
    for i in range(3):
        home = Home(folder / f"span{i}")
        home.folder.mkdir()
        start = time.monotonic()
        assert not ended(live(home))
        spans.append(time.monotonic() - start)
    return min(spans)


def moments(folder: Path, wanted: int, seed: int) -> dict[str, int]:
    """Each workspace is killed again and again until its study is done; then the next one."""
    expected = expected_of(folder / "expected")
    span_s = span_of(folder)
    luck = random.Random(seed)
    landed = finished = lives = 0
    while landed < wanted:
        home = Home(folder / f"home{finished}")
        home.folder.mkdir()
        kills = 0
        while True:
            lives += 1
            assert lives < 20 * wanted, "the kills do not hit: this machine's timing is odd"
            child = live(home)
            time.sleep(luck.random() * span_s)
            os.kill(child, signal.SIGKILL)
            hit = ended(child)
            done = check_after_kill(home)
            if not hit or len(done) == STEPS:
                break
            kills += 1
        assert not ended(live(home))
        check_at_end(home, expected, kills + 1)
        landed += kills
        finished += 1
        shutil.rmtree(home.folder)
    return {"landed": landed, "finished": finished, "lives": lives}


def pairs(folder: Path, wanted: int, seed: int) -> dict[str, int]:
    """Two processes do the same study at once; one is killed at a random moment."""
    expected = expected_of(folder / "expected")
    span_s = span_of(folder)
    luck = random.Random(seed)
    landed = rounds = 0
    while landed < wanted:
        assert rounds < 20 * wanted, "the kills do not hit: this machine's timing is odd"
        home = Home(folder / f"pair{rounds}")
        home.folder.mkdir()
        victim, other = live(home), live(home)
        time.sleep(luck.random() * span_s)
        os.kill(victim, signal.SIGKILL)
        hit = ended(victim)
        assert not ended(other)
        check_at_end(home, expected, kills=int(hit))
        works = {e: n for e, n in home.events().items() if e.startswith("work ")}
        twice = sum(n - 1 for n in works.values())
        assert twice <= hit, f"the same work was done by both: {works}"
        landed += hit
        rounds += 1
        shutil.rmtree(home.folder)
    return {"landed": landed, "rounds": rounds}


def main(words: list[str]) -> None:
    mode, folder, *numbers = words
    modes: dict[str, Callable[..., dict[str, int]]] = {
        "points": points,
        "moments": moments,
        "pairs": pairs,
    }
    print(json.dumps(modes[mode](Path(folder), *map(int, numbers))))


if __name__ == "__main__":
    main(sys.argv[1:])
