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

# npm_package FOLDER PACKAGE SHA512 [FILE...]: fetches the npm package NAME@VERSION and unpacks it, or these files of it, into
# FOLDER/package. SHA512 is that of the archive in base64, as npm writes it. The status is 1 if it can't be fetched; what
# isn't the package that we know ends the script.
npm_package() {
    local folder=$1 package=$2 expect=$3 archive
    shift 3
    mkdir -p "$folder"
    npm pack --silent --pack-destination "$folder" "$package" >/dev/null || return 1
    archive=$(echo "$folder"/*.tgz)
    [ "$(sha512 "$archive")" = "$expect" ] || strange "$package"
    tar -xzf "$archive" -C "$folder" --warning=no-unknown-keyword "${@/#/package/}" ||
        fail "$package could not be unpacked into $folder."
    rm "$archive"
}

sha512() {
    node -p 'crypto.createHash("sha512").update(fs.readFileSync(process.argv[1])).digest("base64")' "$1"
}

# python_package FOLDER PACKAGE SHA256: fetches the wheel of the Python package NAME==VERSION into FOLDER, whatever version of
# Python is here. The status is 1 if it can't be fetched; what isn't the wheel that we know ends the script.
python_package() {
    mkdir -p "$1"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --ignore-requires-python \
        -d "$1" "$2" || return 1
    sha256sum --check --quiet --strict - <<<"$3  $(echo "$1/$(tr - _ <<<"${2%%=*}")"-*.whl)" || strange "$2"
}

strange() { fail "the fetched $1 is not the one that we know; it was not used."; }
