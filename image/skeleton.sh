#!/bin/sh
# Copies of a cargo workspace only what decides which dependencies are built: manifests, the lock, cargo's
# configuration, and an empty program or library in the place of every crate root. Built once, such a skeleton is
# a layer that a change in the sources does not touch.
#
#   skeleton.sh FROM TO
#
# TO must not exist. Works for our own workspace and for Qdrant's; what it builds is never shipped.
set -eu

refuse() {
    echo "skeleton: $*" >&2
    exit 1
}

[ "$#" -eq 2 ] || refuse "usage: skeleton.sh FROM TO"
from="$1" to="$2"
[ -f "$from/Cargo.lock" ] || refuse "$from holds no Cargo.lock: is it a workspace?"
[ ! -e "$to" ] || refuse "$to exists already"
mkdir -p "$to"
to="$(cd "$to" && pwd)"
cd "$from"

# stub FILE: the least that cargo accepts in its place.
stub() {
    mkdir -p "$to/$(dirname "$1")"
    case "$1" in
    */lib.rs | lib.rs) : >"$to/$1" ;;
    *) echo 'fn main() {}' >"$to/$1" ;;
    esac
}

cp Cargo.lock "$to/"
for extra in .cargo/config.toml rust-toolchain.toml rust-toolchain; do
    [ ! -f "$extra" ] || { mkdir -p "$to/$(dirname "$extra")" && cp "$extra" "$to/$extra"; }
done

find . -name target -prune -o -name .git -prune -o -name Cargo.toml -print | sort | while IFS= read -r manifest; do
    folder="$(dirname "$manifest")"
    mkdir -p "$to/$folder"
    cp "$manifest" "$to/$manifest"
    # The roots that cargo finds by itself.
    for root in "$folder"/build.rs "$folder"/src/lib.rs "$folder"/src/main.rs \
        "$folder"/src/bin/*.rs "$folder"/src/bin/*/main.rs "$folder"/benches/*.rs "$folder"/benches/*/main.rs \
        "$folder"/examples/*.rs "$folder"/examples/*/main.rs; do
        [ ! -f "$root" ] || stub "$root"
    done
    # Those that the manifest names.
    sed -n 's/^ *\(path\|build\) *= *"\([^"]*\.rs\)".*/\2/p' "$manifest" | while IFS= read -r root; do
        [ ! -f "$folder/$root" ] || stub "$folder/$root"
    done
done
