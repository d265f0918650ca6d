#!/usr/bin/env bash
# Makes Vultus ready on a fresh GPU pod. Upload this one file (in JupyterLab: drag it into the file list), open a terminal and type
#
#   bash start.sh
#
# Everything goes under one durable folder, so that a pod that was stopped and started again has lost nothing: the source,
# the environment, uv's cache and Pythons, model files, the tools, the jobs. A second call is quick and changes nothing that is right.
#
#   VULTUS_ROOT     the durable folder (default: /workspace/vultus where there is a /workspace, else ~/vultus)
#   VULTUS_SOURCE   where the program comes from: a git address, a folder, or an archive (default: a vultus*.tar.gz or
#                   vultus*.zip beside this file)
#   VULTUS_COMMIT   the commit to take from a git address (default: the newest)
#   VULTUS_EXTRAS   optional extras, e.g. "gpu notify" (default: gpu where there is a card). They stay; none takes them away
set -euo pipefail

say() { printf 'pod: %s\n' "$*"; }

die() {
  printf 'pod: %s\n' "$@" >&2
  exit 1
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [[ -d /workspace && -w /workspace ]]; then default_root=/workspace/vultus; else default_root="$HOME/vultus"; fi
root="${VULTUS_ROOT:-$default_root}"

for tool in git make tar python3; do
  command -v "$tool" >/dev/null || die "$tool is missing here." "Install it (apt-get update && apt-get install -y $tool), then call this again."
done

mkdir -p "$root" || die "$root cannot be made." "Name a folder on the pod's durable disk: VULTUS_ROOT=/path bash start.sh"
root="$(cd "$root" && pwd)"
if [[ "$(stat -c %d "$root")" == "$(stat -c %d /)" ]]; then
  say "note: $root lies on the container's own disk, which most hosts clear when a pod stops."
fi

# What every later terminal and job needs to know, in one file.
cat >"$root/env.sh.draft" <<ENV
export VULTUS_ROOT="$root"
export VULTUS_HOME="$root/home"
export UV_CACHE_DIR="$root/cache/uv"
export UV_PYTHON_INSTALL_DIR="$root/python"
export HF_HOME="$root/cache/huggingface"
export XDG_CACHE_HOME="$root/cache"
export OMP_WAIT_POLICY=PASSIVE
export PATH="$root/source/.venv/bin:\$PATH"
ENV
mv "$root/env.sh.draft" "$root/env.sh"
# shellcheck disable=SC1091
source "$root/env.sh"
mkdir -p "$VULTUS_HOME" "$root/workspaces" "$root/bases"

find_archive() {
  local found
  for found in "$here"/vultus*.tar.gz "$here"/vultus*.tgz "$here"/vultus*.zip; do
    [[ -f "$found" ]] && printf '%s' "$found" && return
  done
  return 0
}

source_from="${VULTUS_SOURCE:-$(find_archive)}"
draft="$root/.source.draft"
rm -rf "$draft"

# An archive or a folder is unpacked beside and exchanged; .venv is carried over, so that set-up stays instant, and .tools,
# where set-up remembers which extras were asked for.
exchange() {
  local found inside kept
  found="$(find "$draft" -maxdepth 2 -name pyproject.toml | head -n 1)"
  [[ -n "$found" ]] || die "$source_from holds no Vultus (no pyproject.toml in it)."
  inside="$(dirname "$found")"
  for kept in .venv .tools; do
    rm -rf "${inside:?}/$kept"
    if [[ -d "$root/source/$kept" ]]; then mv "$root/source/$kept" "$inside/$kept"; fi
  done
  rm -rf "$root/source"
  mv "$inside" "$root/source"
  rm -rf "$draft"
}

if [[ -z "$source_from" ]]; then
  [[ -f "$root/source/pyproject.toml" ]] || die "no source was named." \
    "VULTUS_SOURCE=<git address, folder or archive> bash start.sh, or put vultus.tar.gz beside start.sh"
  say "source: the one in $root/source"
elif [[ -f "$source_from" ]]; then
  say "source: $source_from"
  mkdir -p "$draft"
  case "$source_from" in
    *.zip) python3 -m zipfile -e "$source_from" "$draft" ;;
    *) tar -xzf "$source_from" -C "$draft" ;;
  esac
  exchange
elif [[ -d "$source_from" && ! -d "$source_from/.git" ]]; then
  say "source: $source_from"
  cp -r "$source_from" "$draft"
  exchange
else
  say "source: $source_from"
  [[ -d "$root/source/.git" ]] || git clone --quiet -- "$source_from" "$root/source"
  git -C "$root/source" fetch --quiet --tags -- "$source_from" "${VULTUS_COMMIT:-HEAD}"
  git -C "$root/source" checkout --quiet --detach FETCH_HEAD
fi
chmod +x "$root/source/scripts/"*.sh 2>/dev/null || true

if [[ -z "${VULTUS_EXTRAS+set}" ]]; then
  if [[ -e /proc/driver/nvidia/version ]]; then VULTUS_EXTRAS=gpu; else VULTUS_EXTRAS=""; fi
fi
export VULTUS_EXTRAS
say "set-up (extras asked for: ${VULTUS_EXTRAS:-no further ones})"
make --no-print-directory -C "$root/source" setup

# What a restarted pod runs to go on: name it in the host's start command, or call it by hand.
cat >"$root/boot.sh.draft" <<'BOOT'
#!/usr/bin/env bash
# Goes on with every job that the stop of this pod interrupted.
set -euo pipefail
# shellcheck disable=SC1091
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec vultus jobs resume --all
BOOT
chmod +x "$root/boot.sh.draft"
mv "$root/boot.sh.draft" "$root/boot.sh"

line="source $root/env.sh"
if [[ -w "$HOME" ]] && ! grep -qsxF "$line" "$HOME/.bashrc"; then
  printf '%s\n' "$line" >>"$HOME/.bashrc"
fi

vultus doctor || say "the doctor found something: its lines say what to type."
say "ready. In this terminal type first:  $line"
say "then:  vultus demo $root/workspaces/demo"
