#!/bin/sh
# Installs what the tests on real programs need, unless it is there: sh tests/real/install.sh slurm podman …
# Starts no service: the tests run daemons of their own, with all state in a directory of their own.
set -eu
PATH=$PATH:/usr/sbin:/sbin

# Sets what must be there, and the packages of Debian that it comes in.
describe() {
    case $1 in
    slurm)
        programs="sbatch squeue scancel scontrol slurmctld slurmd munged"
        packages="slurm-wlm slurmctld slurmd munge"
        ;;
    grid-engine)
        programs=
        for program in qsub qstat qdel qacct qconf sge_qmaster sge_execd sge_shepherd spoolinit spooldefaults; do
            programs="$programs /usr/lib/gridengine/$program"
        done
        packages="gridengine-master gridengine-exec gridengine-client"
        ;;
    podman) # needs no daemon; runc runs where cgroups are mixed too; the containers see the programs of this machine
        programs="podman runc catatonit"
        packages=$programs
        ;;
    openssh) # and the login shells that sites have
        programs="sshd ssh ssh-keygen ssh-agent csh tcsh fish zsh dash"
        packages="openssh-server openssh-client tcsh csh fish zsh dash"
        ;;
    sudo)
        programs=sudo
        packages=sudo
        ;;
    *)
        echo "nothing is known of $1" >&2
        exit 2
        ;;
    esac
}

# Sets what is lacking of all that was asked for, and the packages that have it.
compare() {
    lacking=
    wanted=
    for name in "$@"; do
        describe "$name"
        for program in $programs; do
            command -v "$program" >/dev/null || {
                lacking="$lacking $program"
                wanted="$wanted $packages"
            }
        done
    done
    wanted=$(printf '%s\n' $wanted | sort -u | tr '\n' ' ')
}

compare "$@"
[ -n "$lacking" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "There is no$lacking here; as root on Debian or Ubuntu: apt-get install $wanted" >&2
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
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 $wanted

installed=$wanted
compare "$@"
[ -z "$lacking" ] || { echo "The packages $installed are installed, but without$lacking" >&2 && exit 1; }
