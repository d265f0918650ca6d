"""A ledger of a million renders: look-ups, what reports ask, and the size of the file.

    python -m bench.jobs.ledger [--renders 1000000] [--folder DIR]

Notation
    step      a `render` of 8 blocks (8 outputs) or the `read` of its faces (2 outputs), as runs make them
    look-up   `outputs(key)` of a step that exists; median and worst 1 % of 2,000 keys
    report    what a page asks about one run of 480 steps: seconds by kind, environments, counts of the whole ledger
Rows are written by the bench in large transactions, because two flushed commits for each of 250,000 steps would
measure the disk; they are the rows that `Ledger` writes, with inputs as long as real ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.record import record
from vultus.core.keys import canonical
from vultus.store.census import count, places_of, spent_on
from vultus.store.ledger import Ledger
from vultus.store.records import environment_digest

BLOCKS = 8
RUN_STEPS = 480
LOOKUPS = 2000
LOOKUP_BAR_MS, REPORT_BAR_MS = 1.0, 200.0
BATCH = 5000


def _hex(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _steps(renders: int) -> Iterator[tuple[str, str, str, list[tuple[str, str]]]]:
    """(key, kind, inputs, outputs) of every step: a render, then the read of its faces."""
    spec = {"guidance": 4.0, "height_px": 1024, "negative": "", "scheduler": "ddim", "steps": 25}
    for n in range(renders // BLOCKS):
        prompt = f"close-up photo of ohwx woman, smiling, looking ahead, red striped shirt, garden {n % 24}"
        inputs = {
            "base": f"sha256:{_hex('base', n % 3)}",
            "blocks": [[prompt, seed] for seed in range(BLOCKS)],
            "lora": f"sha256:{_hex('lora', n % 500)}",
            "renderer": "diffusers",
            "spec": spec,
            "strength": 0.8,
        }
        made = [(f"r{i:03d}.png", f"sha256:{_hex('png', n, i)}") for i in range(BLOCKS)]
        yield _hex("render", n), "render", canonical(inputs), made
        asked = {"pack": f"sha256:{_hex('pack')}", "renders": [name for _, name in made]}
        faces = [
            ("emb.npy", f"sha256:{_hex('e', n)}"),
            ("states.json", f"sha256:{_hex('s', n % 9)}"),
        ]
        yield _hex("read", n), "read", canonical(asked), faces


def fill(folder: Path, renders: int) -> list[str]:
    """Write the ledger; returns all keys in the order of asking."""
    shutil.rmtree(folder, ignore_errors=True)
    places = [{"machine": "x86_64", "gpu 0": name} for name in ("RTX 4090", "H200")]
    digests = [environment_digest(place) for place in places]
    keys: list[str] = []
    with Ledger.open(folder) as ledger:
        database = ledger._database
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        rows = [(d, json.dumps(p, sort_keys=True)) for d, p in zip(digests, places, strict=True)]
        database.executemany("INSERT INTO environment VALUES (?, ?)", rows)
        database.execute("BEGIN")
        for n, (key, kind, inputs, outputs) in enumerate(_steps(renders)):
            at = 1_795_400_000.0 + n
            database.execute("INSERT INTO step VALUES (?, ?, 1, ?, 0, ?)", (key, kind, inputs, at))
            attempt = (f"{n:016x}", key, f"@{digests[n % 50 == 0]}", 4711, "pod", at, at + 9, 8.5)
            database.execute(
                "INSERT INTO attempt VALUES (?, ?, 'done', ?, ?, ?, ?, ?, ?, '')", attempt
            )
            database.executemany(
                "INSERT INTO output VALUES (?, ?, ?, ?)",
                [(key, name, attempt[0], content) for name, content in outputs],
            )
            keys.append(key)
            if n % BATCH == BATCH - 1:
                database.execute("COMMIT")
                database.execute("BEGIN")
        database.execute("COMMIT")
    return keys


def milliseconds(ask: Callable[[], Any]) -> tuple[float, float, Any]:
    """(wall, CPU) of one question, and its answer."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = ask()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, answer


def measure(folder: Path, renders: int) -> dict[str, Any]:
    """Fill a ledger and ask it."""
    wall_s = time.perf_counter()
    keys = fill(folder, renders)
    print(f"{len(keys):,} steps written in {time.perf_counter() - wall_s:.0f} s", flush=True)
    opened, opened_cpu, ledger = milliseconds(lambda: Ledger.open(folder))
    asked = [keys[(n * 7919) % len(keys)] for n in range(LOOKUPS)]
    times = [milliseconds(partial(ledger.outputs, key)) for key in asked]
    assert all(answer for _, _, answer in times)
    walls, cpus = sorted(t[0] for t in times), [t[1] for t in times]
    run = keys[len(keys) // 2 : len(keys) // 2 + RUN_STEPS]
    reports: dict[str, Callable[[], Any]] = {
        "seconds by kind of a run": lambda: spent_on(ledger, run),
        "environments of a run": lambda: places_of(ledger, run),
        "steps, attempts and outputs of everything": lambda: count(ledger),
        "attempts at one step": lambda: ledger.attempts(run[0]),
        "steps that begin with 8 digits": lambda: ledger.keys(run[0][:8]),
    }
    questions = {}
    for name, ask in reports.items():
        tries = [milliseconds(ask) for _ in range(5)]
        assert tries[0][2]
        wall, cpu = statistics.median(t[0] for t in tries), statistics.median(t[1] for t in tries)
        questions[name] = {"wall_ms": round(wall, 2), "cpu_ms": round(cpu, 2)}
        print(f"{name:45} {wall:8.2f} ms wall, {cpu:8.2f} ms CPU", flush=True)
    ledger.close()
    size = sum(path.stat().st_size for path in folder.glob("ledger.sqlite*"))
    figures = {
        "renders": renders,
        "steps": len(keys),
        "file_mib": round(size / 2**20, 1),
        "bytes_per_render": round(size / renders),
        "open_ms": {"wall": round(opened, 1), "cpu": round(opened_cpu, 1)},
        "look_up_ms": {
            "median_wall": round(statistics.median(walls), 4),
            "worst_1_percent_wall": round(walls[int(len(walls) * 0.99)], 4),
            "mean_cpu": round(statistics.mean(cpus), 4),
            "bar": LOOKUP_BAR_MS,
        },
        "report_ms": questions,
        "report_bar_ms": REPORT_BAR_MS,
    }
    print({k: figures[k] for k in ("file_mib", "bytes_per_render", "open_ms", "look_up_ms")})
    return figures


def main() -> None:
    """Measure and write bench/results/jobs_ledger.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=int, default=1_000_000, help="renders in the ledger")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-jobs"), help="work here")
    args = parser.parse_args()
    began = time.perf_counter()
    folder = args.folder / "ledger"
    figures = measure(folder, args.renders)
    shutil.rmtree(folder, ignore_errors=True)
    print(record("jobs_ledger", figures, seconds=time.perf_counter() - began))


if __name__ == "__main__":
    main()
