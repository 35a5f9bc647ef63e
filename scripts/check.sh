#!/usr/bin/env bash
# Format, lint, types and the repository's rules. All of them run, whatever the first one finds.
# `check.sh --no-rules` leaves the rules out: the gate runs them with all other tests.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local failed=0
    step "Format" cargo fmt --all --check || failed=1
    step "Lint" cargo clippy --quiet --workspace --all-targets -- -D warnings || failed=1
    step "Lint and types of web/" scripts/web.sh check || failed=1
    if [ "${1:-}" != --no-rules ]; then
        step "Repository rules" cargo nextest run --cargo-quiet --package xtask || failed=1
    fi
    return "$failed"
}

main "$@"
