# shellcheck shell=bash
# Sourced by the scripts beside it: where things live and how to speak.

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CHECKOUT=$(cd "$TESTBED/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dbguard-testbed
mkdir -p "$CACHE"
# Used by the scripts that source this file.
export TESTBED CHECKOUT CACHE

# Only the engine's own builder sees the images of the engine.
export BUILDX_BUILDER=default

# Progress goes to stderr: stdout carries only answers (tags, addresses, export lines).
say() { printf 'testbed: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

is_debian() { [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

# The Debian mirror this machine uses itself. Empty where the machine is no Debian, or has no package lists yet.
debian_mirror() {
    # shellcheck disable=SC2016  # $(SITE) is apt's own placeholder
    apt-get indextargets --format '$(SITE)' 'Label: Debian' 'Created-By: Packages' 2>/dev/null | sort -u | head -n 1
}

# apt on a second, private set of lists: the machine's own sources are neither read nor changed.
# apt_of SUITE APT-GET-ARGUMENTS…
apt_of() {
    local suite=$1 mirror dir=$CACHE/apt-$1
    shift
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "no Debian mirror found in this machine's apt sources (after 'apt-get update')"
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    echo "deb $mirror $suite main" >"$dir/sources.list"
    # Snapshot mirrors serve Release files that have run out.
    apt-get -qq \
        -o Acquire::Check-Valid-Until=false \
        -o APT::Sandbox::User= \
        -o Dir::Etc::SourceList="$dir/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State::Lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" \
        "$@"
}
