"""What set-up relies on: a lock from PyPI alone with hashes, exact pins, no path of any machine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest

import vultus

ROOT = Path(__file__).resolve().parents[1]
PYPI = "https://pypi.org/simple"
HOSTS = ("https://files.pythonhosted.org/",)

PIN = re.compile(r"^[a-z0-9-]+==[0-9][\w.]*( ; .+)?$")


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


LOCKED: list[dict[str, Any]] = read("uv.lock")["package"]
OTHERS = [package for package in LOCKED if package["name"] != "vultus"]


def test_the_lock_names_no_registry_but_pypi() -> None:
    assert len(OTHERS) >= 60
    assert {str(package["source"]) for package in OTHERS} == {str({"registry": PYPI})}
    own = [package for package in LOCKED if package["name"] == "vultus"]
    assert [package["source"] for package in own] == [{"editable": "."}]


def test_every_file_of_the_lock_has_a_hash_and_comes_from_pypi() -> None:
    files = [
        file for p in OTHERS for file in [*p.get("wheels", ()), *filter(None, [p.get("sdist")])]
    ]
    assert len(files) >= 500
    assert all(file["url"].startswith(HOSTS) for file in files)
    assert all(file["hash"].startswith("sha256:") for file in files)


def test_the_lock_holds_one_torch_and_it_is_pypis() -> None:
    names = [package["name"] for package in OTHERS]
    assert names.count("torch") == 1
    torch = next(package for package in OTHERS if package["name"] == "torch")
    assert f"torch=={torch['version']}" in read("pyproject.toml")["project"]["dependencies"]
    assert not any("%2Bcpu" in wheel["url"] or "+cpu" in wheel["url"] for wheel in torch["wheels"])
    assert "torchvision" not in names, "nothing needs it, and it brings another torch"


def test_everything_we_ask_for_is_pinned_exactly() -> None:
    project = read("pyproject.toml")
    asked = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    for group in project["dependency-groups"].values():
        asked += group
    assert len(asked) >= 18
    assert not [line for line in asked if not PIN.match(line)]


def test_torch_and_what_the_demo_needs_are_in_the_default_installation() -> None:
    asked = {line.split("==")[0] for line in read("pyproject.toml")["project"]["dependencies"]}
    assert {"torch", "diffusers", "peft", "transformers", "onnxruntime", "pillow"} <= asked
    assert not asked & {"onnxruntime-gpu", "opencv-python", "bitsandbytes"}


def test_no_index_and_no_folder_of_a_machine_is_configured() -> None:
    uv = read("pyproject.toml")["tool"]["uv"]
    assert not {"index", "index-url", "extra-index-url", "find-links", "sources"} & set(uv)
    assert not (ROOT / "uv.toml").exists()


def tracked_texts() -> list[Path]:
    """Return every text file that git would carry."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout: the list of files is git's")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    kinds = {".py", ".md", ".toml", ".sh", ".txt", ".json", ".yml", ".cfg", ".ini", ""}
    return [path for path in paths if path.suffix in kinds and path.is_file()]


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    # Put together here, so that this file does not name them either.
    forbidden = ["/" + word for word in ("work/", "opt/wheels", "opt/pypi", "root/")]
    texts = tracked_texts()
    assert len(texts) >= 60
    found = []
    for path in texts:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)} names {word}" for word in forbidden if word in text]
    assert not found, "\n".join(found)


def test_the_fetched_uv_is_the_locked_one_hash_by_hash() -> None:
    text = (ROOT / "locks" / "uv.txt").read_text(encoding="utf-8")
    uv = next(package for package in OTHERS if package["name"] == "uv")
    assert f"uv=={uv['version']} " in text
    hashes = {wheel["hash"] for wheel in [*uv["wheels"], uv["sdist"]]}
    assert set(re.findall(r"sha256:[0-9a-f]{64}", text)) == hashes and len(hashes) >= 5


def test_this_environment_has_one_torch_and_no_rivals() -> None:
    names = [d.metadata["Name"].lower().replace("_", "-") for d in distributions()]
    assert names.count("torch") == 1
    cuda = [name for name in names if name.startswith("nvidia-")]
    assert not (version("torch").endswith("+cpu") and cuda)
    assert not {"opencv-python", "opencv-python-headless"} <= set(names)
    assert not {"onnxruntime", "onnxruntime-gpu"} <= set(names)


def test_the_version_is_written_once_in_effect() -> None:
    assert read("pyproject.toml")["project"]["version"] == vultus.__version__


