#!/usr/bin/env bash
# Forgets the demo's clip. The folder that `make run` keeps everything in (DATA) is more than the demo's: it goes only if
# somebody at a terminal says so.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

DATA=${DATA:-airwave-data}

main() {
    rm -rf "$CACHE/demo"
    note "the demo's clip is gone; make run makes it anew."
    [ -e "$DATA" ] || return 0
    ours || fail "$DATA is no data directory of Airwave, and stays."
    heading "$DATA has more than the demo: ALL live inputs with their keys, ALL recordings ($(du -sh "$DATA" | cut -f 1)), the API token"
    [ -t 0 ] || { note "it stays: there is nobody to ask. By hand: rm -r $DATA"; return 0; }
    local answer
    read -r -p "    Delete all of it? Write yes: " answer || answer=
    [ "$answer" = yes ] || { note "it stays."; return 0; }
    idle || fail "an Airwave runs on $DATA: stop it first. Nothing was deleted."
    rm -rf "$DATA"
    note "$DATA is gone."
}

# Whoever names another folder by mistake keeps it.
ours() { [ -f "$DATA/master.key" ] || [ -f "$DATA/airwave.db" ]; }

# A server holds a lock for as long as it runs.
idle() { [ ! -e "$DATA/lock" ] || ! has flock || flock --nonblock "$DATA/lock" true; }

main
