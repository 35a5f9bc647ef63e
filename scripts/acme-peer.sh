#!/usr/bin/env bash
# Fetches a certificate authority for the tests: Let's Encrypt's own test server Pebble, and certutil, which tells a
# browser whom to trust. Debian's packages, unpacked into .cache/acme-peer, once.
#
# Not installed: neither is of use to anybody else on this machine, and nothing here needs root unless apt's lists are
# missing.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGES=(pebble libnss3-tools)

main() {
    local out=$CACHE/acme-peer package
    if [ -x "$out/usr/bin/pebble" ] && [ -x "$out/usr/bin/certutil" ]; then return 0; fi
    { has apt-get && has dpkg-deb; } ||
        fail "no apt-get here." "Unpack ${PACKAGES[*]} below $out, as Debian's packages lie, or run the gate with AIRWAVE_TEST_SKIP=acme."
    mkdir -p "$CACHE"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/acme-peer.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching a certificate authority for the tests (4 MB, once)"
    download || { refresh && download; } ||
        fail "Debian's packages ${PACKAGES[*]} could not be fetched." "Perhaps the lists are old: apt-get update"
    for package in "${PACKAGES[@]}"; do dpkg-deb --extract "$WORK/$package"_*.deb "$WORK/root"; done
    rm -rf "$out"
    mv "$WORK/root" "$out"
}

download() { (cd "$WORK" && apt-get -qq download "${PACKAGES[@]}" 2>/dev/null); }

refresh() {
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -o DPkg::Lock::Timeout=300 -qq update
    elif has sudo && [ -n "${CI:-}${YES:-}" ]; then
        sudo apt-get -o DPkg::Lock::Timeout=300 -qq update
    else
        return 1
    fi
}

main "$@"
