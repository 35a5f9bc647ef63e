#!/usr/bin/env bash
# Builds the relays of MoQ that `bench load-moq` compares with into .cache/moq-relays, once: moq-dev's and Cloudflare's.
# It takes long. One that does not build is left out of the run, with a word.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local out=$CACHE/moq-relays
    install moq-relay 0.17.10 --no-default-features --features noq
    install moq-relay-ietf 0.8.0
}

# install NAME VERSION OPTION...
install() {
    local name=$1 version=$2
    shift 2
    if [ -x "$out/bin/$name" ]; then return 0; fi
    export CARGO_TARGET_DIR=$out/target
    # With the versions that it was made with; else, where a registry has not all of them, with those that are there.
    step "$name $version" cargo install --quiet --locked --root "$out" "$name@$version" "$@" ||
        step "$name $version with other versions" cargo install --quiet --root "$out" "$name@$version" "$@" ||
        note "$name $version does not build here: it is left out"
}

main "$@"
