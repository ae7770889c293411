#!/bin/sh
# Makes of a program that was built the one that is shipped: stripped, with what it was built from inside.
#
#   finish.sh PROGRAM OUT NAME [KEY=VALUE…]
#
# Writes OUT/NAME, OUT/build/NAME.toml (the keys, compiler and architecture; also the program's section
# .build-info, so that a binary found alone still says what it is: objcopy -O binary --only-section=.build-info),
# and /symbols/NAME.debug for whoever must read a stack trace; the latter is not for the image.
set -eu

[ "$#" -ge 3 ] || { echo "finish.sh: usage: finish.sh PROGRAM OUT NAME [KEY=VALUE…]" >&2; exit 1; }
program="$1" out="$2" name="$3"
shift 3
symbols="${SYMBOLS:-/symbols}"
mkdir -p "$out/build" "$symbols"
note="$out/build/$name.toml"
{
    echo "from = \"source\""
    for pair in "$@"; do
        value="$(printf '%s' "${pair#*=}" | sed 's/ *$//')"
        case "$value" in
        *[\"\\]*) echo "finish.sh: ${pair%%=*} has a quote in it" >&2; exit 1 ;;
        esac
        printf '%s = "%s"\n' "${pair%%=*}" "$value"
    done
    printf 'rustc = "%s"\n' "$(rustc --version)"
    printf 'architecture = "%s"\n' "$(uname -m)"
} >"$note"
objcopy --only-keep-debug "$program" "$symbols/$name.debug"
objcopy --strip-all --add-section ".build-info=$note" --set-section-flags .build-info=noload,readonly \
    --add-gnu-debuglink="$symbols/$name.debug" "$program" "$out/$name"
chmod 0755 "$out/$name"
# A program that the stripping broke must not get further.
readelf --file-header "$out/$name" >/dev/null
