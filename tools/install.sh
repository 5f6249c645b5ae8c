#!/usr/bin/env bash
# Makes .venv with the pinned packages, once; a stamp says for which folder and which pins it was made.
#   tools/install.sh               what `make install` does
#   tools/install.sh constraints   resolves again and writes constraints.txt
# PYTHON names the interpreter; without it the first of Python 3.11 to 3.14 that is found.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "$1" >&2
    exit 2
}

find_python() {
    local candidates=(python3.11 python3.12 python3.13 python3.14 python3) candidate
    if [[ -n "${PYTHON:-}" ]]; then
        candidates=("$PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
            "$candidate" -c 'import ensurepip, venv' 2>/dev/null ||
                fail "$candidate cannot make virtual environments; on Debian: apt-get install python3-venv."
            echo "$candidate"
            return
        fi
    done
    fail "No Python 3.11 to 3.14 found as ${candidates[*]}; install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3."
}

take_lock() {
    exec 9>.venv.lock || fail "This folder cannot be written to; clone the repository to one that can."
    # Not every Unix has flock; there only simultaneous first runs are unguarded.
    if command -v flock >/dev/null && ! flock --nonblock 9; then
        echo "Another make is installing here; waiting for it."
        flock 9
    fi
}

# On a terminal one changing line tells the package in hand; piped, nothing: the log has it all.
progress() {
    if [[ -t 1 ]]; then
        awk '/^Collecting / {printf "\r%4d %-60.60s", ++count, $2; fflush()}
             /^Installing collected/ {printf "\r%-65s\n", "     unpacking"; fflush()}'
    else
        cat >/dev/null
    fi
}

# install_into ENVIRONMENT PIP-ARGUMENTS...
install_into() {
    local environment=$1
    shift
    "$environment/bin/python" -m pip install --no-compile --no-input --disable-pip-version-check "$@" 2>&1 </dev/null |
        tee -a "$environment/install.log" |
        progress || {
        tail -n 20 "$environment/install.log" >&2
        fail "The installation failed; the whole log is $environment/install.log. Run make again to try once more."
    }
}

# install_all ENVIRONMENT PIP-ARGUMENTS...: everything pinned, then what must come without its dependencies.
install_all() {
    local environment=$1
    shift
    install_into "$environment" --editable '.[dev]' "$@"
    install_into "$environment" --no-deps -r no-deps.txt
    # pip would compile one file after the other; a file that is no valid Python (some packages carry such) is left alone.
    "$environment/bin/python" -m compileall -qq -j 0 "$environment/lib" || true
}

make_environment() {
    local stamp=.venv/installed pins python
    take_lock
    pins=$(cat pyproject.toml constraints.txt no-deps.txt | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$PWD $pins" ]] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    python=$(find_python)
    echo "Installing the pinned packages into .venv with $python: once, some minutes, 3.4 GB (8 GB with a CUDA build of torch)."
    # Without a stamp of this folder the environment is new, moved or half-made, and pip cannot tell what is missing in it.
    if ! [[ -f $stamp && $(<"$stamp") == "$PWD "* ]] || ! .venv/bin/python -c '' 2>/dev/null; then
        "$python" -m venv --clear .venv
    fi
    rm -f "$stamp"
    install_all .venv --constraint constraints.txt
    echo "$PWD $pins" >"$stamp.partial"
    mv "$stamp.partial" "$stamp"
}

write_constraints() {
    local scratch=.venv-resolve python
    take_lock
    python=$(find_python)
    "$python" -m venv --clear "$scratch"
    install_all "$scratch"
    "$scratch/bin/python" -m pip freeze --all --exclude pip --exclude companion | sed -E '/^(#|-e)/d; s/\+[A-Za-z0-9.]+$//' >"$scratch/frozen"
    # A CPU build of torch does not show what a CUDA build takes: keep those lines.
    grep -q '^nvidia-' "$scratch/frozen" || grep -E '^(cuda|nvidia)-' constraints.txt >>"$scratch/frozen"
    { grep '^#' constraints.txt && LC_ALL=C sort -f "$scratch/frozen"; } >"$scratch/constraints.txt"
    mv "$scratch/constraints.txt" constraints.txt
    rm -rf "$scratch"
}

case "${1:-}" in
    "") make_environment ;;
    constraints) write_constraints ;;
    *) fail "Unknown step '$1'; there are none and 'constraints'." ;;
esac
