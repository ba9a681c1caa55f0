#!/usr/bin/env bash
# Fetches the oracle: Debian's own NUT 2.8.0 programs, unpacked but not installed.
#
#   tests/oracle/fetch.sh           make the oracle if it is not there; print its root folder
#   tests/oracle/fetch.sh --check   download nothing; only say whether it is usable
#
# The last line on stdout is the root folder; all else goes to stderr. Exit code: 0 the oracle is
# usable, 1 it is not (the last line on stderr says why and what to do), 2 wrong usage.
# $COBNUT_ORACLE names another root folder. README.md beside this file tells how to use it.
set -euo pipefail
export LC_ALL=C
# shellcheck source=common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

# NUT's version that the specs and differential tests were measured against (Debian 12).
readonly WANTED=2.8.0
# Raise when what lies in the root changes, so that older caches are made anew.
readonly LAYOUT=1
readonly PACKAGES=(nut-server nut-client nut-cgi libupsclient6 libnutscan2)
# What the tests run, relative to the root. The drivers stand for all others of their kind.
readonly PROGRAMS=(
    lib/nut/upsd lib/nut/upsmon sbin/upssched sbin/upsdrvctl
    bin/upsc bin/upscmd bin/upsrw bin/upslog
    lib/nut/dummy-ups lib/nut/apcsmart lib/nut/usbhid-ups lib/nut/genericups
    lib/nut/blazer_ser lib/nut/nutdrv_qx lib/nut/clone
    usr/lib/cgi-bin/nut/upsstats.cgi usr/lib/cgi-bin/nut/upsimage.cgi
    usr/lib/cgi-bin/nut/upsset.cgi
)
# Programs that answer -V with their version and exit code 0.
readonly TALKERS=(
    lib/nut/upsd lib/nut/upsmon sbin/upsdrvctl bin/upsc bin/upscmd bin/upsrw
    lib/nut/dummy-ups lib/nut/apcsmart lib/nut/usbhid-ups
)
# Limits in seconds: one apt-get run, one -V, waiting for another fetch.
readonly APT_LIMIT=300 TALK_LIMIT=20 LOCK_LIMIT=900

ROOT=$(oracle_root)
STAMP=$ROOT/.cobnut-oracle
WORK="" # Private folder of this run beside ROOT, removed at the end.
APT_OPTIONS=(
    -o "Acquire::Retries=2" -o "Acquire::http::Timeout=60" -o "Acquire::https::Timeout=60"
    # apt's own sandbox user could not write into our private folder.
    -o "APT::Sandbox::User=root"
)

main() {
    case "${1-}" in
        "" | --check) ;;
        *) echo "usage: fetch.sh [--check]" >&2; exit 2 ;;
    esac
    local why
    if why=$(fault "$ROOT"); then
        [[ ${1-} != --check ]] || fail "$why; run tests/oracle/fetch.sh to make it"
        make_oracle
    fi
    say "usable: NUT $(version_in "$STAMP") in $ROOT"
    printf '%s\n' "$ROOT"
}

# Makes the oracle under a lock, so that of two runs at once the second finds the first one's work.
make_oracle() {
    require_tools
    mkdir -p -- "$(dirname -- "$ROOT")" ||
        fail "cannot make $(dirname -- "$ROOT"); set COBNUT_ORACLE to a folder that can be written"
    local lock why
    exec {lock}>>"$ROOT.lock" ||
        fail "cannot write $ROOT.lock; set COBNUT_ORACLE to a folder that can be written"
    flock --wait "$LOCK_LIMIT" "$lock" ||
        fail "another fetch has held $ROOT.lock for $LOCK_LIMIT s; end it or remove that file"
    why=$(fault "$ROOT") || return 0
    say "making $ROOT ($why)"
    refuse_foreign_folder

    rm -rf -- "$ROOT".work.* # Left by a run that was killed: we hold the lock, nobody uses them.
    WORK=$(mktemp -d -- "$ROOT.work.XXXXXX")
    trap 'rm -rf -- "$WORK"' EXIT
    mkdir -- "$WORK/debs" "$WORK/root"
    chmod 755 -- "$WORK/root"

    local version
    version=$(find_version)
    fetch_into "$WORK/root" "${PACKAGES[@]/%/=$version}"
    fetch_libraries "$WORK/root"
    printf 'layout %s\nnut %s\n' "$LAYOUT" "$version" >"$WORK/root/${STAMP##*/}"
    if why=$(fault "$WORK/root"); then
        fail "the packages were unpacked but do not work: $why"
    fi

    # Renamed into place whole: nobody ever sees half an oracle.
    [[ ! -e $ROOT ]] || mv -T -- "$ROOT" "$WORK/old"
    mv -T -- "$WORK/root" "$ROOT"
}

