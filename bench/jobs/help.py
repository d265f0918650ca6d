"""What `--help` costs: CPU seconds of every command, each in a process of its own.

    python -m bench.jobs.help

The floor is the interpreter alone (`python -c pass`), measured beside it: on a busy machine CPU seconds swell with the
number of others, and the difference to the floor swells less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.record import record
from vultus.cli.main import build_parser

BAR_S = 0.2
TIMES = 5


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every command, the words that lead to it."""
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands(below, (*words, word))


def cpu_s(words: list[str]) -> float:
    """CPU seconds (user and system) of one process: the median of some."""
    spent = []
    for _ in range(TIMES):
        null = os.open(os.devnull, os.O_WRONLY)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *words],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)],
        )
        os.close(null)
        _, status, usage = os.wait4(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, words
        spent.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(spent)


def measure() -> dict[str, Any]:
    """Measure every command."""
    floor = cpu_s(["-c", "pass"])
    rows = {}
    for words in commands(build_parser()):
        name = " ".join(("vultus", *words))
        rows[name] = round(cpu_s(["-m", "vultus", *words, "--help"]), 3)
        print(f"{name:28} {rows[name]:.3f} s", flush=True)
    worst = max(rows, key=lambda name: rows[name])
    print(f"python alone {floor:.3f} s; worst {worst} {rows[worst]:.3f} s of {BAR_S} s allowed")
    return {
        "python_alone_cpu_s": round(floor, 3),
        "commands": len(rows),
        "worst": worst,
        "worst_cpu_s": rows[worst],
        "bar_cpu_s": BAR_S,
        "within": sum(spent <= BAR_S for spent in rows.values()),
        "rows": rows,
    }


def main() -> None:
    """Measure and write bench/results/jobs_help.json."""
    began = time.perf_counter()
    figures = measure()
    print(record("jobs_help", figures, seconds=time.perf_counter() - began))


if __name__ == "__main__":
    main()
