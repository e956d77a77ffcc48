# shellcheck shell=bash
# Sourced after testbed.sh: pull an official image, or build a stand-in.

RECIPES=$TESTBED/images.d

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# find_registry IMAGE…: ask once for a tiny image, so that not every image waits for a registry that does not answer.
find_registry() {
    local probe=hello-world:latest image
    REGISTRY=not-needed
    for image in "$@"; do
        has_image "$image" || REGISTRY=needed
    done
    [ "$REGISTRY" = needed ] || return 0
    if has_image "$probe"; then
        probe_is_ours=no
    else
        probe_is_ours=yes
    fi
    if timeout 15 docker pull --quiet "$probe" >/dev/null 2>&1; then
        REGISTRY=answers
        [ "$probe_is_ours" = no ] || docker image rm "$probe" >/dev/null
    fi
}

# pulled IMAGE: is the official image here now?
pulled() {
    if has_image "$1"; then return; fi
    [ "$REGISTRY" = answers ] || return 1
    say "pulling $1"
    timeout 600 docker pull --quiet "$1" >&2
}

# Before images are made side by side: apt works for one at a time.
get_debootstrap() {
    if ! is_root || ! is_debian || command -v debootstrap >/dev/null; then return; fi
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap >&2
}

# debian SUITE: a minimal Debian, with this machine's own package mirror in it. Prints its tag.
debian() {
    local suite=$1 label=dbguard-test=1 tag tree mirror
    tag=dbguard-test/debian:$suite-$(recipe_hash debian "$label")
    if ! has_image "$tag"; then
        if ! is_root || ! command -v debootstrap >/dev/null; then
            die "no image registry answers, and only root on Debian can build stand-in images:" \
                "make 'docker pull hello-world' work"
        fi
        mirror=$(debian_mirror)
        [ -n "$mirror" ] || die "this machine's apt sources name no Debian mirror"
        say "making a minimal Debian $suite"
        tree=$(mktemp -d "$CACHE/debian-$suite.XXXXXX")
        debootstrap --variant=minbase "$suite" "$tree" "$mirror" >"$CACHE/debian-$suite.log" ||
            die "debootstrap failed, see $CACHE/debian-$suite.log"
        cp "$RECIPES/debian/configure" "$tree/configure"
        chroot "$tree" /configure
        rm "$tree/configure"
        tar -C "$tree" -c . | docker import --change "LABEL $label" - "$tag" >/dev/null
        rm -rf "$tree"
    fi
    echo "$tag"
}

# recipe_hash RECIPE [TEXT…]: changes with anything that goes into the image.
recipe_hash() {
    local files=("$1")
    if grep -qs docker-entrypoint.sh "$RECIPES/$1/Dockerfile"; then files+=(docker-entrypoint.sh); fi
    (cd "$RECIPES" && echo "$@" && find "${files[@]}" -type f -print0 | sort -z | xargs -0 sha256sum) |
        sha256sum | cut -c1-12
}

# build NAME BASE RECIPE [BUILD-ARG…]: the image of images.d/RECIPE, built once. Prints its tag.
build() {
    local name=$1 base=$2 recipe=$3 tag log argument
    shift 3
    tag=$name-$(recipe_hash "$recipe" "$base" "$@")
    log=$CACHE/build-$(basename "$tag").log
    if ! has_image "$tag"; then
        say "building $tag"
        local arguments=(--build-arg "BASE=$base")
        for argument in "$@"; do arguments+=(--build-arg "$argument"); done
        # Passed on only where the machine sets them.
        for argument in http_proxy https_proxy no_proxy; do arguments+=(--build-arg "$argument"); done
        docker build --network host "${arguments[@]}" --tag "$tag" \
            --file "$RECIPES/$recipe/Dockerfile" "$RECIPES" >"$log" 2>&1 ||
            die "building $tag failed: $(tail -n 20 "$log")"
    fi
    echo "$tag"
}
