#!/bin/sh
# The dashboard that pin.toml names: fetches it and compares its hash, or goes without and says so.
#
#   web-ui.sh fetch PIN_TOML DIR    DIR is whole, with the hash in .pinned, or empty but for a note
#   web-ui.sh verify PIN_TOML DIR   does DIR hold a dashboard with the pinned hash in .pinned?
#
# Upstream's own script takes whatever is the latest release on that day; here [webui] version and sha256 decide.
# .pinned says which archive a dashboard was unpacked from, not that nobody has changed it since.
set -eu

refuse() {
    echo "web-ui: $*" >&2
    exit 1
}

usage="usage: web-ui.sh fetch PIN_TOML DIR | verify PIN_TOML DIR"
[ "$#" -eq 3 ] || refuse "$usage"
pin="$2" dir="$3"
[ -f "$pin" ] || refuse "there is no $pin: $usage"

get() {
    awk -v key="$1" '
        /^\[/ { inside = ($0 == "[webui]") }
        inside && $1 == key && $2 == "=" { gsub(/"/, "", $3); print $3; exit }' "$pin"
}
version="$(get version)" sha256="$(get sha256)"

fetch() {
    mkdir -p "$dir"
    if [ -z "$version" ] || [ -z "$sha256" ]; then
        echo "web-ui: no dashboard: [webui] in $pin has no version or no sha256" >&2
        # Never left wholly empty: BuildKit of engine 20.10 takes what an earlier build had copied then.
        echo "not pinned" >"$dir/none"
        exit 0
    fi
    archive="$(mktemp)"
    trap 'rm -f "$archive"' EXIT
    address="https://github.com/qdrant/qdrant-web-ui/releases/download/$version/dist-qdrant.zip"
    curl --fail --silent --show-error --location --retry 3 --output "$archive" "$address" ||
        refuse "cannot fetch $address"
    found="$(sha256sum "$archive" | cut -d ' ' -f 1)"
    [ "$found" = "$sha256" ] || refuse "$address has sha256 $found, pinned is $sha256"
    unpacked="$(mktemp -d)"
    unzip -q "$archive" -d "$unpacked"
    cp -r "$unpacked/dist/." "$dir/"
    echo "$sha256" >"$dir/.pinned"
    rm -rf "$unpacked"
}

verify() {
    else="build without --build-context web-ui, or with the stage web-ui of a build of this pin"
    [ -n "$sha256" ] || refuse "[webui] in $pin has no sha256 to hold a dashboard to: fill it in"
    [ -f "$dir/index.html" ] || refuse "$dir holds no dashboard: $else"
    [ -f "$dir/.pinned" ] || refuse "$dir holds a dashboard that nothing pins: $else"
    found="$(cat "$dir/.pinned")"
    [ "$found" = "$sha256" ] ||
        refuse "$dir holds a dashboard of an archive with sha256 $(printf '%s' "$found" | tr '\n' ' '), pinned is $sha256: $else"
}

case "$1" in
fetch) fetch ;;
verify) verify ;;
*) refuse "$usage" ;;
esac
