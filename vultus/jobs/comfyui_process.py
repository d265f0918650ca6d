"""The process of a ComfyUI: finding it, writing down how it was started, stopping and restarting it.

Trap of the field: supervised images start a killed ComfyUI again, in the middle of the training. So
a supervisor is looked for among its ancestors and told to stop it; where there is none, TERM, wait,
KILL, and its family is looked at again, because something else may bring it back.

What is written down (`Capture`) is the command line of the process itself, byte for byte, with its
folder and environment: `sys.argv`, which the server tells, lacks the interpreter, and a start
script may have changed it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vultus.core.clock import Clock, SystemClock
from vultus.core.errors import NeighbourError
from vultus.jobs.comfyui_server import ComfyServer
from vultus.jobs.folder import home
from vultus.jobs.holders import listening_ports, port_owner
from vultus.jobs.processes import (
    PROC,
    Process,
    end_family,
    identify,
    is_alive,
    read_stat,
    read_stats,
)

__all__ = ["DEFAULT_PORT", "Capture", "capture", "find", "restart", "stop"]

DEFAULT_PORT = 8188
TERM_WITHIN_S = 20.0
RESPAWN_WATCH_S = 3.0
SUPERVISORCTL_WITHIN_S = 60.0


@dataclass(frozen=True)
class Capture:
    """Everything that is needed to bring a ComfyUI back as it was."""

    url: str
    process: Process
    argv: tuple[str, ...]
    """the command line of the process"""
    folder: str
    environment: dict[str, str]
    server_argv: tuple[str, ...]
    """what the server calls its argv: compared after the restart"""
    log: str = ""
    """the file that its stdout went to, if it was one"""
    program: str = ""
    """its name under a supervisor, "" when nobody supervises it"""
    controls: tuple[str, ...] = ()
    """the supervisorctl command of that supervisor"""
    prompts: tuple[Any, ...] = field(default_factory=tuple)
    """queue entries that were interrupted and are owed back"""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "process": self.process.to_json()}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Capture:
        """Read what `to_json` wrote."""
        row = dict(table)
        row["process"] = Process.from_json(row["process"])
        for name in ("argv", "server_argv", "controls", "prompts"):
            row[name] = tuple(row[name])
        return cls(**row)


def find(url: str = "") -> list[ComfyServer]:
    """Return the ComfyUIs that answer: at `url`, or at the usual port and wherever one seems to run."""
    if url:
        server = ComfyServer(url)
        return [server] if server.is_healthy() else []
    ports = {DEFAULT_PORT} if port_owner(DEFAULT_PORT) else set()
    for stat in read_stats():
        with suppress(OSError):
            words = (PROC / str(stat.pid) / "cmdline").read_bytes().decode(errors="replace")
            folder = str((PROC / str(stat.pid) / "cwd").readlink())
            script = "main.py" in words or "comfy" in words.lower()
            if script and "comfy" in (words + folder).lower():
                ports.update(listening_ports(stat.pid))
    servers = [ComfyServer(f"http://127.0.0.1:{port}", timeout_s=5.0) for port in sorted(ports)]
    return [server for server in servers if server.is_healthy()]


def capture(server: ComfyServer) -> Capture:
    """Write down how this server's process was started. Raises NeighbourError when it is not ours to see."""
    server_argv = server.argv()
    pid = port_owner(server.port)
    process = identify(pid) if pid is not None else None
    if process is None:
        raise NeighbourError(
            "answers, but its process cannot be seen from here",
            where=server.url,
            expected="a ComfyUI of this user in this container",
            next_command="stop it by hand, then start the job again",
        )
    place = PROC / str(process.pid)
    try:
        argv = _words((place / "cmdline").read_bytes())
        folder = str((place / "cwd").readlink())
        environment = dict(
            word.partition("=")[::2] for word in _words((place / "environ").read_bytes())
        )
    except OSError as fault:
        raise NeighbourError(
            f"its process {process.pid} cannot be read: {fault.strerror}",
            where=server.url,
            expected="a ComfyUI of this user",
        ) from fault
    program, controls = _supervision(process.pid, environment)
    return Capture(
        url=server.url,
        process=process,
        argv=tuple(argv),
        folder=folder,
        environment=environment,
        server_argv=tuple(server_argv),
        log=_regular_file(place / "fd" / "1"),
        program=program,
        controls=controls,
    )


def stop(found: Capture, *, clock: Clock | None = None) -> None:
    """End the ComfyUI that was captured, and make sure that nobody brings it back.

    Raises NeighbourError when it lives on or comes back.
    """
    watch = clock or SystemClock()
    if found.program:
        _control(found, "stop")
    signals = ((signal.SIGTERM, TERM_WITHIN_S),)
    if not end_family(found.process, signals=signals, clock=watch):
        raise NeighbourError(
            f"process {found.process.pid} does not end, not even by SIGKILL",
            where=found.url,
            next_command="restart the pod: its driver hangs",
        )
    port = ComfyServer(found.url).port
    until_s = watch.monotonic() + RESPAWN_WATCH_S
    while watch.monotonic() < until_s:
        again = port_owner(port)
        if again is not None:
            parent = read_stat(again)
            raise NeighbourError(
                f"was stopped and came back as process {again}: something restarts it"
                + (f" (its parent is process {parent.parent})" if parent else ""),
                where=found.url,
                expected="a ComfyUI that stays stopped",
                next_command="stop whatever restarts it, then start the job again",
            )
        watch.sleep(0.2)


