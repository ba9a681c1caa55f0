#!/usr/bin/env bash
# Fetches the tools that fill a database of NSS, which NUT's upsd of Debian keeps its certificate in.
#
# The last line on stdout is the folder of certutil and pk12util: the machine's own, or a package that is unpacked beside
# the oracle and not installed. Exit code 1, and why on stderr, where they are not to be had.
set -euo pipefail
export LC_ALL=C
# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

FOLDER=$(dirname -- "$(oracle_root)")/nss-tools
readonly FOLDER

main() {
    if command -v certutil >/dev/null && command -v pk12util >/dev/null; then
        dirname -- "$(command -v certutil)"
        return
    fi
    mkdir -p -- "$(dirname -- "$FOLDER")"
    exec 9>"$FOLDER.lock"
    flock -w 300 9
    [[ -x $FOLDER/usr/bin/pk12util ]] || fetch
    printf '%s\n' "$FOLDER/usr/bin"
}

# Unpacks the package in a private folder and renames that into place: half a package is never seen.
fetch() {
    local work
    work=$(mktemp -d "$FOLDER.XXXXXX")
    # shellcheck disable=SC2064 # The folder of now.
    trap "rm -rf -- '$work'" EXIT
    (cd -- "$work" && timeout 120 apt-get -q -o "APT::Sandbox::User=root" download libnss3-tools) >&2 ||
        { echo "nss.sh: apt-get cannot download libnss3-tools" >&2; exit 1; }
    dpkg -x "$work"/libnss3-tools_*.deb "$work/root"
    rm -rf -- "$FOLDER"
    mv -- "$work/root" "$FOLDER"
}

main
