#!/usr/bin/env bash
# The gate. Every step runs even if an earlier one failed, and the last line is always
#   N passed, N failed, N skipped
# A step that fails and is not a test (the format, a build) counts as one failed.
#
# What waits for a network, and the pages in a browser, run beside lint and build, which give way (`nice`):
# docs/decisions/0177-what-computes-runs-beside-what-waits.md. What a step printed that ran beside others is shown when it is over.
#
# AIRWAVE_TEST_SKIP=name,... switches tests off. The tests read it themselves and then write a line
# `AIRWAVE-SKIPPED name` into the file AIRWAVE_SKIP_LOG: they are counted as skipped, not as passed, and listed. So do tests
# that the system forbids (mounting in a container), with the reason. What is ignored is started by a test as a process of its own.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

RESULTS=$CACHE/test
JUNIT=$ROOT/target/nextest/default/junit.xml # always there, also under CARGO_TARGET_DIR; set in .config/nextest.toml
WEB_REPORT=$RESULTS/web.json
PAGES_REPORT=$RESULTS/pages.json
export AIRWAVE_SKIP_LOG=$RESULTS/skipped
# The same cases each time, so that what fails is what was changed; `make soak` tries others.
export PROPTEST_RNG_SEED=1
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

PASSED=0
FAILED=0
SKIPPED=0
FAILED_STEPS=()
STEP_MINUTES=40 # a step that takes longer hangs: the gate goes on without it, and says so
declare -A BESIDE=() # the processes of steps that run beside others
THROUGH= # every step has run
LOGGED=0 # lines of the log of skipped tests that are counted already

main() {
    rm -rf "$RESULTS" "$JUNIT"
    mkdir -p "$RESULTS"
    : >"$AIRWAVE_SKIP_LOG"
    trap last_line EXIT

    # Without its tools nothing else here says anything.
    attempt "Dependencies" scripts/deps.sh tools || return 1
    meanwhile "What tests talk to, and the demo clip" nice bash -c 'scripts/deps.sh peers && scripts/demo-clip.sh "$1"' _ \
        "$CACHE/demo/clip.mp4"
    attempt "Pages" scripts/web.sh build || true
    # Against a make-believe server: nothing of Rust is in them.
    meanwhile "Pages in Chromium" scripts/web.sh pages "$PAGES_REPORT"
    attempt "Format, lint, types" nice scripts/check.sh --no-rules || true
    # All targets at once, so that the program and the tests share one build of every dependency.
    attempt "Build" nice cargo build --quiet --workspace --bin airwave --bin airwave-encode --tests || true
    tests count_web "Tests of web/" scripts/web.sh test "$WEB_REPORT"
    tests count_pages "Pages in Chromium"
    finished "What tests talk to, and the demo clip" || failed_step "What tests talk to, and the demo clip"
    # Two for each core: those end to end wait more than they compute.
    tests count_rust "Tests" cargo nextest run --cargo-quiet --workspace --no-fail-fast --test-threads $((2 * $(nproc)))
    THROUGH=yes
    [ "$FAILED" -eq 0 ]
}

# meanwhile TITLE COMMAND...: a step beside those that come next, until it is `finished`.
meanwhile() {
    timeout --kill-after=30 "${STEP_MINUTES}m" bash -c '. scripts/lib.sh && step "$@"' _ "$@" </dev/null >"$RESULTS/$1.log" 2>&1 &
    BESIDE[$1]=$!
}

# finished TITLE: waits for such a step, and shows what it printed. Its status is the step's.
finished() {
    local status=0
    wait "${BESIDE[$1]}" || status=$?
    unset "BESIDE[$1]"
    cat "$RESULTS/$1.log"
    [ "$status" -ne 124 ] || note "stopped after $STEP_MINUTES min"
    return "$status"
}

attempt() {
    bounded "$@" && return 0
    failed_step "$1"
    return 1
}

failed_step() {
    FAILED=$((FAILED + 1))
    FAILED_STEPS+=("$1")
}

bounded() {
    local title=$1
    shift
    # At a terminal the step keeps it, for its questions and for Ctrl-C; elsewhere what it started ends with it.
    local keep=()
    [ -t 0 ] && keep=(--foreground)
    step "$title" timeout "${keep[@]}" --kill-after=30 "${STEP_MINUTES}m" "$@"
}