def restart(
    found: Capture,
    *,
    healthy_within_s: float,
    clock: Clock | None = None,
    breathe: Callable[[], None] = lambda: None,
) -> Process:
    """Start a captured ComfyUI again and wait until it answers with the argv that it had.

    Returns its new process; one that is already back is left alone. Prompts that were taken from it
    are given back under their old ids. Raises NeighbourError when it does not come back.
    """
    watch = clock or SystemClock()
    server = ComfyServer(found.url, timeout_s=5.0)
    child: subprocess.Popen[bytes] | None = None
    if port_owner(server.port) is None:
        if found.program:
            _control(found, "start")
        else:
            child = _spawn(found)
    until_s = watch.monotonic() + healthy_within_s
    while not server.is_healthy():
        ended = child is not None and child.poll() is not None
        if ended or watch.monotonic() > until_s:
            raise NeighbourError(
                "was started again and ended at once"
                if ended
                else f"did not answer within {healthy_within_s:g} s of its restart",
                where=found.url,
                expected="/system_stats of a healthy server",
                next_command=f"cd {shlex.quote(found.folder)} && {shlex.join(found.argv)}",
            )
        breathe()
        watch.sleep(0.2)
    if tuple(server.argv()) != found.server_argv:
        raise NeighbourError(
            f"came back with other arguments: {shlex.join(server.argv())}",
            where=found.url,
            expected=shlex.join(found.server_argv),
        )
    _give_back(server, found)
    pid = port_owner(server.port)
    process = identify(pid) if pid is not None else None
    if process is None or not is_alive(process):
        raise NeighbourError("answered and ended again", where=found.url)
    return process


def _give_back(server: ComfyServer, found: Capture) -> None:
    known = set(server.queue().ids)
    for _, prompt_id, prompt, extra, *_ in found.prompts:
        if str(prompt_id) not in known and server.history(str(prompt_id)) is None:
            client = str(extra.get("client_id", ""))
            server.submit(prompt, str(prompt_id), client_id=client, extra_data=extra)


def _spawn(found: Capture) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, with its old log file or one of ours, and no stdin."""
    log = Path(found.log) if found.log else home() / "comfyui.log"
    program = found.argv[0]
    if "/" not in program:
        program = shutil.which(program, path=found.environment.get("PATH")) or program
    try:
        with log.open("ab") as out:
            return subprocess.Popen(
                list(found.argv),
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=found.folder,
                env=found.environment,
                start_new_session=True,
            )
    except OSError as fault:
        raise NeighbourError(
            f"cannot be started again: {fault}",
            where=found.folder,
            next_command=f"cd {shlex.quote(found.folder)} && {shlex.join(found.argv)}",
        ) from fault


def _supervision(pid: int, environment: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """The name of a process under supervisord and the command that controls it, or "" and ()."""
    seen = pid
    while seen > 1:
        stat = read_stat(seen)
        if stat is None:
            return "", ()
        words = _words_of(seen)
        if stat.name.startswith("supervisord") or any("supervisord" in w for w in words[:3]):
            break
        seen = stat.parent
    else:
        return "", ()
    group = environment.get("SUPERVISOR_GROUP_NAME", "")
    name = environment.get("SUPERVISOR_PROCESS_NAME", "")
    if not name:
        return "", ()
    controls = [_beside(words, "supervisorctl")]
    for flag in ("-c", "--configuration"):
        if flag in words:
            controls += ["-c", words[words.index(flag) + 1]]
    url = environment.get("SUPERVISOR_SERVER_URL", "")
    if url:
        controls += ["-s", url]
    return (f"{group}:{name}" if group else name), tuple(controls)


def _beside(words: list[str], name: str) -> str:
    """The supervisorctl that belongs to a supervisord: beside it, else the one on the path."""
    for word in words[:3]:
        other = Path(word).with_name(name)
        if word.endswith("supervisord") and other.exists():
            return str(other)
    return shutil.which(name) or name


def _control(found: Capture, verb: str) -> None:
    command = [*found.controls, verb, found.program]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SUPERVISORCTL_WITHIN_S,
            check=False,
        )
        said = (done.stdout + done.stderr).strip()
        good = done.returncode == 0 or "not running" in said or "already started" in said
    except (OSError, subprocess.SubprocessError) as fault:
        said, good = str(fault), False
    if not good:
        raise NeighbourError(
            f"its supervisor did not {verb} it: {said}",
            where=found.program,
            expected="a supervisor that obeys",
            next_command=shlex.join(command),
        )


def _words(raw: bytes) -> list[str]:
    return [os.fsdecode(word) for word in raw.removesuffix(b"\0").split(b"\0") if raw]


def _words_of(pid: int) -> list[str]:
    try:
        return _words((PROC / str(pid) / "cmdline").read_bytes())
    except OSError:
        return []


def _regular_file(link: Path) -> str:
    with suppress(OSError):
        place = link.readlink()
        if place.is_file():
            return str(place)
    return ""
