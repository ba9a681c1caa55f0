#!/usr/bin/env bash
# Becomes dbus-daemon, for a bus of a test's own: dbus.sh ARGUMENT...
#
# The machine's own program, or a package that is unpacked beside the oracle and not installed. With --check it only looks,
# and fetches it if need be. Exit code 1, and why on stderr, where it is not to be had.
set -euo pipefail
export LC_ALL=C
# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

FOLDER=$(dirname -- "$(oracle_root)")/dbus
readonly FOLDER
# The daemon, and those of its libraries that a bare Debian lacks.
readonly PACKAGES=(dbus-daemon libdbus-1-3 libapparmor1 libexpat1)
APT=(-o "APT::Sandbox::User=root")

main() {
    local program
    if ! program=$(command -v dbus-daemon); then
        mkdir -p -- "$(dirname -- "$FOLDER")"
        exec 9>"$FOLDER.lock"
        flock -w 300 9
        [[ -x $FOLDER/usr/bin/dbus-daemon ]] || fetch
        exec 9>&-
        program=$FOLDER/usr/bin/dbus-daemon
        LD_LIBRARY_PATH=$(oracle_library_path "$FOLDER")
        export LD_LIBRARY_PATH
    fi
    [[ ${1-} != --check ]] || exec "$program" --version >&2
    exec "$program" "$@"
}

# Unpacks the packages in a private folder and renames that into place: half of them are never seen.
fetch() {
    local work deb
    work=$(mktemp -d "$FOLDER.XXXXXX")
    # shellcheck disable=SC2064 # The folder of now.
    trap "rm -rf -- '$work'" EXIT
    if ! apt_get download "${PACKAGES[@]}"; then
        # Package lists that are missing or old: fresh ones for us alone.
        mkdir -p -- "$work/lists/partial" "$work/cache/archives/partial"
        APT+=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
        { apt_get update && apt_get download "${PACKAGES[@]}"; } ||
            { echo "dbus.sh: apt-get cannot download ${PACKAGES[*]}" >&2; exit 1; }
    fi
    for deb in "$work"/*.deb; do
        dpkg -x "$deb" "$work/root"
    done
    rm -rf -- "$FOLDER"
    mv -- "$work/root" "$FOLDER"
    rm -rf -- "$work"
    trap - EXIT
}

# In the folder that the packages are unpacked in.
apt_get() { (cd -- "$work" && timeout 300 apt-get -q "${APT[@]}" "$@" </dev/null) >&2; }

main "$@"
