#!/bin/sh
# Fetches and verifies the upstream source that pin.toml (beside this file) names.
# Owns: reading the pin, the fetch, the comparison. Does not patch and does not build.
#
#   pinned.sh get SECTION KEY           print one value of the pin
#   pinned.sh fetch SECTION DIR         fetch that release into the new directory DIR, verified
#   pinned.sh verify-lock SECTION DIR   is the Cargo.lock in DIR the pinned one?
#
# SECTION is upstream or fallback. Exit 1 with one line when anything differs; DIR is then absent.
set -eu

pin_file="$(dirname "$0")/pin.toml"

refuse() {
    echo "qdrant-src: $*" >&2
    exit 1
}

# quietly WHAT COMMAND…: runs it; when it fails, what it said and what to do is one line.
quietly() {
    what="$1"
    shift
    said="$("$@" 2>&1)" || refuse "cannot $what ($(printf '%s' "$said" | tr '\n' ' '))"
}

get() {
    value="$(awk -v section="[$1]" -v key="$2" '
        /^\[/ { inside = ($0 == section) }
        inside && $1 == key && $2 == "=" { gsub(/"/, "", $3); print $3; exit }
    ' "$pin_file")"
    [ -n "$value" ] || refuse "$pin_file has no value for $2 in [$1]"
    printf '%s\n' "$value"
}

verify_lock() {
    wanted="$(get "$1" cargo_lock_sha256)"
    [ -f "$2/Cargo.lock" ] || refuse "$2 holds no Cargo.lock: is it Qdrant's source?"
    found="$(sha256sum "$2/Cargo.lock" | cut -d ' ' -f 1)"
    [ "$found" = "$wanted" ] ||
        refuse "Cargo.lock in $2 has sha256 $found, pinned for [$1] is $wanted: give the pinned source or change pin.toml"
}

fetch() {
    section="$1" dir="$2"
    # One a line: of several in one command only the last one's failure counts.
    repository="$(get "$section" repository)"
    tag="$(get "$section" tag)"
    commit="$(get "$section" commit)"
    tree="$(get "$section" tree)"
    [ ! -e "$dir" ] || refuse "$dir exists already: remove it first"

    # Filled beside the target and renamed at the end, so that DIR is whole or absent.
    partial="$dir.partial"
    rm -rf "$partial"
    trap 'rm -rf "$partial"' EXIT
    quietly "make $partial: is there room, and git?" git init --quiet "$partial"
    # The tag is fetched, not the bare commit: not every server hands out unadvertised commits,
    # and a tag that moved must be noticed.
    quietly "fetch $tag of $repository: without a network give the source as docs/image.md says" \
        git -C "$partial" fetch --quiet --depth 1 "$repository" "refs/tags/$tag"
    found="$(git -C "$partial" rev-parse 'FETCH_HEAD^{commit}')"
    [ "$found" = "$commit" ] ||
        refuse "$tag of $repository is commit $found, pinned is $commit: the tag was moved; cargo ci pin set $tag once you know why"
    found="$(git -C "$partial" rev-parse 'FETCH_HEAD^{tree}')"
    [ "$found" = "$tree" ] ||
        refuse "$tag of $repository has tree $found, pinned is $tree: cargo ci pin set $tag once you know why"
    quietly "write $partial: is there room?" git -C "$partial" -c advice.detachedHead=false checkout --quiet "$commit"
    verify_lock "$section" "$partial"
    rm -rf "$partial/.git"
    mv "$partial" "$dir"
    echo "qdrant-src: $tag, commit $commit, verified"
}

usage="usage: pinned.sh get SECTION KEY | fetch SECTION DIR | verify-lock SECTION DIR"
[ "$#" -eq 3 ] || refuse "$usage"
case "$1" in
get) get "$2" "$3" ;;
fetch) fetch "$2" "$3" ;;
verify-lock) verify_lock "$2" "$3" ;;
*) refuse "$usage" ;;
esac
