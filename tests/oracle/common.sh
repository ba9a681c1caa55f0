# Where the oracle lies and which libraries it is run with. Sourced by fetch.sh and run.sh.
# shellcheck shell=bash

# Prints the oracle's root folder: $COBNUT_ORACLE, else cache/root beside this file; always absolute.
oracle_root() {
    local here
    here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
    realpath -m -- "${COBNUT_ORACLE:-$here/cache/root}"
}

# Prints LD_LIBRARY_PATH for programs of the oracle under $1. Debian's library folders carry the
# machine's name (lib/x86_64-linux-gnu); a caller's own LD_LIBRARY_PATH is kept, behind ours.
oracle_library_path() {
    local folder path=""
    for folder in "$1"/lib/*-linux-* "$1"/usr/lib/*-linux-*; do
        [[ -d $folder ]] && path+=${path:+:}$folder
    done
    printf '%s\n' "$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}
