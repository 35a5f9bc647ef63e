#!/usr/bin/env bash
# Fetches an independent MoQ client for the tests into .cache/moq-peer, once, and builds a second one (tests/moq/peer-rs).
#
# The PyPI packages moq-rs and moq-ffi hold the Rust stack of moq-dev/moq (its own QUIC library, its own MoQ), built for
# Python 3.10 and newer. They are checked against their hashes, stay inside this clone, and are never installed or
# committed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGES=(moq-rs==0.5.1 moq-ffi==0.4.18)
SHA256="156b7f8a4cb0c613224272937a20592d67d7f29b79f4f3cff80f7e040b88a47a moq_rs-0.5.1-py3-none-any.whl
8484dda7ee63a11b2b24912d15e0d450ab60af9c3b521348452ab0b5c959ef13 moq_ffi-0.4.18-py3-none-manylinux_2_28_x86_64.whl"

main() {
    # Not with our own dependencies: it has another crypto library.
    (cd tests/moq/peer-rs && CARGO_TARGET_DIR=$CACHE/moq-peer-rs cargo build --quiet --locked) ||
        fail "the second MoQ client (tests/moq/peer-rs) does not build." "What cargo said stands above."
    local out=$CACHE/moq-peer
    if [ -d "$out/moq" ]; then return 0; fi
    [ "$(uname -m)" = x86_64 ] ||
        fail "the tests of MoQ need an independent client, and this script knows only the build for x86_64." \
            "Put the Python packages ${PACKAGES[*]} into $out, or run the gate with AIRWAVE_TEST_SKIP=moq."
    mkdir -p "$CACHE"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/moq-peer.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching an independent MoQ client for the tests (12 MB, once)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$WORK" "${PACKAGES[@]}" ||
        fail "the MoQ client could not be fetched (Python packages ${PACKAGES[*]})." "Check the connection and run this again."
    (cd "$WORK" && sha256sum --check --quiet --strict - <<<"${SHA256// /  }") ||
        fail "the fetched MoQ client is not the one that we know; it was not used."
    mkdir "$WORK/out"
    for wheel in "$WORK"/*.whl; do python3 -m zipfile -e "$wheel" "$WORK/out"; done
    mv "$WORK/out" "$out"
}

main "$@"
