"""A notice is told on every way that is set; a way that fails, hangs or is missing never fails the job."""

from __future__ import annotations

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from vultus.cli.main import main
from vultus.notices import send
from vultus.notices.records import EVENTS, Notice, NotifySpec
from vultus.notices.send import announce, tell_home
from vultus.testing.planted import make_workspace

NOTICE = Notice("done", "This LoRA draws Ada.", ("m10 8.4",), "ada")
READ = "import sys, pathlib; pathlib.Path('heard.json').write_text(sys.stdin.read())"


def test_file_and_command_are_told_without_any_extra(tmp_path: Path) -> None:
    spec = NotifySpec(file="notices.jsonl", command=(sys.executable, "-c", READ))
    assert announce(NOTICE, spec, tmp_path) == {"file": "", "command": ""}
    announce(Notice("failed", "broke off"), spec, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "notices.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["done", "failed"]
    assert lines[0]["title"] == NOTICE.title and lines[0]["job"] == "ada" and lines[0]["at"] > 0
    assert json.loads((tmp_path / "heard.json").read_text())["event"] == "failed"


def test_silence_is_the_default_and_events_can_be_chosen(tmp_path: Path) -> None:
    assert announce(NOTICE, NotifySpec(), tmp_path) == {}
    only = NotifySpec(on=("failed", "deadline"), file="n.jsonl")
    assert announce(NOTICE, only, tmp_path) == {}
    assert announce(Notice("deadline", "late"), only, tmp_path) == {"file": ""}
    assert len(EVENTS) == 4
    with pytest.raises(ValueError):
        Notice("finished", "no such event")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"command": ("no-such-program-here",)}, "cannot be started"),
        ({"command": (sys.executable, "-c", "raise SystemExit(3)")}, "exit code 3"),
        ({"file": "a-folder"}, "IsADirectoryError"),
        ({"services": "missing.txt"}, "cannot be read|not installed"),
    ],
)
def test_a_way_that_fails_is_told_and_never_raised(
    tmp_path: Path,
    spec: dict[str, object],
    why: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import re

    monkeypatch.setattr(logging.getLogger("vultus"), "propagate", True)
    (tmp_path / "a-folder").mkdir()
    told = announce(NOTICE, NotifySpec(**spec), tmp_path)  # type: ignore[arg-type]
    assert len(told) == 1 and re.search(why, next(iter(told.values())))
    assert "was not told" in caplog.text


def test_a_way_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(send, "SEND_S", 0.05)
    monkeypatch.setattr(send, "_append", lambda notice, path: release.wait(30))
    told = announce(NOTICE, NotifySpec(file="n"), tmp_path)
    release.set()
    assert "no end within" in told["file"]


def test_a_service_hears_it_and_no_address_is_repeated(tmp_path: Path) -> None:
    pytest.importorskip(
        "apprise", reason="LOUD: the extra `notify` (apprise) is not installed here"
    )
    heard: list[dict[str, str]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(json.loads(body))
            self.send_response(200 if "s3cret" in self.path else 500)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    (tmp_path / "services.txt").write_text(f"# mine\njson://127.0.0.1:{port}/s3cret\n")
    assert announce(NOTICE, NotifySpec(services="services.txt"), tmp_path) == {"services": ""}
    assert heard[0]["title"] == NOTICE.title and heard[0]["message"] == "m10 8.4"
    (tmp_path / "services.txt").write_text(f"json://127.0.0.1:{port}/hidden\nnonsense\n")
    told = announce(NOTICE, NotifySpec(services="services.txt"), tmp_path)
    server.shutdown()
    assert "line 2" in told["services"] and "hidden" not in told["services"]


def test_what_belongs_to_no_workspace_is_told_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    late = Notice("deadline", "the job is late", job="j1")
    assert tell_home(late) == {}, "no file, nobody to tell"
    (tmp_path / "notify.toml").write_text('file = "late.jsonl"\n')
    assert tell_home(late) == {"file": ""}
    assert json.loads((tmp_path / "late.jsonl").read_text())["job"] == "j1"
    (tmp_path / "notify.toml").write_text('fiel = "late.jsonl"\n')
    assert "fiel" in tell_home(late)["file"]


def test_the_trial_says_what_would_happen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_workspace(tmp_path / "ada")
    assert main(["notify", str(tmp_path / "ada")]) == 1
    assert "names nobody" in capsys.readouterr().out
    plan = tmp_path / "ada" / "vultus.toml"
    plan.write_text(plan.read_text() + '\n[notify]\nfile = "n.jsonl"\non = ["failed"]\n')
    assert main(["notify", str(tmp_path / "ada")]) == 1
    assert main(["notify", str(tmp_path / "ada"), "--event", "failed"]) == 0
    assert len((tmp_path / "ada" / "n.jsonl").read_text().splitlines()) == 1
