#!/bin/sh
# Installs sudo, which the tests of acting for other users need, unless it is there.
set -eu
command -v sudo >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "sudo is not installed here; as root on Debian or Ubuntu: apt-get install sudo" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends sudo
