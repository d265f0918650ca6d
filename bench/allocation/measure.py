"""Which way of spending renders finds the best cell, on fresh worlds: `make bench-allocation`.

    python -m bench.allocation.measure [--worlds 150] [--record FOLDER]

Notation
    regret   truth of the best cell - truth of the chosen cell             cosine, mean (SE), p90
    bias     number told for the chosen cell - its truth                   cosine, mean
    saving   renders of the full grid, n = 24, / renders of the method
The worlds are those of the reference "measuring", section 9. Worlds of the family "judge" were never looked at while a
rule or a budget was chosen (that was the family "try"). Optuna plays in an environment of its own (`peers.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.allocation.methods import METHODS, OURS, Game
from bench.allocation.recorded import play_recorded
from bench.allocation.worlds import SETTINGS, draw, unpaired
from bench.record import record
from vultus.tools.build import find_uv

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "bench-allocation"
PEERS_NEED = ("optuna==5.0.0", "numpy==2.4.6", "scipy==1.17.1")
PEER_PARTS = {"TPE": 1.0, "ASHA": 1.0, "Wilcoxon": 0.46}
"""Share of the worlds that each peer plays: the WilcoxonPruner takes 6 s of CPU per world, all others under one."""
MAIN = "rho 0.5"
EVERYWHERE = (OURS, "full grid, n = 24", "full grid, n = 8")


def main() -> None:
    """Play everything and write bench/results/allocation.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=150, help="fresh worlds per setting")
    parser.add_argument("--no-peers", action="store_true", help="leave Optuna out")
    args = parser.parse_args()
    began = time.perf_counter()
    figures: dict[str, Any] = {"worlds": args.worlds, "settings": {}}
    for setting in SETTINGS:
        games = play_all(setting, args.worlds)
        figures["settings"][setting] = tell(setting, games)
        if setting == MAIN:
            figures["settings"][setting] |= tell_peers(games, args)
    figures["control"] = tell("unpaired control", play_control(args.worlds))
    figures["stand-in grid"] = tell_recorded()
    figures["holds"] = holds(figures["settings"][MAIN])
    print(
        "\n".join(
            f"{'yes' if kept else 'NO '}  {words}" for words, kept in figures["holds"].items()
        )
    )
    if args.worlds >= 150:
        print(record("allocation", figures, seconds=time.perf_counter() - began))


def play_all(setting: str, worlds: int) -> dict[str, list[Game]]:
    """Every method on the same worlds of one setting."""
    names = tuple(METHODS) if setting == MAIN else EVERYWHERE
    games: dict[str, list[Game]] = {name: [] for name in names}
    for number in range(worlds):
        world = draw("judge", setting, number)
        for name in names:
            games[name].append(METHODS[name](world))
    return games


def play_control(worlds: int) -> dict[str, list[Game]]:
    """The grid without shared blocks: what pairing is worth."""
    name = "full grid, n = 24"
    return {f"{name}, unpaired": [METHODS[name](unpaired("judge", MAIN, i)) for i in range(worlds)]}


def tell(title: str, games: dict[str, list[Game]]) -> dict[str, Any]:
    """Print one table and return its rows."""
    print(f"\n{title}: {len(next(iter(games.values())))} worlds")
    print(f"{'':36s} {'renders':>8s} {'regret (SE)':>17s} {'p90':>7s} {'<=.01':>6s} {'bias':>8s}")
    rows = {}
    for name, played in games.items():
        row = rows[name] = summary(played)
        print(
            f"{name:36s} {row['renders']:8.0f} {row['regret']:.4f} ({row['regret_se']:.4f})"
            f" {row['regret_p90']:7.4f} {row['p_within_0.01']:6.2f} {row['bias']:+8.4f}",
            flush=True,
        )
    return rows


