#!/usr/bin/env bash
# Runs the fuzz targets (fuzz/) and writes what came of it as a table into .cache/fuzz/report.md.
#
# MINUTES (30) is the time of each target, JOBS (2) how many run at a time, TARGETS which (all). What libFuzzer found
# stays: the corpus in fuzz/corpus, an input that broke a promise in fuzz/artifacts. A target ends at its first one;
# then put the fix in, and the input into fuzz/seeds, where the gate runs it.
#
# libFuzzer itself comes with the crate libfuzzer-sys and needs a C++ compiler; its instrumentation is a part of rustc.
# No sanitizer: there is no unsafe code of ours to watch, and overflows and failed assertions panic.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

MINUTES=${MINUTES:-30}
JOBS=${JOBS:-2}
HOST_TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
BINARIES=$ROOT/fuzz/target/$HOST_TRIPLE/release
OUT=$CACHE/fuzz
REPORT=$OUT/report.md
COMMIT=$(git rev-parse --short HEAD)

# Inputs are small: what needs a long one to break is rare, and short ones are quick.
LENGTH_MAX=16384
MEMORY_MB=1024
# A hang. Long, because it is told by the wall clock, and a process that was paused must not look like one that hangs.
HANG_S=900

main() {
    has c++ || fail "libFuzzer needs a C++ compiler." "On Debian: apt-get install g++"
    rm -rf "$OUT"
    mkdir -p "$OUT"
    local target targets running=0
    mapfile -t targets < <(printf '%s\n' ${TARGETS:-$(sed -n '/^\[\[bin\]\]/{n;s/name = "\(.*\)"/\1/p}' fuzz/Cargo.toml)})
    step "Fuzz targets: ${targets[*]}" build
    heading "$MINUTES min each, $JOBS at a time"
    for target in "${targets[@]}"; do
        if [ "$running" -ge "$JOBS" ]; then
            wait -n || true
            running=$((running - 1))
        fi
        run "$target" &
        running=$((running + 1))
    done
    wait
    report "${targets[@]}"
    ! grep -q 'CRASH' "$REPORT"
}

# The flags of cargo-fuzz, but for the sanitizer.
build() {
    local flags=(-Cpasses=sancov-module -Ccodegen-units=1 --cfg fuzzing)
    local coverage
    for coverage in level=4 inline-8bit-counters pc-table trace-compares; do
        flags+=("-Cllvm-args=-sanitizer-coverage-$coverage")
    done
    # With --target the flags are not those of build scripts and macros.
    RUSTFLAGS="${flags[*]}" cargo build --quiet --release --bins --manifest-path fuzz/Cargo.toml \
        --target-dir fuzz/target --target "$HOST_TRIPLE"
}

run() {
    local target=$1 corpus=fuzz/corpus/$1 artifacts=fuzz/artifacts/$1
    mkdir -p "$corpus" "$artifacts"
    "$BINARIES/$target" -max_total_time=$((MINUTES * 60)) -max_len=$LENGTH_MAX -rss_limit_mb=$MEMORY_MB \
        -timeout=$HANG_S -print_final_stats=1 -artifact_prefix="$artifacts/" \
        "$corpus" "fuzz/seeds/$target" >"$OUT/$target.log" 2>&1 || true
    note "$target: $(row "$target")"
}

report() {
    {
        echo "$(date -u +%Y-%m-%d), commit $COMMIT, $MINUTES min each, $JOBS at a time:"
        echo
        echo "| target | executions | a second | new units | corpus | edges reached | slowest input | result |"
        echo "|---|---|---|---|---|---|---|---|"
        local target
        for target in "$@"; do echo "| $target | $(row "$target") |"; done
    } | tee "$REPORT"
}

# What libFuzzer said last.
row() {
    local log=$OUT/$1.log result=clean edges
    edges="$(last 's/.* cov: \([0-9]*\) .*/\1/p' "$log") of $(last 's/.*(\([0-9]*\) inline 8-bit counters).*/\1/p' "$log")"
    if ! grep -q '^Done ' "$log"; then result="CRASH: $(crash "$log")"; fi
    echo "$(stat number_of_executed_units "$log") | $(stat average_exec_per_sec "$log")" \
        "| $(stat new_units_added "$log") | $(last 's/.* corp: \([0-9]*\)\/.*/\1/p' "$log") | $edges" \
        "| $(stat slowest_unit_time_sec "$log") s | $result"
}

stat() { last "s/^stat::$1: *//p" "$2"; }

last() {
    local found
    found=$(sed -n "$1" "$2" | tail -n 1)
    echo "${found:--}"
}

crash() {
    local where
    where=$(sed -n "s/.*panicked at \(.*\):$/\1/p" "$1" | tail -n 1)
    echo "${where:-$(sed -n 's/.*ERROR: libFuzzer: //p' "$1" | head -n 1)}"
}

main "$@"
