#!/usr/bin/env bash
# Makes the project's own environment in .venv from uv.lock, and says what it does. A second call is instant.
#
#   scripts/setup.sh                     everything that running and testing need
#   VULTUS_EXTRAS="gpu" scripts/setup.sh an optional extra of pyproject.toml too (names separated by blanks). Extras stay: a
#                                        later call adds to them, VULTUS_EXTRAS=none takes all of them away again
#   scripts/setup.sh --check             change nothing; exit 1 when there is something to do
#
# What it asks of the machine: bash, python3 (only to fetch uv and to read pip's configuration) and a package index.
# It honours the machine's settings and writes none of them into the project:
#   * pip's find-links folders are where a CPU build of torch may lie. uv does not read pip's configuration, so they are
#     handed to the one command that installs torch. 2.13.0+cpu satisfies the lock's torch==2.13.0 and sorts above it. Where
#     a folder offers it, no CUDA package is installed; with no such folder, torch is the one of the lock (on Linux: CUDA).
#   * pip's index-url becomes uv's default index, and its extra-index-url is asked when the default alone has not everything;
#     every file but that CPU wheel is checked against the hashes in uv.lock, wherever it comes from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="$PWD/.venv"
stamp="$venv/.vultus-stamp"
kept="$PWD/.tools/extras" # outside .venv, which is made anew

# Extras that were asked for before, and those of this call: `make demo` must not take away what training needs.
wanted_extras() {
  if [[ "${VULTUS_EXTRAS:-}" == none ]]; then return; fi
  { cat "$kept" 2>/dev/null || true; printf '%s\n' ${VULTUS_EXTRAS:-}; } | sed '/^$/d' | sort -u | paste -sd' ' -
}
extras="$(wanted_extras)"

say() { printf 'set-up: %s\n' "$*"; }

die() {
  printf 'set-up: %s\n' "$@" >&2
  exit 1
}

# What the environment was made from: when none of it has changed there is nothing to do. Of pyproject.toml only what
# concerns installing counts (it comes first), so that a changed rule of a linter does not build everything anew.
fingerprint() {
  {
    printf '%s\n%s\n' "$PWD" "$extras"
    sed '/^\[tool\./q' pyproject.toml
    cat uv.lock locks/uv.txt scripts/setup.sh
  } | cksum
}

is_ready() { [[ -x "$venv/bin/python" && -f "$stamp" && "$(cat "$stamp")" == "$(fingerprint)" ]]; }

