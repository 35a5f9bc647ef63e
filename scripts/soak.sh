#!/usr/bin/env bash
# What is too long for the gate: the same tests with larger sizes, and the fuzz targets. Writes .cache/soak/report.md,
# the table that docs/test-report.md keeps.
#
# ONLY=PATTERN runs the rows whose tests match it (`properties` is the last one), OUT=FOLDER writes elsewhere: so rows that bear
# company can run beside each other.
# FUZZ_MINUTES (30) is the time of each fuzz target, 0 leaves them out. The sizes below can be set from outside as well.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

OUT=${OUT:-$CACHE/soak}
ONLY=${ONLY:-.}
REPORT=$OUT/report.md
FUZZ_MINUTES=${FUZZ_MINUTES:-30}

export AIRWAVE_SKIP_LOG=$OUT/skipped                                  # tests that this machine can't run say it here
export AIRWAVE_KILL_ROUNDS=${AIRWAVE_KILL_ROUNDS:-200}                # kill -9 of the whole program
export AIRWAVE_POWER_ROUNDS=${AIRWAVE_POWER_ROUNDS:-20}               # what was not synced is lost
export AIRWAVE_ROUNDS=${AIRWAVE_ROUNDS:-40000}                        # connect, publish, leave
export AIRWAVE_POLLS=${AIRWAVE_POLLS:-1000000}                        # of ids that do not exist
export AIRWAVE_STRANGERS=${AIRWAVE_STRANGERS:-200}                    # connections that say nothing, nonsense, or half
export AIRWAVE_PLAYERS=${AIRWAVE_PLAYERS:-1000}                       # behind nginx, of one broadcast
export AIRWAVE_BROADCAST_MINUTES=${AIRWAVE_BROADCAST_MINUTES:-120}    # in virtual time, against the authoring rules
export AIRWAVE_PLAY_SECONDS=${AIRWAVE_PLAY_SECONDS:-60}               # of each player
export AIRWAVE_GLASS_SECONDS=${AIRWAVE_GLASS_SECONDS:-600}           # of an encoder whose frames are followed to the screen
export AIRWAVE_MOQ_SECONDS=${AIRWAVE_MOQ_SECONDS:-600}               # of an encoder that others watch over MoQ
export AIRWAVE_MOQ_FLOOD=${AIRWAVE_MOQ_FLOOD:-1000000}                # subscriptions that come and go over MoQ
export AIRWAVE_LOSS_SECONDS=${AIRWAVE_LOSS_SECONDS:-600}             # of a track over paths that lose, in virtual time
export AIRWAVE_HISTORIES=${AIRWAVE_HISTORIES:-20}                     # random ones, of what a relay is asked for
export AIRWAVE_JOINTS=${AIRWAVE_JOINTS:-all}                        # rows of codecs, groups of pictures, rates
export AIRWAVE_SWITCHES=${AIRWAVE_SWITCHES:-20}                       # of level, while a browser plays
export AIRWAVE_SPOILT_ROUNDS=${AIRWAVE_SPOILT_ROUNDS:-200}            # frames cut short, turned, doubled
export AIRWAVE_WORKER_KILLS=${AIRWAVE_WORKER_KILLS:-200}              # kill -9 of encoder processes
export AIRWAVE_SEEDS=${AIRWAVE_SEEDS:-20}                            # of tests of random cases

# One step a row of the report: what it is, and which tests. Those that need the machine to themselves come first.
STEPS=(
    "hls.js in Chromium for $AIRWAVE_PLAY_SECONDS s|browser::stock_hls_js"
    "shaka-player, HLS and MPD, for $AIRWAVE_PLAY_SECONDS s each|browser::stock_shaka_player"
    "@moq/watch, its first viewer, a second and a late one|browser::stock_moq_watch"
    "shaka-player leafs through a recording|key_pictures::stock_shaka_player"
    "dash.js for $AIRWAVE_PLAY_SECONDS s|browser::stock_dash_js"
    "video.js for $AIRWAVE_PLAY_SECONDS s|browser::stock_video_js"
    "Chromium's own HLS for $AIRWAVE_PLAY_SECONDS s|browser::stock_native_video"
    "ffmpeg for $AIRWAVE_PLAY_SECONDS s|browser::stock_ffmpeg"
    "Our player in Chromium for $AIRWAVE_PLAY_SECONDS s|browser::our_player|browser::a_browser_that"
    "From the encoder to the screen over MoQ for $AIRWAVE_GLASS_SECONDS s, no rebuffer|browser::what_an_encoder_sees"
    "$AIRWAVE_SWITCHES forced switches of level in Chromium: LL-HLS and MoQ in our player, DASH in shaka-player and dash.js|switches::"
    "A level that fails, in Chromium|levels::who_chooses_a_level_that_fails"
    "Levels over MoQ|levels::levels_over_moq"
    "$AIRWAVE_PLAYERS players behind nginx|edge::the_origin_is_asked_once_for_everybody$"
    "$AIRWAVE_PLAYERS players with a token each behind nginx|edge::the_origin_is_asked_once_for_everybody_who_has_a_token$"
    "Kill -9 at named points and anywhere, $AIRWAVE_KILL_ROUNDS rounds|kills::"
    "Power cuts, $AIRWAVE_POWER_ROUNDS rounds|power::"
    "$AIRWAVE_ROUNDS times connect, publish, leave|rounds::"
    "Floods and lies, $AIRWAVE_POLLS polls, $AIRWAVE_STRANGERS strangers|hostile::|lies::"
    "$AIRWAVE_BROADCAST_MINUTES min of a broadcast against the rules|ten_minutes"
    "One packet in a hundred is lost for $AIRWAVE_LOSS_SECONDS s, over one relay and over two|one_packet_in_a_hundred"
    "FETCH against a plain model, $AIRWAVE_HISTORIES random histories|d23_d24_ranges"
    "Levels of five codecs, all rows of the table of joints; 20 segments of sound of each codec|joints::|sound::no_sample"
    "$AIRWAVE_MOQ_FLOOD subscriptions, a tenth as many namespaces, over MoQ|floods::|what_comes_and_goes"
    "Frames that a fuzzer spoilt, $AIRWAVE_SPOILT_ROUNDS rounds a codec|faults::spoilt"
    "Kill -9 of encoder processes, $AIRWAVE_WORKER_KILLS times|faults::workers"
    "An independent MoQ client watches RTMP for $AIRWAVE_MOQ_SECONDS s, two more join|moq::an_independent_client"
    "An independent client in drafts 16, 20 and 22|moq::independent_"
    "Other independent stacks|moq_stacks::"
    "airwave publish and airwave watch go where a server that stops sends them|who_publishes_and_who_watches_go_where"
)

