#!/bin/sh
# Refuses a release that is not pinned to the last byte, or whose Qdrant is not the patched one. A build that is no release passes, and is told what a
# release would lack.
#
#   release-gate.sh PIN_TOML [KEY=VALUE…]
#
# The keys are the build's arguments: RELEASE (1; 0 or empty for none), QDRANT_FROM, QDRANT_PATCHED, QDRANT_PIN,
# ENTRYPOINT_FROM, VERSION, REVISION, CREATED, APT_SNAPSHOT, and the base images of a build from source: RUST_IMAGE,
# RUNTIME_BASE. Exit 1 after one line for each thing that a release lacks.
set -eu

[ "$#" -ge 1 ] && [ -f "$1" ] || { echo "release-gate: usage: release-gate.sh PIN_TOML [KEY=VALUE…]" >&2; exit 1; }
pin="$1"
shift
RELEASE='' QDRANT_FROM='' QDRANT_PATCHED='' QDRANT_PIN='' ENTRYPOINT_FROM='' VERSION='' REVISION='' CREATED='' APT_SNAPSHOT=''
RUST_IMAGE='' RUNTIME_BASE=''
for argument in "$@"; do
    value="${argument#*=}"
    case "${argument%%=*}" in
    RELEASE) RELEASE="$value" ;;
    QDRANT_FROM) QDRANT_FROM="$value" ;;
    QDRANT_PATCHED) QDRANT_PATCHED="$value" ;;
    QDRANT_PIN) QDRANT_PIN="$value" ;;
    ENTRYPOINT_FROM) ENTRYPOINT_FROM="$value" ;;
    VERSION) VERSION="$value" ;;
    REVISION) REVISION="$value" ;;
    CREATED) CREATED="$value" ;;
    APT_SNAPSHOT) APT_SNAPSHOT="$value" ;;
    RUST_IMAGE) RUST_IMAGE="$value" ;;
    RUNTIME_BASE) RUNTIME_BASE="$value" ;;
    *) echo "release-gate: unknown argument ${argument%%=*}" >&2; exit 1 ;;
    esac
done
# Whoever says true means a release, and would get an image that was not held to anything.
case "$RELEASE" in
'' | 0 | 1) ;;
*) echo "release-gate: RELEASE=$RELEASE: give 1 for a release, 0 or nothing for a build that is none" >&2; exit 1 ;;
esac

# pinned SECTION: the image of [images.SECTION], as a Dockerfile names it.
pinned() {
    awk -v section="[images.$1]" '
        /^\[/ { inside = ($1 == section) }
        inside && $2 == "=" { gsub(/"/, "", $3); value[$1] = $3 }
        END { print value["name"] "@" value["digest"] }' "$pin"
}

lacking="$(
    # Every value of the pin that was never learnt, by section and key.
    awk '
        { sub(/^[ \t]+/, ""); sub(/[ \t\r]+$/, "") }
        /^\[/ { section = $0; gsub(/[][]/, "", section); next }
        /^[A-Za-z0-9_.-]+[ \t]*=[ \t]*""/ {
            key = $0; sub(/[ \t]*=.*/, "", key)
            print "pin.toml: [" section "] " key " is empty: cargo ci pin resolve fills it where there is a network"
        }' "$pin"
    # A value that is not even there is not pinned either.
    grep -q '^\[webui\]' "$pin" || echo "pin.toml: no [webui]: the dashboard is not pinned"
    for pair in "RUST_IMAGE=$RUST_IMAGE" "RUNTIME_BASE=$RUNTIME_BASE"; do
        image="${pair#*=}"
        case "$image" in
        *@sha256:????????????????????????????????????????????????????????????????)
            case "$pair" in RUST_IMAGE=*) wanted="$(pinned rust)" ;; *) wanted="$(pinned runtime)" ;; esac
            [ "$image" = "$wanted" ] || echo "$pair is not what pin.toml names: $wanted"
            ;;
        *) echo "${pair%%=*}=$image is named by tag, not by digest" ;;
        esac
    done
    case "$QDRANT_FROM" in
    source) ;;
    official) echo "QDRANT_FROM=official: it has none of our patches, a release is made with QDRANT_FROM=source" ;;
    *) echo "QDRANT_FROM=$QDRANT_FROM: nothing pins a binary that was given" ;;
    esac
    [ "$QDRANT_PATCHED" = 1 ] || echo "QDRANT_PATCHED=$QDRANT_PATCHED: a release has our patches, leave it at 1"
    # The labels and the compiler are those of [upstream].
    [ "$QDRANT_PIN" = upstream ] || echo "QDRANT_PIN=$QDRANT_PIN: a release is made of [upstream]"
    [ "$ENTRYPOINT_FROM" = source ] || echo "ENTRYPOINT_FROM=$ENTRYPOINT_FROM: nothing pins a binary that was given"
    [ -n "$VERSION" ] || echo "VERSION is empty"
    [ -n "$REVISION" ] || echo "REVISION is empty"
    [ -n "$CREATED" ] || echo "CREATED is empty"
    [ -n "$APT_SNAPSHOT" ] || echo "APT_SNAPSHOT is empty"
)"

[ -n "$lacking" ] || exit 0
if [ "$RELEASE" = 1 ]; then
    echo "$lacking" | sed 's/^/release refused: /' >&2
    exit 1
fi
echo "$lacking" | sed 's/^/note: no release: /'
