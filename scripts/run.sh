#!/usr/bin/env bash
# From a clone to moving pictures. HOST is the address to bind (the loopback unless said otherwise), HTTP_PORT and
# RTMP_PORT, HTTPS_PORT, RTMPS_PORT, QUIC_PORT are the ports, DATA is the folder that everything is kept in. Any key of the
# configuration may stand in the environment besides: AIRWAVE__SECTION__KEY.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

HOST=${HOST:-127.0.0.1}
HTTP_PORT=${HTTP_PORT:-8080}
RTMP_PORT=${RTMP_PORT:-1935}
HTTPS_PORT=${HTTPS_PORT:-8443}
RTMPS_PORT=${RTMPS_PORT:-1936}
QUIC_PORT=${QUIC_PORT:-4443}
DATA=${DATA:-airwave-data}
CLIP=$CACHE/demo/clip.mp4

main() {
    scripts/deps.sh run
    step "Pages" scripts/web.sh build
    step "Demo clip" scripts/demo-clip.sh "$CLIP"
    # Release: the demo should look like Airwave, not like a debug build.
    step "Server (the first build takes some minutes)" cargo build --release --package node --bin airwave --package encoder --bin airwave-encode

    heading "Airwave on $HOST; its data is in $DATA/, Ctrl-C stops it"
    # As variables, so that one that is given wins: AIRWAVE__ADMIN__LISTEN=127.0.0.1:9465 make run.
    listen HTTP "$HTTP_PORT"
    listen HTTPS "$HTTPS_PORT"
    listen RTMP "$RTMP_PORT"
    listen RTMPS "$RTMPS_PORT"
    listen QUIC "$QUIC_PORT"
    exec "$TARGET/release/airwave" serve --data "$DATA" --demo="$CLIP"
}

# listen NAME PORT: every listener but that for metrics is named in `main`; one left out would bind all addresses by default.
listen() {
    local variable=AIRWAVE__$1__LISTEN
    [ -n "${!variable:-}" ] || export "$variable=$(address "$2")"
}

address() {
    case $HOST in
    *:*) echo "[$HOST]:$1" ;;
    *) echo "$HOST:$1" ;;
    esac
}

main "$@"
