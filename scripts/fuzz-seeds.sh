#!/usr/bin/env bash
# Makes the seeds of the fuzz targets anew (fuzz/seeds): real encoders publish to the small server in fuzz/make-seeds.
# What encoders send differs a little each time, so theirs change; run this when a new wire type or encoder is to be in. Seeds that
# were written by hand, or that broke something (`found-...`), stay.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    scripts/deps.sh test
    cargo run --quiet --package node --example make-seeds
    note "$(find fuzz/seeds -type f | wc -l) seeds, $(du --apparent-size -sh fuzz/seeds | cut -f 1)"
}

main "$@"
