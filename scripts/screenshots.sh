#!/usr/bin/env bash
# The pictures in the README, made of the demo: docs/images. Look at them before you commit them.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

CLIP=$CACHE/demo/clip.mp4
IMAGES=$ROOT/docs/images
LARGEST=200000 # bytes of one picture

main() {
    scripts/deps.sh test
    step "Pages" scripts/web.sh build
    step "Demo clip" scripts/demo-clip.sh "$CLIP"
    step "Server" cargo build --package node --bin airwave --package encoder --bin airwave-encode
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d)
    SERVER=
    trap 'stop' EXIT
    serve
    mkdir -p "$IMAGES"
    step "Pictures" node tests/browser/screenshots.mjs --url "$(address)" --token "$("$TARGET/debug/airwave" token --data "$WORK/data")" --out "$IMAGES"
    local picture
    for picture in "$IMAGES"/*.webp; do
        [ "$(stat -c %s "$picture")" -le "$LARGEST" ] || fail "$picture is larger than $LARGEST bytes."
    done
    ls -l "$IMAGES"
}

# In the background, on ports that are free; it ends with this script.
serve() {
    local settings=() listener
    for listener in http https rtmp rtmps quic admin; do settings+=(--set "$listener.listen=\"127.0.0.1:0\""); done
    "$TARGET/debug/airwave" serve --data "$WORK/data" --demo="$CLIP" --ready-file "$WORK/ready" "${settings[@]}" 2>"$WORK/log" &
    SERVER=$!
    local tries
    for tries in $(seq 100); do
        [ -s "$WORK/ready" ] && return 0
        kill -0 "$SERVER" 2>/dev/null || break
        sleep 0.1
    done
    fail "the server does not start (after $tries looks): $(tail -3 "$WORK/log")"
}

address() { node -p '`http://${JSON.parse(fs.readFileSync(process.argv[1])).http}`' "$WORK/ready"; }

stop() {
    [ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$WORK"
}

main "$@"
