#!/bin/sh
# Fetches the dashboard that pin.toml names and compares its hash, or goes without and says so.
#
#   web-ui.sh PIN_TOML DIR
#
# Upstream's own script takes whatever is the latest release on that day; here [webui] version and sha256 decide.
# DIR is whole, with the hash in .pinned, or empty but for a note.
set -eu

[ "$#" -eq 2 ] || { echo "web-ui.sh: usage: web-ui.sh PIN_TOML DIR" >&2; exit 1; }
pin="$1" dir="$2"

get() {
    awk -v key="$1" '
        /^\[/ { inside = ($0 == "[webui]") }
        inside && $1 == key && $2 == "=" { gsub(/"/, "", $3); print $3; exit }' "$pin"
}

version="$(get version)" sha256="$(get sha256)"
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
curl --fail --silent --show-error --location --retry 3 --output "$archive" "$address" || {
    echo "web-ui: cannot fetch $address" >&2
    exit 1
}
found="$(sha256sum "$archive" | cut -d ' ' -f 1)"
[ "$found" = "$sha256" ] || {
    echo "web-ui: $address has sha256 $found, pinned is $sha256" >&2
    exit 1
}
unpacked="$(mktemp -d)"
unzip -q "$archive" -d "$unpacked"
cp -r "$unpacked/dist/." "$dir/"
# A dashboard that was given instead has no such note, and a release refuses it.
echo "$sha256" >"$dir/.pinned"
rm -rf "$unpacked"
