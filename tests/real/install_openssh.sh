#!/bin/sh
# Installs what the tests on a real sshd need, unless it is there: the server and the login shells that sites have.
# Starts no service: the tests run their own daemons.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages="openssh-server openssh-client tcsh csh fish zsh dash"

missing() {
    for program in sshd ssh ssh-keygen ssh-agent csh tcsh fish zsh dash; do
        command -v "$program" >/dev/null || printf ' %s' "$program"
    done
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "OpenSSH and login shells are not complete here (missing:$lacking);" \
        "as root on Debian or Ubuntu: apt-get install $packages" >&2
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
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages

lacking=$(missing)
[ -z "$lacking" ] || { echo "The packages $packages are installed, but without:$lacking" >&2 && exit 1; }
