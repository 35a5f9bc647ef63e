#!/usr/bin/env bash
# Writes what a release is made of: every package of both lock files, with licence and checksum, in CycloneDX.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local file=$CACHE/dist/airwave.cdx.json
    mkdir -p "$(dirname "$file")"
    cargo run --quiet -p xtask -- sbom "$file"
    note "$file"
}

main "$@"
