#!/usr/bin/env bash
# The pages: web.sh installed | install | build | check | test REPORT.json | pages REPORT.json
#
# The names of the npm scripts that this relies on: build (into web/dist), check (lint and types), test (vitest).
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

WEB=$ROOT/web
INSTALLED=$WEB/node_modules/.installed-lock # the lock file that node_modules was made from
BUILT=$CACHE/web-built                      # as old as the newest build

main() {
    local command=${1:-}
    [ $# -gt 0 ] && shift
    case $command in
    installed) cmp -s "$WEB/package-lock.json" "$INSTALLED" ;;
    install) install ;;
    build) build ;;
    check) npm_run check ;;
    test) npm_run test -- --reporter=default --reporter=json --outputFile.json="$1" ;;
    pages) node "$ROOT/tests/browser/check-pages.mjs" --report "$1" ;; # of web/dist, in Chromium
    *) fail "usage: scripts/web.sh installed | install | build | check | test REPORT.json | pages REPORT.json" ;;
    esac
}

# Not `npm ci`: it refuses a lock file that lacks an optional package of another platform, and registries exist that serve
# only some platforms. What `ci` is for is kept: the versions and hashes of the lock file, which must fit package.json.
install() {
    node -e '
        const [manifest, lock] = process.argv.slice(1).map((file) => JSON.parse(fs.readFileSync(file)));
        const wanted = ({ dependencies, devDependencies }) => JSON.stringify([dependencies, devDependencies]);
        process.exit(wanted(manifest) === wanted(lock.packages[""]) ? 0 : 1);
    ' "$WEB/package.json" "$WEB/package-lock.json" ||
        fail "web/package-lock.json does not fit web/package.json." "Run: npm --prefix web install"
    npm --prefix "$WEB" install --no-save --no-audit --no-fund --no-update-notifier --loglevel=error ||
        fail "the npm packages of web/ could not be installed; npm's words are above."
    # By contents and not by time: a checkout touches files that did not change.
    cp "$WEB/package-lock.json" "$INSTALLED"
}

build() {
    if up_to_date; then
        note "web/dist is up to date"
        return 0
    fi
    npm_run build
    mkdir -p "$CACHE"
    touch "$BUILT"
}

# Folders count too: a file that was deleted changes only the folder's time. `web` itself changes whenever dist is made.
up_to_date() {
    [ -f "$WEB/dist/index.html" ] && [ -f "$BUILT" ] &&
        [ -z "$(find "$WEB" -mindepth 1 \( -name node_modules -o -path "$WEB/dist" \) -prune -o -newer "$BUILT" -print -quit)" ]
}

npm_run() {
    local script=$1
    shift
    npm --prefix "$WEB" run --silent "$script" "$@"
}

main "$@"