# Four settings of pip, one per line, from wherever pip would take them (environment, command's section, global); an empty
# line where there is none. `pip config list` and not `get`: the latter does not find what stands in a command's section.
pip_settings() {
  python3 - find-links extra-index-url index-url cert <<'PYTHON' 2>/dev/null || true
import ast, subprocess, sys
listed = subprocess.run(
    [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
)
found = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
for name in sys.argv[1:]:
    values = [found.get(f"{section}.{name}") for section in (":env:", "install", "global")]
    value = next((value for value in values if value), "''")
    print(" ".join(str(ast.literal_eval(value)).split()))
PYTHON
}

find_uv() {
  local pinned=".tools/bin/uv"
  if [[ -n "${UV:-}" ]]; then
    uv="$UV"
  elif command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
    uv="uv"
  elif [[ -x "$pinned" ]]; then
    uv="$PWD/$pinned"
  else
    say "uv is missing: fetching the pinned one into .tools/ (its hash is checked)"
    # --target needs neither a virtual environment nor the right to write into the machine's Python.
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
      --no-deps --require-hashes --target .tools -r locks/uv.txt ||
      die "uv could not be fetched with 'python3 -m pip'." \
        "Install uv (https://docs.astral.sh/uv/getting-started/installation/), then call this again."
    uv="$PWD/$pinned"
  fi
}

# pip's settings in uv's words, for this process only. What the user has set for uv itself is left alone.
adopt_pip_settings() {
  local index certificates
  {
    read -r links || true
    read -r extra_indexes || true
    read -r index || true
    read -r certificates || true
  } < <(pip_settings)
  links="${links// /,}" # pip separates by blanks, uv by commas
  if [[ -n "$index" && -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
    export UV_DEFAULT_INDEX="$index"
    say "package index from pip's configuration: $(printf '%s' "$index" | sed 's#//[^/@]*@#//***@#')"
  fi
  if [[ -n "$certificates" && -z "${SSL_CERT_FILE:-}" ]]; then
    export SSL_CERT_FILE="$certificates"
  fi
}

make_venv() {
  local python
  # 3.11 first: it is the version the lock is tested with and the one local CPU builds of torch are made for.
  python="$("$uv" python find --system --no-project --no-python-downloads 3.11 2>/dev/null ||
    "$uv" python find --system --no-project --no-python-downloads '>=3.11' 2>/dev/null || printf '3.11')"
  say "making .venv with $python"
  "$uv" venv --quiet --no-project --clear --python "$python" "$venv"
}

# uv pip install, and once more with pip's extra indexes when the default index alone could not serve it.
install() {
  if [[ -z "$extra_indexes" ]]; then
    "$uv" pip install --quiet --python "$venv" "$@"
  elif ! "$uv" pip install --quiet --python "$venv" "$@" 2>"$venv/install.log"; then
    say "the default index does not have everything: asking pip's extra indexes too"
    UV_INDEX="$extra_indexes" "$uv" pip install --quiet --python "$venv" --index-strategy unsafe-best-match "$@" || {
      cat "$venv/install.log" >&2
      return 1
    }
  fi
}

# The lock as requirements with hashes; arguments are handed on (packages to leave out).
export_lock() {
  local extra
  local -a wanted=(--group dev)
  for extra in $extras; do wanted+=(--extra "$extra"); done
  "$uv" export --quiet --frozen --no-emit-project "${wanted[@]}" "$@"
}

install_locked() {
  local requirements="$venv/requirements.txt" torch name
  local -a left_out=()
  torch="$(sed -n 's/^ *"torch==\([^"]*\)".*/\1/p' pyproject.toml)"
  if [[ -n "$links" ]] && UV_FIND_LINKS="$links" "$uv" pip install --quiet --python "$venv" \
    --no-index --no-deps --compile-bytecode "torch==$torch" 2>/dev/null; then
    say "torch $torch comes from pip's find-links folder ($links)"
    # Never two torches: neither the lock's torch nor the CUDA packages that belong to it.
    for name in $(sed -n 's/^name = "\(torch\|triton\|nvidia-[^"]*\|cuda-[^"]*\)"$/\1/p' uv.lock); do
      left_out+=(--no-emit-package "$name")
    done
  else
    say "torch $torch comes from the package index"
  fi
  export_lock ${left_out[@]+"${left_out[@]}"} >"$requirements"
  say "installing $(grep -c '^[a-z0-9].*==' "$requirements") locked packages, hashes checked"
  # Compiled now, by all cores: left to the first import it is done one file at a time, and where PYTHONDONTWRITEBYTECODE
  # is set (many containers) again by every process, five seconds each.
  install --require-hashes --no-deps --compile-bytecode -r "$requirements"
  # The build back end is part of uv: no index is asked.
  "$uv" pip install --quiet --python "$venv" --no-deps --editable .
}

check_torch() {
  "$venv/bin/python" - <<'PYTHON'
from importlib.metadata import distributions, version
names = [d.metadata["Name"].lower() for d in distributions()]
assert names.count("torch") == 1, "there must be exactly one torch"
cuda = [n for n in names if n.startswith("nvidia-")]
assert not (version("torch").endswith("+cpu") and cuda), f"CPU torch beside CUDA packages: {cuda}"
print(f"set-up: torch {version('torch')}, {len(names)} packages")
PYTHON
}

main() {
  if is_ready; then
    return
  fi
  if [[ "${1:-}" == "--check" ]]; then
    die "the environment in .venv is missing, or older than the lock: make setup"
  fi
  # Two calls at once (two terminals): the second waits, then finds the work done.
  if command -v flock >/dev/null; then
    exec 9>.venv.lock
    flock 9
    extras="$(wanted_extras)" # the first may have added some
    if is_ready; then return; fi
  fi
  local started=$SECONDS
  find_uv
  say "using $("$uv" --version)"
  adopt_pip_settings
  make_venv
  install_locked
  check_torch
  mkdir -p "$(dirname "$kept")"
  printf '%s\n' $extras >"$kept"
  fingerprint >"$stamp"
  say "ready in $((SECONDS - started)) s: .venv/bin/vultus --help"
}

main "$@"