# Succeeds, saying why, when the root $1 is not a usable oracle of this version and layout.
fault() {
    local root=$1 stamp=$1/${STAMP##*/} program libraries said
    [[ -d $root ]] || { echo "$root does not exist"; return 0; }
    [[ -f $stamp ]] || { echo "$root has no stamp file ${stamp##*/}"; return 0; }
    [[ $(head -n 1 -- "$stamp") == "layout $LAYOUT" && $(version_in "$stamp") == "$WANTED"-* ]] ||
        { echo "$root is of another version"; return 0; }
    for program in "${PROGRAMS[@]}"; do
        [[ -x $root/$program ]] || { echo "$root/$program is missing"; return 0; }
    done
    said=$(missing_libraries "$root")
    [[ -z $said ]] || { echo "libraries are missing: ${said//$'\n'/ }"; return 0; }
    libraries=$(oracle_library_path "$root")
    for program in "${TALKERS[@]}"; do
        said=$(LD_LIBRARY_PATH=$libraries timeout "$TALK_LIMIT" "$root/$program" -V 2>&1 </dev/null) ||
            { echo "$program -V fails (exit code $?): $said"; return 0; }
        [[ $said == *"$WANTED"* ]] || { echo "$program -V says no $WANTED: $said"; return 0; }
    done
    return 1
}

# Prints the package version a stamp file names.
version_in() { sed -n 's/^nut //p' -- "$1"; }

# Prints the shared libraries, one a line, that programs under root $1 want and nobody has.
missing_libraries() {
    local libraries
    libraries=$(oracle_library_path "$1")
    # ldd fails as soon as one of the programs wants a library; what it prints tells the rest.
    (
        cd -- "$1"
        LD_LIBRARY_PATH=$libraries ldd -- "${PROGRAMS[@]}" 2>&1 || true
    ) |
        sed -nE 's/^[[:space:]]*([^ ]+) => not found$/\1/p' | sort -u
}

require_tools() {
    local tool
    for tool in apt-get apt-cache dpkg dpkg-deb dpkg-query flock ldd timeout; do
        command -v "$tool" >/dev/null ||
            fail "$tool is not on this machine: the oracle is made of Debian packages, with Debian's tools"
    done
}

# A folder that this script did not make is never replaced.
refuse_foreign_folder() {
    [[ ! -e $ROOT || -f $STAMP ]] && return
    [[ -d $ROOT && -z $(ls -A -- "$ROOT") ]] ||
        fail "$ROOT is not empty and not an oracle; empty it or set COBNUT_ORACLE to another folder"
}

# Prints the newest package version of NUT $WANTED on offer. Lists are fetched if there are none.
find_version() {
    local offered
    offered=$(versions_on_offer)
    if [[ $offered != *"$WANTED-"* ]]; then
        # In a subshell (our caller's): the lists stay in $WORK, and use_private_lists finds them.
        update_lists
        offered=$(versions_on_offer)
    fi
    [[ -n $offered ]] ||
        fail "apt knows no package nut-server; add a Debian 12 (bookworm) source to apt"
    grep -m 1 -F -- "$WANTED-" <<<"$offered" ||
        fail "apt offers nut-server only in version ${offered//$'\n'/, }, the oracle is $WANTED; add a Debian 12 (bookworm) source to apt"
}

versions_on_offer() {
    apt_cache madison nut-server 2>/dev/null | sed -nE 's/^[^|]*\| *([^ |]+) *\|.* Packages$/\1/p' | uniq
}

# Downloads the packages $2... and unpacks them into $1.
fetch_into() {
    local root=$1 deb why
    shift
    say "fetching $*"
    if ! download "$@"; then
        why=$(last_error) # The second try may fail for want of lists: the first knows the cause.
        update_lists
        download "$@" || fail "cannot download ${*}: $why; check apt's sources and the network"
    fi
    for deb in "$WORK"/debs/*.deb; do
        why=$(dpkg -x "$deb" "$root" 2>&1) ||
            fail "cannot unpack ${deb##*/} into $root: ${why%%$'\n'*}"
        rm -- "$deb"
    done
}

