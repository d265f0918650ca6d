"""Tiny wheels and a recipe of planted truth: a tool that can be built in seconds, without the network."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str, text: str) -> Path:
    """Write a pure wheel with one module; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}"
    files = {
        f"{name}.py": text,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    rows = []
    for path, body in files.items():
        raw = hashlib.sha256(body.encode()).digest()
        sha = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        rows.append(f"{path},sha256={sha},{len(body.encode())}")
    rows.append(f"{stem}.dist-info/RECORD,,")
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in files.items():
            archive.writestr(path, body)
        archive.writestr(f"{stem}.dist-info/RECORD", "\n".join(rows) + "\n")
    return wheel


def lock_line(wheel: Path) -> str:
    """The wheel as a line of a lock."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


def make_source(folder: Path, text: str = "print('trained')\n") -> str:
    """A git checkout with one program; returns its commit."""
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(text)
    (folder / "README.md").write_text("a planted tool\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return head(folder)


def head(folder: Path) -> str:
    """The commit of a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
