#!/bin/sh
# Installs what the tests on a real Grid Engine need, unless it is there. Starts no service: the tests run their own
# daemons, with all state in a directory of their own.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages="gridengine-master gridengine-exec gridengine-client"
library=/usr/lib/gridengine

missing() {
    for program in qsub qstat qdel qacct qconf sge_qmaster sge_execd sge_shepherd spoolinit spooldefaults; do
        [ -x "$library/$program" ] || printf ' %s' "$program"
    done
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Grid Engine is not complete here (missing:$lacking); as root on Debian or Ubuntu: apt-get install $packages" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" # 101: packages must not start their services
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $packages

lacking=$(missing)
[ -z "$lacking" ] || { echo "The packages $packages are installed, but without:$lacking" >&2 && exit 1; }