main() {
    rm -rf "$OUT"
    mkdir -p "$OUT"
    scripts/deps.sh test
    step "Pages" scripts/web.sh build
    step "Build" cargo build --quiet --workspace --bins --tests
    {
        echo "Commit $(git rev-parse --short HEAD), $(date -u +%F)."
        echo
        echo "| what | result | took | said |"
        echo "|---|---|---|---|"
    } >"$REPORT"
    local row failed=0
    for row in "${STEPS[@]}"; do
        [[ ${row#*|} =~ $ONLY ]] || continue
        run "${row%%|*}" "${row#*|}" || failed=$((failed + 1))
    done
    [[ ! properties =~ $ONLY ]] || properties || failed=$((failed + 1))
    if [ "$FUZZ_MINUTES" -gt 0 ]; then
        MINUTES=$FUZZ_MINUTES step "Fuzz targets" scripts/fuzz.sh || failed=$((failed + 1))
        {
            echo
            cat "$CACHE/fuzz/report.md"
        } >>"$REPORT"
    fi
    heading "The report is $REPORT"
    cat "$REPORT"
    return "$((failed > 0))"
}

# What a test prints of its figures stands in the last column.
run() {
    local title=$1 tests=$2 started=$SECONDS status=0 log
    : >"$AIRWAVE_SKIP_LOG"
    log=$OUT/$(printf '%s' "$tests" | tr -cs 'a-z_\n' -).log
    step "$title" cargo nextest run --profile soak --cargo-quiet --workspace --no-capture \
        -E "test(/$tests/)" >"$log" 2>&1 || status=$?
    local words said
    words=$(grep -oE '[0-9]+ tests? run: .*' "$log" | tail -n 1 | sed 's/, [0-9]* skipped//')
    said=$(grep -E '^[0-9][0-9,.]* (rounds|rows|lives|switches|polls|cuts|strangers|versions|kills|players|packets|frames|s behind)|^gaps ' "$log" | tail -n 2 | tr '\n|' '; ') || true
    # What was not run here did not pass.
    if [ -s "$AIRWAVE_SKIP_LOG" ]; then
        words="$words, of these not run here: $(sed 's/^AIRWAVE-SKIPPED //' "$AIRWAVE_SKIP_LOG" | sort -u | paste -sd ',')"
        status=1
    fi
    echo "| $title | ${words:-did not run} | $((SECONDS - started)) s | $said |" >>"$REPORT"
    if [ "$status" -ne 0 ]; then tail -n 40 "$log"; fi
    return "$status"
}

# Tests of random cases, of which the gate tries the same each time. A seed that fails is in the log: PROPTEST_RNG_SEED repeats it.
properties() {
    local started=$SECONDS status=0 log=$OUT/properties.log title="Tests of random cases, $AIRWAVE_SEEDS seeds" word
    step "$title" seeds >"$log" 2>&1 || status=$?
    word=$([ "$status" -eq 0 ] && echo passed || echo failed)
    echo "| $title | $word | $((SECONDS - started)) s | |" >>"$REPORT"
    if [ "$status" -ne 0 ]; then tail -n 40 "$log"; fi
    return "$status"
}

seeds() {
    local seed failed=0
    for _ in $(seq "$AIRWAVE_SEEDS"); do
        seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
        PROPTEST_RNG_SEED=$seed PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 cargo nextest run --profile soak --cargo-quiet \
            -p moqt -p rtmp -p media -p proxy -p chat -p encode || { failed=1; echo "PROPTEST_RNG_SEED=$seed"; }
    done
    return "$failed"
}

main "$@"