download() { (cd -- "$WORK/debs" && apt_get download "$@" >"$WORK/apt.log" 2>&1); }

# Fetches the libraries that programs under root $1 miss: every library in the dependencies of
# NUT's packages that is not installed, so that libraries loaded at run time (NSS loads its crypto
# modules so, which ldd does not see) come along with the one whose lack was noticed.
fetch_libraries() {
    local root=$1 missing package
    local -a wanted=()
    missing=$(missing_libraries "$root")
    [[ -n $missing ]] || return 0
    while read -r package; do
        is_installed "$package" || wanted+=("$package")
    done < <(library_dependencies)
    if ((${#wanted[@]} > 0)); then
        fetch_into "$root" "${wanted[@]}"
    fi
    missing=$(missing_libraries "$root")
    [[ -z $missing ]] ||
        fail "no package brought ${missing//$'\n'/, }; install the Debian package that holds it"
}

# Prints the library packages that NUT's packages depend on, directly or through other libraries.
# Not libc6: the C library must be the machine's own, it belongs to the program loader.
library_dependencies() {
    local found new
    found=$(printf '%s\n' "${PACKAGES[@]}")
    while true; do
        # shellcheck disable=SC2086 # Package names hold no blanks.
        new=$(apt_cache depends --important $found 2>/dev/null |
            sed -nE 's/^ [ |](Pre)?Depends: (lib[a-z0-9.+-]+)$/\2/p' |
            grep -vxF -e libc6 -f <(printf '%s\n' "$found") | sort -u) || break
        found+=$'\n'$new
    done
    grep -vxF -f <(printf '%s\n' "${PACKAGES[@]}") <<<"$found"
}

is_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1:$(dpkg --print-architecture)" 2>/dev/null) == installed ]]
}

# Fetches package lists into our own folder, where any user may; the system's are left alone.
update_lists() {
    [[ ! -d $WORK/lists ]] || return 0
    say "apt's package lists are missing or old: fetching fresh ones for this run"
    mkdir -p -- "$WORK/lists/partial" "$WORK/cache/archives/partial"
    # Exit code 0 even if a list is not to be had. The download that follows tells if it matters.
    if ! apt_get update >"$WORK/apt.log" 2>&1 || grep -qE '^[EW]:' -- "$WORK/apt.log"; then
        say "apt-get update: $(last_error)"
    fi
}

apt_get() { with_apt apt-get -q "$@"; }
apt_cache() { with_apt apt-cache "$@"; }

# Runs an apt program; with our own lists once update_lists has made them.
with_apt() {
    local program=$1
    shift
    local -a options=("${APT_OPTIONS[@]}")
    [[ ! -d $WORK/lists ]] ||
        options+=(-o "Dir::State::lists=$WORK/lists" -o "Dir::Cache=$WORK/cache")
    timeout "$APT_LIMIT" "$program" "${options[@]}" "$@" </dev/null
}

last_error() {
    local line
    line=$(grep -E '^[EW]:' -- "$WORK/apt.log" | head -n 1 || true)
    printf '%s' "${line:-apt gave no reason or ran longer than $APT_LIMIT s}"
}

say() { printf 'oracle: %s\n' "$*" >&2; }
fail() { say "not usable: $*"; exit 1; }

main "$@"
