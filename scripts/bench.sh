#!/usr/bin/env bash
# Measures Airwave beside its peers: bench.sh [MEASURE]
#
# QUICK=1: fewer and shorter runs. SRS=PATH: a program of SRS to compare with as well (no package registry has one).
# Each run appends a line to bench/results/; bench/README.md says what the measures are. Needs a machine at rest.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local options=(--program "$TARGET/release/airwave")
    if [ "${QUICK:-}" = 1 ]; then options+=(--quick); fi
    if [ -n "${SRS:-}" ]; then options+=(--srs "$SRS"); fi
    scripts/deps.sh test
    scripts/nginx.sh
    case ${1:-all} in all | load-moq) scripts/moq-relays.sh ;; esac
    step "Pages" scripts/web.sh build
    step "Build" cargo build --quiet --release -p node -p encoder -p bench
    scripts/ffmpeg9.sh
    scripts/otfe-clips.sh
    step "Clips" "$TARGET/release/bench" clips "${options[@]}"
    heading "Measuring"
    "$TARGET/release/bench" "${1:-all}" "${options[@]}"
}

main "$@"
