#!/usr/bin/env bash
# From a clone to moving pictures. HOST is the address to bind (the loopback unless said otherwise), HTTP_PORT and
# RTMP_PORT, HTTPS_PORT, RTMPS_PORT, QUIC_PORT are the ports, DATA is the folder that everything is kept in.
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
    exec "$TARGET/release/airwave" serve --data "$DATA" --demo="$CLIP" \
        --set "http.listen=\"$(address "$HTTP_PORT")\"" \
        --set "https.listen=\"$(address "$HTTPS_PORT")\"" \
        --set "rtmp.listen=\"$(address "$RTMP_PORT")\"" \
        --set "rtmps.listen=\"$(address "$RTMPS_PORT")\"" \
        --set "quic.listen=\"$(address "$QUIC_PORT")\""
}

# Every listener is named in `main`: one left out would bind all addresses by default.
address() {
    case $HOST in
    *:*) echo "[$HOST]:$1" ;;
    *) echo "$HOST:$1" ;;
    esac
}

main "$@"