# tests COUNT TITLE [COMMAND...]: runs tests, or waits for those that run `meanwhile`, and counts them. A runner that failed without
# naming a failed test (it did not build, it crashed) is a failed step.
tests() {
    local count=$1 title=$2 before=$FAILED status=0 how=bounded
    shift
    [ $# -gt 1 ] || how=finished
    "$how" "$@" || status=$?
    "$count"
    if [ "$status" -ne 0 ] && [ "$FAILED" -eq "$before" ]; then failed_step "$title"; fi
}

# The report, not the summary on the screen: its format is kept stable.
count_rust() {
    local tests failures
    [ -s "$JUNIT" ] || return 0
    tests=$(root_attribute tests)
    failures=$(($(root_attribute failures) + $(root_attribute errors)))
    newly_skipped
    PASSED=$((PASSED + tests - failures - NEWLY_SKIPPED))
    FAILED=$((FAILED + failures))
    SKIPPED=$((SKIPPED + NEWLY_SKIPPED))
}

# newly_skipped: how many tests said since the last time that they are switched off.
newly_skipped() {
    local lines
    lines=$(grep -c '^AIRWAVE-SKIPPED ' "$AIRWAVE_SKIP_LOG") || true
    NEWLY_SKIPPED=$((lines - LOGGED))
    LOGGED=$lines
}

root_attribute() {
    local value
    value=$(grep -m 1 -o '<testsuites [^>]*' "$JUNIT" | grep -o " $1=\"[0-9]*\"" | tr -dc 0-9) || true
    echo "${value:-0}"
}

# Vitest's report counts; what it skipped goes into the same list as the others.
count_web() {
    local counts passed failed skipped
    [ -s "$WEB_REPORT" ] || return 0
    counts=$(node scripts/web-report.mjs "$WEB_REPORT" "$RESULTS/skipped-web")
    read -r passed failed skipped <<<"$counts"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    SKIPPED=$((SKIPPED + skipped))
}

# The checks of tests/browser/check-pages.mjs; switched off as a whole or not at all.
count_pages() {
    local counts passed failed
    newly_skipped
    SKIPPED=$((SKIPPED + NEWLY_SKIPPED))
    [ -s "$PAGES_REPORT" ] || return 0
    counts=$(node -p '[JSON.parse(fs.readFileSync(process.argv[1]))].map((all) => all.passed + " " + all.failed)[0]' "$PAGES_REPORT")
    read -r passed failed <<<"$counts"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
}

# Runs on every way out, also on an interrupt.
last_line() {
    local status=$?
    trap - EXIT
    if [ ${#BESIDE[@]} -gt 0 ]; then kill "${BESIDE[@]}" 2>/dev/null || true; fi
    # After a signal the status may be that of the command before.
    { [ "$status" -eq 0 ] && [ -n "$THROUGH" ]; } || [ "$FAILED" -gt 0 ] || FAILED=1
    echo
    if [ ${#FAILED_STEPS[@]} -gt 0 ]; then
        heading "Failed steps"
        printf '    %s\n' "${FAILED_STEPS[@]}"
    fi
    if [ "$SKIPPED" -gt 0 ]; then
        heading "Skipped (AIRWAVE_TEST_SKIP=${AIRWAVE_TEST_SKIP:-})"
        awk '/^AIRWAVE-SKIPPED / { sub(/^AIRWAVE-SKIPPED /, ""); name = $1; sub(/^[^ ]+ ?/, ""); tests[name ($0 ? ", " $0 : "")]++ }
            END { for (name in tests) print "    " name (tests[name] > 1 ? ": " tests[name] " tests" : "") }' \
            "$AIRWAVE_SKIP_LOG" | sort
        if [ -s "$RESULTS/skipped-web" ]; then sed 's/^/    /' "$RESULTS/skipped-web"; fi
    fi
    heading "The gate took $((SECONDS / 60)) min $((SECONDS % 60)) s"
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped" | tee "$RESULTS/last-line"
    exit "$status"
}

main "$@"
