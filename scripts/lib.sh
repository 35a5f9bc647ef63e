# shellcheck shell=bash
# What every script here shares: where the project is, how it speaks, and how a step is timed.
# Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
CACHE=$ROOT/.cache
# shellcheck disable=SC2034
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
cd "$ROOT"

# rustup writes its folder into login shells only; a plain shell right after the installation does not see it.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
export PATH

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' GREEN='' PLAIN=''
fi

heading() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '    %s\n' "$*"; }

# Ends the script with words for a person: the first line says what is wrong, the others what to do about it.
fail() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
    shift
    if [ $# -gt 0 ]; then printf '       %s\n' "$@" >&2; fi
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# step HEADING COMMAND...: runs the command under a heading and says how long it took. Its status is the command's.
step() {
    local title=$1 started=$SECONDS status=0
    shift
    heading "$title"
    "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        note "${GREEN}done${PLAIN} in $((SECONDS - started)) s"
    else
        note "${RED}failed${PLAIN} (status $status) after $((SECONDS - started)) s"
    fi
    return "$status"
}
