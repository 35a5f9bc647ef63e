#!/usr/bin/env bash
# Fetches nginx with its RTMP and nchan modules, for the tests of docs/cdn.md and for `make bench`: Debian's packages,
# unpacked into .cache/nginx, once.
#
# Not installed: that would start a web server on this machine. Nothing here needs root.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local out=$CACHE/nginx package
    if [ -e "$out/usr/lib/nginx/modules/ngx_nchan_module.so" ]; then return 0; fi
    { has apt-get && has dpkg-deb; } ||
        fail "no apt-get here." "Unpack nginx with its RTMP and nchan modules below $out, as Debian's packages lie."
    mkdir -p "$CACHE"
    # Not local: the trap runs after this function is gone.
    WORK=$(mktemp -d "$CACHE/nginx-fetching.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    note "fetching nginx with its RTMP and nchan modules (2 MB, once)"
    # Where `nginx` has no program in it, nginx-core has.
    for package in nginx libnginx-mod-rtmp libnginx-mod-nchan nginx-core; do
        if [ "$package" = nginx-core ] && [ -x "$WORK/root/usr/sbin/nginx" ]; then continue; fi
        (cd "$WORK" && apt-get -qq download "$package" 2>/dev/null) ||
            fail "Debian's package $package could not be fetched." "Perhaps the lists are old: apt-get update"
        dpkg-deb --extract "$WORK/$package"_*.deb "$WORK/root"
    done
    "$WORK/root/usr/sbin/nginx" -v 2>/dev/null ||
        fail "the fetched nginx does not start:" "$("$WORK/root/usr/sbin/nginx" -v 2>&1)"
    rm -rf "$out"
    mv "$WORK/root" "$out"
}

main "$@"
