#!/usr/bin/env bash
# Runs a program of the oracle by name: tests/oracle/run.sh PROGRAM [ARGUMENT...]
#
# The process becomes the program (same process id, signals and streams reach it) with
# LD_LIBRARY_PATH set and the caller's environment kept, NUT_* with it. It takes the real program,
# not Debian's shell wrapper that reads /etc/nut. Exit code 1 if the oracle is not there or may not
# be run here, 2 on wrong usage, else the program's.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

# Debian's compiled-in state folder: upsmon's and upslog's PID files go there whatever NUT_* says.
readonly SYSTEM_STATE=/run/nut

ROOT=$(oracle_root)

main() {
    [[ $# -ge 1 && $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
        fail 2 "usage: run.sh PROGRAM [ARGUMENT...], PROGRAM being a name such as upsd or dummy-ups"
    local program
    [[ -f $ROOT/.cobnut-oracle ]] || fail 1 "there is no oracle in $ROOT; run tests/oracle/fetch.sh"
    program=$(find_program "$1") || fail 1 "$ROOT holds no program $1"
    shift
    local libraries
    libraries=$(oracle_library_path "$ROOT")

    if [[ ! -w $SYSTEM_STATE ]]; then
        # Not there, or closed to us: nothing can be written there.
        LD_LIBRARY_PATH=$libraries exec "$program" "$@"
    fi
    # A NUT is or was installed here. The program gets an empty folder of its own in that place.
    unshare --mount true 2>/dev/null ||
        fail 1 "$SYSTEM_STATE can be written and cannot be covered (unshare --mount is refused): a test must not write there; run as another user"
    # shellcheck disable=SC2016 # Expanded by the inner shell.
    exec unshare --mount sh -c \
        'mount -t tmpfs -o size=1m cobnut-oracle "$1" && export LD_LIBRARY_PATH="$2" && shift 2 && exec "$@"' \
        sh "$SYSTEM_STATE" "$libraries" "$program" "$@"
}

# Prints the path of the program named $1. lib/nut comes first: the upsd and upsmon in sbin are
# Debian's wrappers. Scripts are passed over, they act on the system.
find_program() {
    local folder found
    for folder in lib/nut bin sbin usr/bin usr/sbin usr/lib/cgi-bin/nut; do
        for found in "$ROOT/$folder/$1" "$ROOT/$folder/$1.cgi"; do
            if [[ -f $found && -x $found && $(head -c 4 -- "$found" | tail -c 3) == ELF ]]; then
                printf '%s\n' "$found"
                return 0
            fi
        done
    done
    return 1
}

fail() {
    printf 'oracle: %s\n' "$2" >&2
    exit "$1"
}

main "$@"
