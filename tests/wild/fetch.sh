#!/usr/bin/env bash
# Fetches what others have written, none of it installed: clients of NUT, to be run against our upsd, and apcupsd, to be
# run against our simulated UPS.
#
#   tests/wild/fetch.sh      fetch what is not there yet; print the root folder
#
# The last line on stdout is the root folder; all else goes to stderr. A client that cannot be had is named there with
# the reason, and its tests are skipped; exit code 1 only if COBNUT_WILD_REQUIRED is set and one is missing.
# $COBNUT_WILD names another root folder.
set -euo pipefail
export LC_ALL=C

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(realpath -m -- "${COBNUT_WILD:-$HERE/cache/root}")
readonly HERE ROOT
# Raise when what lies in the root changes, so that older caches are made anew.
readonly LAYOUT=2
# Limits in seconds: one download, waiting for another fetch.
readonly LIMIT=180 LOCK_LIMIT=900

# Debian's packages: PyNUT 1.4, check_ups, collectd with its nut plugin, UPS::Nut, the C++ client, munin's plugins.
readonly PACKAGES=(
    python3-nut monitoring-plugins-basic monitoring-plugins-common collectd-core libups-nut-perl libltdl7
    libnutclient2 libnutclient-dev munin-plugins-core munin-plugins-extra
)
# apcupsd, and the libraries it wants that not every machine has.
readonly APCUPSD=(
    apcupsd libusb-0.1-4 libwrap0 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0
    libcom-err2 libkeyutils1
)
# From PyPI and npm, in these versions.
readonly PYTHON=(aionut==4.3.4 pynutclient==2.8.5)
readonly NODE=(node-nut@1.0.3)

say() { printf 'wild: %s\n' "$*" >&2; }

# Runs a step in a private folder and renames its result into place whole. $1 is the client's name, the rest the step.
fetch() {
    local name=$1 work
    shift
    [[ ! -e $ROOT/$name ]] || return 0
    work=$(mktemp -d -- "$ROOT.work.XXXXXX")
    if "$@" "$work" >"$work.log" 2>&1; then
        mv -T -- "$work" "$ROOT/$name"
        rm -f -- "$work.log"
        return 0
    fi
    say "$name is not to be had: $(tail -n 1 -- "$work.log")"
    rm -rf -- "$work" "$work.log"
    missing+=("$name")
}

# Downloads the packages named first and unpacks them into the folder named last.
debian() {
    local packages=("${@:1:$#-1}")
    set -- "${*: -1}"
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "no apt-get and dpkg here"; return 1; }
    local deb get=(timeout "$LIMIT" apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=2)
    # Fresh lists, if they are needed, go to a folder of our own: the system's are left alone.
    local lists=(-o "Dir::State::lists=$1.lists" -o "Dir::Cache=$1.lists")
    (
        cd -- "$1" || exit 1
        "${get[@]}" download "${packages[@]}" && exit
        mkdir -p -- "$1.lists/partial" "$1.lists/archives/partial"
        "${get[@]}" "${lists[@]}" update && "${get[@]}" "${lists[@]}" download "${packages[@]}"
    ) </dev/null || { rm -rf -- "$1.lists"; return 1; }
    rm -rf -- "$1.lists"
    for deb in "$1"/*.deb; do
        dpkg -x "$deb" "$1" && rm -- "$deb" || return 1
    done
}

apcupsd() {
    debian "${APCUPSD[@]}" "$1" || return 1
    local said libraries
    libraries=$(printf '%s:' "$1"/lib/*-linux-gnu* "$1"/usr/lib/*-linux-gnu*)
    said=$(LD_LIBRARY_PATH=$libraries ldd -- "$1/sbin/apcupsd") || { echo "$said"; return 1; }
    [[ $said != *"not found"* ]] || { grep 'not found' <<<"$said"; return 1; }
}

python() {
    command -v python3 >/dev/null || { echo "no python3 here"; return 1; }
    timeout "$LIMIT" python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-compile --target "$1" "${PYTHON[@]}"
}

node() {
    command -v npm >/dev/null || { echo "no npm here"; return 1; }
    timeout "$LIMIT" npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$1" "${NODE[@]}"
}

main() {
    local -a missing=()
    mkdir -p -- "$(dirname -- "$ROOT")"
    local lock
    exec {lock}>>"$ROOT.lock"
    flock --wait "$LOCK_LIMIT" "$lock" || { say "another fetch has held $ROOT.lock for $LOCK_LIMIT s"; exit 1; }
    if [[ -e $ROOT && $(cat -- "$ROOT/layout" 2>/dev/null) != "$LAYOUT" ]]; then
        rm -rf -- "$ROOT"
    fi
    rm -rf -- "$ROOT".work.*
    mkdir -p -- "$ROOT"
    echo "$LAYOUT" >"$ROOT/layout"
    fetch debian debian "${PACKAGES[@]}"
    fetch apcupsd apcupsd
    fetch python python
    fetch node node
    if ((${#missing[@]} > 0)) && [[ -n ${COBNUT_WILD_REQUIRED-} ]]; then
        exit 1
    fi
    printf '%s\n' "$ROOT"
}

main "$@"
