"""`vultus jobs`: commands that run on without a terminal; look at them, stop them, set them going."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import (
    EXIT_DONE,
    EXIT_FAULT,
    EXIT_STOPPED,
    Nouns,
    noun,
    say,
    verb,
    without_detaching,
)

if TYPE_CHECKING:
    from vultus.jobs.folder import JobFolder
    from vultus.studies.plan import RunSpec

__all__ = ["add", "start_job"]

LOOK_EVERY_S = 0.5
FIRST_LOOK_S = 2.5


def add(subparsers: Nouns) -> None:
    """Add `vultus jobs` and its verbs."""
    parser = noun(
        subparsers,
        "jobs",
        help="look at detached commands, stop them, set them going again",
        examples=["vultus jobs list", "vultus jobs follow last", "vultus jobs resume --all"],
    )
    verbs: Nouns = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    listing = verb(
        verbs, "list", help="list the jobs of this machine", examples=["vultus jobs list"]
    )
    listing.set_defaults(handle=_list)
    show = verb(
        verbs,
        "show",
        help="tell everything about one job, and the end of its log",
        examples=["vultus jobs show 3", "vultus jobs show last --json"],
    )
    show.set_defaults(handle=_show)
    follow = verb(
        verbs,
        "follow",
        help="follow a job to its end (Ctrl-C stops the following, never the job)",
        examples=["vultus jobs follow 3", "vultus jobs follow last --json"],
    )
    follow.set_defaults(handle=_follow)
    stopping = verb(
        verbs,
        "stop",
        help="stop a job; what is finished is kept",
        examples=["vultus jobs stop 3"],
    )
    stopping.set_defaults(handle=_stop)
    for one in (show, follow, stopping):
        one.add_argument("job", help="number of the job, or last")
    resume = verb(
        verbs,
        "resume",
        help="set a job going again; with --all every one that a crash or a reboot left",
        examples=["vultus jobs resume 3", "vultus jobs resume --all"],
    )
    resume.add_argument("job", nargs="?", help="number of the job, or last")
    resume.add_argument(
        "--all", action="store_true", help="every unfinished job nobody looks after"
    )
    resume.add_argument(
        "--deadline-h",
        metavar="HOURS",
        type=float,
        help="a new deadline, in hours from now; 0 = none (needed where the job's own has passed)",
    )
    resume.set_defaults(handle=_resume)
    queue = verb(
        verbs,
        "queue",
        help="say for every card who holds it, what is free, and who waits",
        examples=["vultus jobs queue"],
    )
    queue.set_defaults(handle=_queue)


def start_job(args: argparse.Namespace, words: list[str]) -> int:
    """Start the command that was given with --detach as a job."""
    import time

    from vultus.core.clock import SystemClock
    from vultus.jobs.cards import choose_cards, open_probe
    from vultus.jobs.control import detach, limits_of
    from vultus.jobs.settings import load_settings

    settings = load_settings()
    cards = open_probe().cards()
    plan = _plan_of(args)
    wanted = args.card or _wanted(args, plan, len(cards))
    if wanted != "none":
        choose_cards(wanted, cards)
    comfyui = args.comfyui or settings.comfyui.when_found
    if plan is not None and plan.renderer == "comfyui" and comfyui not in ("ignore", "share"):
        comfyui = _kept_running(args.comfyui)
    now = SystemClock().now()
    job = detach(
        without_detaching(words),
        python=sys.executable,
        card="" if wanted == "none" else wanted,
        comfyui=comfyui,
        limits=limits_of(settings, deadline_h=args.deadline_h, now=now),
    )
    until_s = time.monotonic() + FIRST_LOOK_S
    while time.monotonic() < until_s and not job.state.phase.is_finished:
        time.sleep(0.05)  # a mistake in the command shows at once, not tomorrow
    if job.state.phase.value == "failed":
        return _ended(args, job)
    say(
        args,
        _described(job),
        [
            f"job {job.id}: {_command(job)}",
            f"follow  vultus jobs follow {job.id}",
            f"stop    vultus jobs stop {job.id}",
        ],
    )
    return EXIT_DONE


def _plan_of(args: argparse.Namespace) -> RunSpec | None:
    """The plan of the workspace that a command works on, where it has one that can be read."""
    from vultus.core.errors import VultusError
    from vultus.studies.plan import PLAN_FILE, load_plan

    folder = getattr(args, "workspace", None)
    if folder is None:
        return None
    try:
        return load_plan(folder / PLAN_FILE)
    except (VultusError, OSError):
        return None  # the job itself says what is wrong with its plan


def _wanted(args: argparse.Namespace, plan: RunSpec | None, cards: int) -> str:
    """The cards that a command queues for where nobody says: one, or as many as its plan has workers for."""
    from vultus.steps.executors import parse_executor

    device = plan.machine.device if plan is not None else getattr(args, "device", "")
    if not cards or device == "cpu":
        return "none"
    workers = 1 if plan is None else parse_executor(plan.machine.executor).lanes
    workers = min(max(1, workers), cards)
    return "any" if workers == 1 else f"any:{workers}"


def _kept_running(asked: str | None) -> str:
    """What a job does with the ComfyUI that renders for it; it must not be stopped."""
    from vultus.core.errors import JobError

    if asked:
        raise JobError(
            f"--comfyui {asked} would stop the ComfyUI that renders this run",
            where="vultus.toml: renderer",
            expected="share (it is asked to free its models and goes on) or ignore",
            next_command="give the same command with --comfyui share",
        )
    return "share"


def _list(args: argparse.Namespace) -> int:
    from vultus.core.errors import JobError
    from vultus.jobs.folder import home, list_jobs

    rows, damaged = [], []
    for job in list_jobs():
        try:
            rows.append(_described(job))
        except JobError as fault:
            damaged.append({"id": job.id, "folder": str(job.path), "fault": fault.what})
    lines = [_row(row) for row in rows]
    lines += [f"{row['id']:>4}  damaged: {row['folder']} {row['fault']}" for row in damaged]
    lines = lines or [f"no job was started yet ({home() / 'jobs'})"]
    before = Path.home() / ".vultus"
    if (before / "jobs").is_dir() and before != home():
        lines.append(
            f"an earlier version kept jobs and jobs.toml in {before}: mv {before}/* {home()}/"
        )
    if any(row["standing"] in ("lost", "unwatched") for row in rows):
        lines.append("\nset going again what nobody looks after: vultus jobs resume --all")
    say(args, {"jobs": rows, "damaged": damaged}, lines)
    return EXIT_DONE


def _show(args: argparse.Namespace) -> int:
    from vultus.jobs.folder import find
    from vultus.jobs.logs import tail

    job = find(args.job)
    row = _described(job)
    row["spec"] = job.spec.to_json()
    log = tail(job.log, 12)
    lines = [
        f"job {job.id}: {_command(job)}",
        f"  standing  {row['standing']}"
        + (f" (exit code {row['exit_code']})" if _over(row) else ""),
        f"  folder    {row['folder']}",
        f"  attempt   {row['attempt']}",
        f"  time      {_spent(row)}",
    ]
    lines += [f"  reason    {line}" for line in str(row["reason"]).splitlines()[:4]]
    if row["card"]:
        lines.append(f"  card      {row['card']}, ComfyUI: {row['comfyui']}")
    lines += [f"  owed      ComfyUI at {url}" for url in row["owed"]]
    if row["progress"] and not _over(row):
        lines.append(f"  progress  {row['progress']['line']}")
    lines.append(f"  log       {job.log}")
    lines += [f"    {line}" for line in log]
    say(args, {**row, "log_tail": log}, lines)
    return EXIT_DONE


def _follow(args: argparse.Namespace) -> int:
    import json
    import time

    from vultus.jobs.folder import find

    job = find(args.job)
    told = ""
    try:
        while True:
            standing = job.standing()
            row = _described(job)
            line = _news(row)
            if line != told:
                told = line
                if args.json:
                    print(json.dumps(row, ensure_ascii=False), flush=True)
                elif sys.stdout.isatty():
                    print(f"\r\033[K{line}", end="", flush=True)
                else:
                    print(line, flush=True)
            if job.state.phase.is_finished:
                break
            if standing == "lost":
                print(f"\nset it going again: vultus jobs resume {job.id}", file=sys.stderr)
                return EXIT_FAULT
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        print(f"\njob {job.id} goes on; stop it with: vultus jobs stop {job.id}", file=sys.stderr)
        return EXIT_DONE
    if sys.stdout.isatty() and not args.json:
        print()
    return EXIT_DONE if args.json else _ended(args, job)


def _ended(args: argparse.Namespace, job: JobFolder) -> int:
    """Tell how a job ended, and return the exit code that its command had or would have had."""
    from vultus.core.clock import SystemClock
    from vultus.jobs.control import resume_command
    from vultus.jobs.logs import tail

    state = job.state
    lines = [f"job {job.id}: {state.phase.value}"]
    lines += [f"  {line}" for line in state.reason.splitlines()]
    if state.phase.value != "done" or state.exit_code is None:
        go_on = resume_command(job, now=SystemClock().now())
        lines += [f"  log: {job.log}", f"  go on: {go_on}"]
        say(args, _described(job), lines)
        return EXIT_STOPPED if state.phase.value == "stopped" else EXIT_FAULT
    say(args, _described(job), [*tail(job.log, 8), *lines])
    return state.exit_code


def _stop(args: argparse.Namespace) -> int:
    from vultus.jobs.control import stop
    from vultus.jobs.folder import find

    job = find(args.job)
    stop(job, "stopped by hand")
    lines = [f"job {job.id}: {job.standing()}", f"  go on: vultus jobs resume {job.id}"]
    say(args, _described(job), lines)
    return EXIT_DONE


def _resume(args: argparse.Namespace) -> int:
    from vultus.core.clock import SystemClock
    from vultus.core.errors import JobError
    from vultus.jobs.control import move_deadline
    from vultus.jobs.folder import find
    from vultus.jobs.launch import resume, resume_all

    if bool(args.job) == args.all:
        raise JobError("say which job, or --all", next_command="vultus jobs resume --all")
    if args.all and args.deadline_h is not None:
        raise JobError(
            "--deadline-h is of one job, not of --all",
            next_command=f"vultus jobs resume ID --deadline-h {args.deadline_h:g}",
        )
    now = SystemClock().now()
    if args.all:
        resumed = resume_all()
    else:
        job = find(args.job)
        move_deadline(job, args.deadline_h, now=now)
        resumed = [job] if resume(job, now=now) else []
    lines = [f"job {job.id}: going again ({_command(job)})" for job in resumed]
    say(
        args,
        {"resumed": [job.id for job in resumed]},
        lines or ["nothing to resume: every unfinished job is looked after"],
    )
    return EXIT_DONE


def _queue(args: argparse.Namespace) -> int:
    from vultus.core.locks import is_held
    from vultus.jobs.cards import open_probe
    from vultus.jobs.holders import users_of_device
    from vultus.jobs.lease import lock_path, who_holds
    from vultus.jobs.room import waiting_for

    probe = open_probe()
    cards = probe.cards()
    rows: list[dict[str, Any]] = []
    lines = []
    for card in cards:
        held = who_holds(card.uuid) if is_held(lock_path(card.uuid)) else ""
        waiting = waiting_for(card, cards)
        free_mib = probe.free_bytes(card.uuid) // 2**20
        users = [user.text() for user in users_of_device(card.device_file)]
        rows.append(
            {
                "card": card.index,
                "uuid": card.uuid,
                "name": card.name,
                "total_mib": card.total_bytes // 2**20,
                "free_mib": free_mib,
                "held_by": held,
                "open_in": users,
                "waiting": [job.id for job in waiting],
            }
        )
        lines.append(
            f"card {card.index} ({card.name}): {free_mib} of {card.total_bytes // 2**20} MiB free, "
            + (f"held by {held}" if held else "held by no job")
        )
        lines += [f"  open in {user}" for user in users]
        lines += [f"  waiting: job {job.id}: {_command(job)}" for job in waiting]
    say(args, {"cards": rows}, lines or ["this machine has no graphics card: jobs do not queue"])
    return EXIT_DONE


def _described(job: JobFolder) -> dict[str, Any]:
    from vultus.core.clock import SystemClock
    from vultus.jobs.control import describe

    return describe(job, now=SystemClock().now())


def _command(job: JobFolder) -> str:
    import shlex

    return shlex.join(["vultus", *job.spec.words])


def _over(row: dict[str, Any]) -> bool:
    return row["ended_at"] is not None


def _spent(row: dict[str, Any]) -> str:
    from vultus.core.progress import seconds_text

    return seconds_text(max(row["seconds"], 0.0))


def _row(row: dict[str, Any]) -> str:
    """One line of the list."""
    progress = row["progress"] or {}
    share = progress.get("fraction")
    far = f"{100 * share:3.0f} %" if share is not None else "    -"
    return (
        f"{row['id']:>4}  {row['standing']:<9} {far}  {_spent(row):>12}  {' '.join(row['command'])}"
    )


def _news(row: dict[str, Any]) -> str:
    """One line of the following."""
    progress = row["progress"] or {}
    line = progress.get("line") or ""
    if row["standing"] in ("running", "unwatched") and line:
        return str(line)
    reason = str(row["reason"]).splitlines()
    return f"{row['standing']}" + (f": {reason[0]}" if reason else "")
