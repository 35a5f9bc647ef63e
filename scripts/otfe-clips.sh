#!/usr/bin/env bash
# Makes the clips of `bench otfe`: .cache/bench/crossing.mp4 and dog.mp4, 1280x720, 24.7 s and 30.7 s, once.
#
# Filmed footage, as two npm packages under the MIT licence carry it: a crossing with its traffic, seen from a drone
# (startbootstrap-coming-soon), and a dog at the window of a car that drives (vidim). The shots are 12 and 15 s long: each is played forth and
# back, so there is no cut. Fetched here, checked against their hashes, and never committed. Encoded anew as an encoder would send it:
# 4 Mbit/s, a key frame every 2 s.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    if [ -s "$CACHE/bench/crossing.mp4" ] && [ -s "$CACHE/bench/dog.mp4" ]; then return 0; fi
    mkdir -p "$CACHE/bench"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/bench/making.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching the footage for the measures of levels (37 MB, once)"
    clip crossing 24000/1001 startbootstrap-coming-soon@6.0.7 dist/assets/mp4/bg.mp4 \
        iXNbkdMCpmgzByZSXAzBzMXQbsGW4b1mOAmg6cJbG+K8fw9xcUXxal1Hqg8xS7yXGg2gthBb7HizgxGtMtckLw==
    clip dog 25 vidim@1.0.2 test/video/Coverr-Lulu.mp4 \
        mUVtGjuCRpJcl11LMuFtB2WQgNAILw8KvZ4/MMctV1zc+M0dM/fmhv9/H8m4/epi4VgDjg64Wf78KsjnkiZXVA==
}

# clip NAME FRAMES-A-SECOND PACKAGE FILE SHA512
clip() {
    npm_package "$WORK/$1" "$3" "$5" "$4" ||
        fail "the footage could not be fetched (npm package $3)." "Check the connection and run this again."
    ffmpeg -nostdin -hide_banner -loglevel error -y -i "$WORK/$1/package/$4" -an \
        -filter_complex "fps=$2,scale=1280:720:flags=lanczos,split[a][b];[b]reverse[c];[a][c]concat" \
        -c:v libx264 -preset medium -pix_fmt yuv420p -b:v 4M -maxrate 5M -bufsize 5M -r "$2" \
        -force_key_frames 'expr:gte(t,n_forced*2)' -g 1000 -sc_threshold 0 -bf 2 -video_track_timescale 90000 "$WORK/$1.mp4"
    mv "$WORK/$1.mp4" "$CACHE/bench/$1.mp4"
}

main "$@"
