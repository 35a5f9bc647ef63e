#!/usr/bin/env bash
# Fetches the vendor's official clients of the API, and its React component, for the tests: into .cache/sdk/python and
# .cache/sdk/node, once.
#
# They show that what is written for the vendor works here after a change of address. All are checked against their hashes,
# stay inside this clone, and are never installed or committed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PYTHON=cloudflare==5.9.0
PYTHON_SHA256=70f0c966c26802837fe7ebe95a7b4a14c723159e742bc49d34642b21a2dc11b5
# What it stands on. pydantic-core is built for each version of Python, so these have versions and no hashes.
BELOW=(annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.19.post1 distro==1.9.0 h11==0.16.0 httpcore==1.0.9 httpx==0.28.1
    idna==3.20 pydantic==2.14.4 pydantic-core==2.50.5 sniffio==1.3.1 typing-extensions==4.16.0 typing-inspection==0.4.5)
NODE=cloudflare@7.3.0
NODE_SHA512=0P4cMFjzdIe388E57xNCV2wKzv1ZVZqMFu7+p2gsZuggbXs39xTKtXJN8FACkKh+xjLQ7dNruNlT/aT+9ajJtg==
REACT=@cloudflare/stream-react@1.9.3
REACT_SHA512=ocr7B+zHk/jq0r/wgtFeyoz7Hr+v3Qn0Ho6yUBkWT07ahr/0GU1dhliYJESwNXMuMYCU1sZ02sFH9pW5r1/BIA==

main() {
    mkdir -p "$CACHE/sdk"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/sdk.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    [ -d "$CACHE/sdk/python/cloudflare" ] || python
    [ -d "$CACHE/sdk/node/cloudflare" ] || node_package cloudflare "$NODE" "$NODE_SHA512"
    [ -d "$CACHE/sdk/node/stream-react" ] || node_package stream-react "$REACT" "$REACT_SHA512"
}

python() {
    note "fetching the official Python client for the tests (11 MB, once)"
    python_package "$WORK" "$PYTHON" "$PYTHON_SHA256" || lost "$PYTHON"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-compile \
        --root-user-action ignore --target "$WORK/python" "$WORK"/cloudflare-*.whl "${BELOW[@]}" || lost "${BELOW[*]}"
    rm -rf "$CACHE/sdk/python"
    mv "$WORK/python" "$CACHE/sdk/python"
}

# node_package FOLDER PACKAGE HASH
node_package() {
    note "fetching the official $2 for the tests (once)"
    mkdir -p "$CACHE/sdk/node"
    npm_package "$WORK/$1" "$2" "$3" || lost "$2"
    rm -rf "$CACHE/sdk/node/$1"
    mv "$WORK/$1/package" "$CACHE/sdk/node/$1"
}

lost() { fail "the official client could not be fetched ($*)." "Check the connection, or run the gate with AIRWAVE_TEST_SKIP=sdk."; }

main "$@"
