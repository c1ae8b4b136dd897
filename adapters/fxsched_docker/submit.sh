# The program that runs on the host: sh -c PROGRAM fxsched ENGINE COMMAND SCRIPT FASTX WORD ...
#
# It writes the job script, which comes on standard input, where the container will find it, adds to the words of
# "COMMAND run" what only the host knows, and becomes that command: before its last line nothing is made.

engine=$1 command=$2 script=$3 fastx=$4
shift 4

refuse() {
    printf '%s\n' "$2" >&2
    exit "$1"
}

command -v "$command" >/dev/null || refuse 72 "there is no program $command"
case ${HOME-} in
/*[,\"]*) refuse 73 "the home directory $HOME cannot be mounted: its name has a comma or a quote in it" ;;
/*) ;;
*) refuse 73 "HOME is not set" ;;
esac
(umask 077 && cat >"$script") || refuse 73 "the job script could not be written"

user=$(id -u) group=$(id -g) groups=$(id -G)

# Ended containers are remembered for two days, by the engine's own words for their age; then somebody must sweep.
"$command" ps --all --no-trunc --filter=status=exited "--filter=label=fxsched.user=$user" \
    --format='{{.ID}} {{.Status}}' 2>/dev/null | while read -r id status; do
    case $status in
    *' days ago' | *' weeks ago' | *' months ago' | *' years ago') "$command" rm --volumes "$id" </dev/null ;;
    esac
done >/dev/null 2>&1

set -- "--mount=type=bind,source=$HOME,target=$HOME" "$@"
if [ -d "$fastx" ]; then set -- "--mount=type=bind,source=$fastx,target=$fastx,readonly" "$@"; fi
if [ "$engine" = podman ] && [ "$user" != 0 ]; then
    # Without root, numbers in the container are others than outside. This keeps the user's own; groups have none.
    set -- --userns=keep-id "$@"
else
    for number in $groups; do set -- "--group-add=$number" "$@"; done
fi
set -- "--user=$user:$group" --env=HOME --env=USER --env=LOGNAME "$@"
exec "$command" run "--label=fxsched.user=$user" "--label=fxsched.node=$(uname -n)" "$@"
