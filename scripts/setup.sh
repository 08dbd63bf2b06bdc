#!/usr/bin/env bash
# Make the virtual environment and install what a target needs; return at once where that is done.
#   scripts/setup.sh run|export|dev    each holds the one before it; dev is for tests
#   PYTHON: the interpreter to use     VENV: where it goes (.venv)
#   LOCKED=no: take the newest versions instead of the tested ones
# The stamp is a copy of the files that were installed, so only a change of them installs again.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

level=${1:-run}
VENV=${VENV:-.venv}
log="$VENV-install.log"
candidates=(python3 python3.13 python3.12 python3.11)
[ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
trap 'echo; fail "interrupted; the same command goes on from here."' INT

fail() {
  echo "bitlens: $1" >&2
  exit 1
}

wanted() { # the text the stamp of level $1 must hold
  local files=(requirements.txt requirements.lock) file
  [ "$1" = run ] || files+=(requirements-export.txt requirements-export.lock)
  [ "$1" != dev ] || files+=(requirements-dev.txt requirements-dev.lock)
  for file in "${files[@]}"; do
    [ ! -f "$file" ] || cat "$file"
  done
}

works() { # $1 runs (a pyenv shim may not) and is new enough
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate without_venv=""
  for candidate in "${candidates[@]}"; do
    works "$candidate" || continue
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
    without_venv=${without_venv:-$candidate}
  done
  [ -z "$without_venv" ] ||
    fail "$without_venv cannot make virtual environments; on Debian and Ubuntu, apt install python3-venv."
  [ -z "${PYTHON:-}" ] ||
    fail "PYTHON=$PYTHON is missing or older than Python 3.11; name a newer one, or leave PYTHON out."
  fail "no Python 3.11 or newer among ${candidates[*]}; install one, or name it with PYTHON=/path/to/python3."
}

make_venv() {
  local python
  python=$(find_python) || exit 1
  "$python" -m venv --clear "$VENV" >"$log" 2>&1 ||
    fail "$python -m venv $VENV failed; on Debian and Ubuntu, apt install python3-venv (log: $log)."
}

progress() { # the lines of pip worth a look while several GB arrive
  awk '/^ *Downloading .*MB\)/ { print "  downloading", $2, $3, $4; fflush() }
       /^Installing collected/ { print "  unpacking", NF - 3, "packages"; fflush() }'
}

pip_install() { # $1: a requirements file; more: options
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input -r "$@" 2>&1 |
    tee "$log" | progress
  [ "${PIPESTATUS[0]}" -eq 0 ] && return
  reason=$(sed -n 's/^ERROR: //p' "$log" | tail -n 1)
  reason=${reason:-see the log}
  return 1
}

install_tested() { # the versions of requirements file $1 that were tested, each file checked by its hash
  local lock=${1%.txt}.lock
  [ -f "$lock" ] && [ "${LOCKED:-yes}" != no ] || return 0
  pip_install "$lock" --require-hashes --only-binary :all: && return
  ! grep -q "DO NOT MATCH THE HASHES" "$log" ||
    fail "a file is not the one that was tested (log: $log); if you trust it, add LOCKED=no."
  echo "bitlens: $lock cannot be installed here ($reason); installing what $1 allows instead."
}

install() { # $1: a requirements file; after its lock, this adds only what that lacks
  echo "bitlens: installing $1 into $VENV; the first install takes a few minutes and several GB."
  install_tested "$1"
  pip_install "$1" ||
    fail "installing $1 failed ($reason); check network and disk space, then try again (log: $log)."
}

stamp="$VENV/.installed-$level"
if wanted "$level" | cmp -s - "$stamp" && works "$VENV/bin/python"; then exit 0; fi

works "$VENV/bin/python" && "$VENV/bin/python" -c 'import pip' 2>/dev/null || make_venv
rm -f "$VENV"/.installed-*
case $level in run) suffix="" ;; *) suffix=-$level ;; esac
install "requirements$suffix.txt"
wanted run >"$VENV/.installed-run"
[ "$level" = run ] || wanted export >"$VENV/.installed-export"
[ "$level" != dev ] || wanted dev >"$VENV/.installed-dev"
