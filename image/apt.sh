#!/bin/sh
# Installs Debian packages from one day of Debian's archive. Lists, caches and logs are gone afterwards; apt stays set to
# that day, so that whoever installs more on top does not mix days.
#
#   apt.sh SNAPSHOT PACKAGE…
#
# SNAPSHOT is a time like 20261120T000000Z, as snapshot.debian.org keeps the archive; empty takes the mirror's
# present. Signatures are checked either way. Packages that are there already are not asked for, so that a base
# that has all of them needs no network.
set -eu

[ "$#" -ge 2 ] || { echo "apt.sh: usage: apt.sh SNAPSHOT PACKAGE…" >&2; exit 1; }
snapshot="$1"
shift
case "$snapshot" in
'' | [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
*) echo "apt.sh: $snapshot is no time like 20261120T000000Z" >&2; exit 1 ;;
esac

missing=''
for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ -n "$snapshot" ]; then
    # Over plain HTTP: what vouches for the packages is the archive's signature, and a slim base has no CA certificates.
    # Old days are past their own date of expiry, which says nothing against them here.
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [ ! -f "$list" ] || sed -i \
            -e "s#https\{0,1\}://deb.debian.org/debian-security#http://snapshot.debian.org/archive/debian-security/$snapshot#" \
            -e "s#https\{0,1\}://security.debian.org/debian-security#http://snapshot.debian.org/archive/debian-security/$snapshot#" \
            -e "s#https\{0,1\}://deb.debian.org/debian\([ /]\|\$\)#http://snapshot.debian.org/archive/debian/$snapshot\1#" "$list"
    done
    echo 'Acquire::Check-Valid-Until "false";' >/etc/apt/apt.conf.d/99-snapshot
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086 # a list of names
apt-get install --yes --no-install-recommends $missing
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/* /var/lib/dpkg/status-old /var/log/*