def test_a_second_set_up_does_nothing_and_says_nothing() -> None:
    check = ["bash", "scripts/setup.sh", "--check"]
    if subprocess.run(check, cwd=ROOT, capture_output=True, check=False).returncode != 0:
        pytest.skip("this environment is not the one of scripts/setup.sh: make setup")
    before = (ROOT / ".venv" / ".vultus-stamp").stat().st_mtime_ns
    done = subprocess.run(
        ["bash", "scripts/setup.sh"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "" and done.stderr == ""
    assert (ROOT / ".venv" / ".vultus-stamp").stat().st_mtime_ns == before


def pip_settings(folder: Path, configuration: str, extra: dict[str, str]) -> dict[str, str]:
    """Return what the script reads from a pip configuration, without installing anything."""
    (folder / "pip.conf").write_text(configuration, encoding="utf-8")
    # With the null device pip reads no file at all, not even the machine's.
    file = str(folder / "pip.conf") if configuration else os.devnull
    script = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert script.endswith('\nmain "$@"\n')
    probe = (
        script.removesuffix('main "$@"\n').replace('cd "$(dirname "${BASH_SOURCE[0]}")/.."', ":")
        + "adopt_pip_settings >/dev/null\n"
        'printf "%s\\n" "$links" "$extra_indexes" "${UV_DEFAULT_INDEX:-}" "${SSL_CERT_FILE:-}"\n'
    )
    # `python3` must be one with pip; its folder goes first. The environment's own pip settings are
    # left out.
    environment = {
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "PIP_CONFIG_FILE": file,
        **extra,
    }
    done = subprocess.run(
        ["bash", "-c", probe],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    names = ("links", "extra_indexes", "default_index", "certificates")
    return dict(zip(names, done.stdout.split("\n"), strict=False))


def test_set_up_reads_pips_configuration(tmp_path: Path) -> None:
    written = (
        "[global]\nindex-url = https://user:secret@mirror.example/simple\ncert = /certs.pem\n"
        "[install]\nfind-links = /wheels /more wheels\nextra-index-url = https://a/simple https://b/simple\n"
    )
    read = pip_settings(tmp_path, written, {})
    assert read["links"] == "/wheels,/more,wheels"
    assert read["extra_indexes"] == "https://a/simple https://b/simple"
    assert read["default_index"] == "https://user:secret@mirror.example/simple"
    assert read["certificates"] == "/certs.pem"


def test_the_environment_outranks_the_file_and_uvs_own_settings_are_kept(tmp_path: Path) -> None:
    written = "[global]\nindex-url = https://mirror.example/simple\nfind-links = /wheels\n"
    own = {"PIP_FIND_LINKS": "/mine", "UV_DEFAULT_INDEX": "https://uv.example/simple"}
    read = pip_settings(tmp_path, written, own)
    assert read["links"] == "/mine" and read["default_index"] == "https://uv.example/simple"


def test_nothing_configured_is_fine(tmp_path: Path) -> None:
    read = pip_settings(tmp_path, "", {})
    assert read == {"links": "", "extra_indexes": "", "default_index": "", "certificates": ""}


DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "prodigyplus": "prodigy-plus-schedule-free",
    "resvg_py": "resvg-py",
}
"""Import names that differ from the name to install."""

BUILDERS = "vultus/standin/build/"
"""Makes the bundled weights; runs in a developer's checkout only, so it may use the dev group."""


def imported_libraries() -> dict[str, set[str]]:
    """Return what the package imports from outside: distribution -> files."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "vultus").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                file = path.relative_to(ROOT).as_posix()
                found.setdefault(DISTRIBUTIONS.get(name, name), set()).add(file)
    found.pop("vultus", None)
    return found


def test_the_package_imports_only_what_it_asks_for_and_asks_for_nothing_idle() -> None:
    project = read("pyproject.toml")
    asked = {line.split("==")[0] for line in project["project"]["dependencies"]}
    # by import name: pynvml is nvidia-ml-py
    extras = {"apprise", "av", "bitsandbytes", "pi_heif", "pynvml", "ray", "scenedetect"}
    imported = imported_libraries()
    assert len(imported) >= 8
    shipped = {n for n, files in imported.items() if any(not f.startswith(BUILDERS) for f in files)}
    assert not {name: imported[name] for name in shipped - asked - extras}
    # accelerate is used by diffusers' loader, not by name.
    assert not asked - set(imported) - {"accelerate"}