def summary(played: Sequence[Game]) -> dict[str, float]:
    """Means over worlds."""
    regret = np.array([game.regret for game in played])
    bias = np.array([game.bias for game in played])
    n = len(played)
    return {
        "worlds": n,
        "renders": float(np.mean([game.renders for game in played])),
        "regret": float(regret.mean()),
        "regret_se": float(regret.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0,
        "regret_p90": float(np.quantile(regret, 0.9)),
        "p_within_0.01": float(np.mean(regret <= 0.01)),
        "p_best": float(np.mean(regret == 0.0)),
        "bias": float(bias.mean()),
        "bias_se": float(bias.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0,
    }


def tell_peers(games: dict[str, list[Game]], args: argparse.Namespace) -> dict[str, Any]:
    """Optuna's rows, each with its paired difference of regret to ours; loudly nothing where it is not to be had."""
    played = {} if args.no_peers else play_peers(args.worlds)
    if not played:
        print("Optuna was not played: no row for it.")
        return {}
    rows = tell("Optuna, same worlds", {name: list(by.values()) for name, by in played.items()})
    for name, by in played.items():
        gap = np.array([game.regret - games[OURS][world].regret for world, game in by.items()])
        rows[name]["regret_minus_ours"] = float(gap.mean())
        rows[name]["regret_minus_ours_se"] = float(gap.std(ddof=1) / np.sqrt(len(gap)))
        print(
            f"{name:36s} regret minus ours {gap.mean():+.4f} ({gap.std(ddof=1) / len(gap) ** 0.5:.4f})"
        )
    return rows


def play_peers(worlds: int) -> dict[str, dict[int, Game]]:
    """Optuna's games by peer and world; what an earlier call has played is kept in build/."""
    python = CACHE / "peers" / "bin" / "python"
    try:
        if not python.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run([find_uv(), "venv", "-q", str(CACHE / "peers")], check=True)
            subprocess.run(
                [find_uv(), "pip", "install", "-q", "--python", str(python), *PEERS_NEED],
                check=True,
            )
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        exam = [str(python), "-m", "bench.allocation.peers", "exam"]
        subprocess.run(exam, check=True, cwd=ROOT, env=env)
        for part, share in PEER_PARTS.items():
            subprocess.run(
                [
                    str(python),
                    "-m",
                    "bench.allocation.peers",
                    f"{CACHE}/{part}.jsonl",
                    str(round(worlds * share)),
                    part,
                ],
                check=True,
                cwd=ROOT,
                env=env,
            )
    except (OSError, subprocess.CalledProcessError) as fault:
        print(f"Optuna's environment cannot be made or used: {fault}")
    played: dict[str, dict[int, Game]] = {}
    for part in PEER_PARTS:
        path = CACHE / f"{part}.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            row = json.loads(line)
            if row["world"] < worlds:
                game = Game(row["regret"], int(row["renders"]), row["bias"])
                played.setdefault(row["peer"], {})[row["world"]] = game
    return played


def tell_recorded() -> dict[str, Any]:
    """The screening alone on the recorded grid of the stand-in world, in m10."""
    rows = play_recorded()
    print("\nrecorded grid of the stand-in world, 48 cells x 12 blocks, screening only")
    print(f"{'':36s} {'renders':>8s} {'regret m10':>11s} {'best finalist':>14s}")
    for name, row in rows.items():
        first, best = row["regret_m10_first"], row["regret_m10_best_finalist"]
        print(f"{name:36s} {row['renders']:8.0f} {first:11.3f} {best:14.3f}")
    return rows


def holds(rows: dict[str, Any]) -> dict[str, bool]:
    """What the issue asks for, as sentences that are true or not."""
    mine, whole = rows[OURS], rows["full grid, n = 24"]
    return {
        f"regret {mine['regret']:.4f} <= full grid's {whole['regret']:.4f}": mine["regret"]
        <= whole["regret"],
        f"renders {mine['renders']:.0f} <= {whole['renders']:.0f} / 4.5": mine["renders"]
        <= whole["renders"] / 4.5,
        f"winner's bias {mine['bias']:+.4f} within 0.002": abs(mine["bias"]) <= 0.002,
    }


if __name__ == "__main__":
    main()
