# The program that runs on the host: sh -c PROGRAM fxsched VERB ARGUMENT ...
#
# A job's own files lie in ~/.local/state/fxsched/processes/ID:
#
# An ID is the job's token, or TOKEN@HOST where there are several hosts. HOST is as the configuration calls it.
#
#   script, program   what it runs, and this file
#   begun             there once somebody has the job: its supervisor, or who saw to it that none ever will
#   process           pid, start time in clock ticks, host, boot id, time: together they name one process for ever
#   cancelled         there once somebody asked for the job's end
#   walltime          there once its time limit ran out
#   exit              exit code, time
#
# A job that has been begun, by a directory of that name, is nobody's to begin again; who makes it has the job.
#
# A supervisor stays with each job. It leads the job's session, is no member of the job, and so lives on to write down
# how the job ended. Members are all other processes of that session, and all that carry the job's id in their
# environment, wherever they have moved.

# Exit status: 0 done, 1 the job cannot be started so, 74 what is asked about cannot be seen and nothing was done,
# 77 the job is another machine's.

# unseen WORDS: give up, and say what could not be seen. It is not the same as what is not there.
unseen() {
    printf '%s\n' "$*" >&2
    exit 74
}

[ -n "${HOME-}" ] || unseen "HOME is not set"
state_home=$HOME/.local/state/fxsched
processes=$state_home/processes
here=$(uname -n)
read -r boot </proc/sys/kernel/random/boot_id

# stat_of PID: what the kernel says of a process. Its name, up to the last ") ", may hold anything.
stat_of() {
    read -r stat 2>/dev/null <"/proc/$1/stat" || return
    set -- ${stat##*) }
    state=$1 session=$4 ticks=${20}
}

# listed NAME NAMES: whether the name is one of these lines
listed() {
    case "
$2
" in
    *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# look DIRECTORY: the names in a directory of ours; false if there is no such directory. Only who saw the directory
# above may say that: on a file server that is away, or in a home that is not mounted, everything seems not to be there.
look() {
    names=$(ls "$1/" 2>/dev/null) && return
    [ -w "$HOME" ] || unseen "the home directory $HOME is not there, or not the user's"
    at=$HOME
    while [ "$at" != "$1" ]; do
        names=$(ls -A "$at/" 2>&1) || unseen "$names"
        next=${1#"$at"/}
        next=${next%%/*}
        if ! listed "$next" "$names"; then
            names=
            return 1
        fi
        at=$at/$next
    done
    names=$(ls "$1/" 2>&1) || unseen "$names"
}

# told DIRECTORY: whether all can be read that was written down of a job
told() {
    inside=$(ls "$1/" 2>/dev/null) || return
    for name in process exit; do
        ! listed "$name" "$inside" || cat "$1/$name" >/dev/null 2>&1 || return
    done
}

# recall ID: what was written down of a job
recall() {
    d=$processes/$1
    pid='' ticks_then='' host='' boot_then='' began='' code='' ended=''
    read -r pid ticks_then host boot_then began 2>/dev/null <"$d/process"
}

# supervised: whether the recalled job's supervisor lives
supervised() {
    [ "$host" = "$here" ] && [ "$boot" = "$boot_then" ] && stat_of "$pid" && [ "$ticks" = "$ticks_then" ] &&
        [ "$state" != Z ]
}

# members ID LEADER
members() {
    # One grep for all: a login node has thousands of processes.
    carriers=" $(grep -lsF "FXSCHED_JOB=$1" /proc/[0-9]*/environ | tr '\n' ' ')"
    for path in /proc/[0-9]*; do
        member=${path#/proc/}
        [ "$member" != "$2" ] && stat_of "$member" || continue
        [ "$state" != Z ] || continue
        case "$session$carriers" in
        "$2 "* | *" $path/environ "*) echo "$member" ;;
        esac
    done
}

# uptime: the whole seconds since the machine was started. No setting of the clock changes it.
uptime() {
    read -r up rest </proc/uptime
    echo "${up%%.*}"
}

# end ID LEADER GRACE [SIGNAL ...]: TERM, then KILL; what was forked meanwhile is found in the next round.
# Must not run in the job's session: it would end itself.
end() {
    id=$1 leader=$2 grace=$3
    shift 3
    [ "$#" -gt 0 ] || set -- TERM KILL
    for signal; do
        left=$(members "$id" "$leader")
        [ -n "$left" ] || return 0
        kill -s CONT $left 2>/dev/null
        kill -s "$signal" $left 2>/dev/null
        # By the clock: to look for the members takes seconds where there are thousands of processes.
        over=$(($(uptime) + grace))
        until [ "$(uptime)" -gt "$over" ]; do
            [ -n "$(members "$id" "$leader")" ] || return 0
            sleep 0.1
        done
    done
    left=$(members "$id" "$leader")
    [ -z "$left" ] || kill -s KILL $left 2>/dev/null
}

# submit ID WALLTIME GRACE DIRECTORY OUTPUT PROGRAM, the script on standard input
submit() {
    d=$processes/$1
    mask=$(umask)
    umask 077
    [ -d "$HOME" ] || unseen "the home directory $HOME is not there"
    mkdir -p "$processes" || exit 74
    # The same token twice is the same job.
    if ! mkdir "$d" 2>/dev/null; then
        [ -d "$d" ] && exit 0
        unseen "$d cannot be made"
    fi
    failed=0
    { cat >"$d/script" && printf '%s' "$6" >"$d/program"; } || failed=74
    umask "$mask"
    [ "$failed" -ne 0 ] || { cd "$4" && true >>"$5"; } || failed=1
    if [ "$failed" -ne 0 ]; then
        rm -rf "$d"
        exit "$failed"
    fi
    # In the foreground: a shell makes what it starts in the background ignore INT, and the whole session would inherit
    # it. Before util-linux 2.32 (RHEL 7) setsid has no -f, and there the background has to do.
    if setsid -f true 2>/dev/null; then
        setsid -f sh "$d/program" supervise "$1" "$2" "$3" </dev/null >>"$5" 2>&1
    else
        setsid sh "$d/program" supervise "$1" "$2" "$3" </dev/null >>"$5" 2>&1 &
    fi
    tries=0
    until [ -e "$d/process" ] || [ "$tries" -ge 500 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    # Nobody is told of a job that has not begun: by now it has, or it never will.
    if [ ! -e "$d/process" ] && mkdir "$d/begun" 2>/dev/null; then
        rm -rf "$d"
        unseen "the job's supervisor did not start"
    fi
    exit 0
}

# note_end CODE TIME: write down the end. What a full disk made empty must not stand for it.
note_end() { printf '%s %s\n' "$1" "$2" >"$d/exit.new" && mv "$d/exit.new" "$d/exit"; }

# supervise ID WALLTIME GRACE
supervise() {
    d=$processes/$1
    trap : HUP INT TERM
    mkdir "$d/begun" 2>/dev/null || exit 0
    stat_of "$$"
    printf '%s %s %s %s %s\n' "$$" "$ticks" "$here" "$boot" "$(date +%s)" >"$d/process.new"
    mv "$d/process.new" "$d/process"
    # Whoever cancels marks the job first and looks for us then; we do it the other way round.
    if [ -e "$d/cancelled" ]; then
        note_end 143 "$(date +%s)"
        exit
    fi
    watcher=
    if [ "$2" -gt 0 ]; then
        setsid sh "$d/program" watch "$1" "$2" "$3" "$$" &
        watcher=$!
    fi
    FXSCHED_JOB=$1 sh "$d/script"
    code=$?
    ended=$(date +%s)
    # First the watcher, then what it had begun in its group: nothing slips through, and KILL is never lost in a fork.
    if [ -n "$watcher" ]; then
        kill -s KILL "$watcher"
        kill -s KILL -- "-$watcher"
    fi 2>/dev/null
    setsid sh "$d/program" end "$1" "$$" "$3"
    note_end "$code" "$ended"
    # Jobs that ended more than a week ago are forgotten.
    find "$processes" -mindepth 2 -maxdepth 2 -name exit -mtime +7 2>/dev/null | while read -r old; do
        rm -rf "${old%/exit}"
    done
}

# watch ID WALLTIME GRACE LEADER: the time limit
watch() {
    sleep "$2"
    : >"$processes/$1/walltime"
    end "$1" "$4" "$3"
}

# status ID ...: a line for each. "-" stands for what is not known.
status() {
    look "$processes"
    for id; do
        if ! listed "$id" "$names"; then
            echo "$id unknown"
            continue
        fi
        recall "$id"
        word=dead letter=-
        if [ -z "$pid" ]; then
            word=starting
            [ -z "$(find "$d" -maxdepth 0 -mmin +1)" ] || word=stillborn
        elif supervised; then
            word=alive letter=$state
        elif [ "$host" != "$here" ]; then
            word=elsewhere
        elif [ "$boot" != "$boot_then" ]; then
            word=rebooted
        elif [ -n "$(members "$id" none)" ]; then
            word=unsupervised
        fi
        # Only now: a job that ends while we look is dead with its exit written.
        if read -r code ended 2>/dev/null <"$d/exit"; then
            word=ended
        else
            # An end that nobody wrote down is one only if it can be seen that nobody did.
            case $word in starting | stillborn | rebooted | dead) told "$d" || word=unseen ;; esac
        fi
        asked=-
        [ ! -e "$d/cancelled" ] || asked=cancelled
        [ ! -e "$d/walltime" ] || asked=walltime
        echo "$id $word ${host:--} ${began:--} $letter ${code:--} ${ended:--} $asked"
    done
}

# cancel ID GRACE [SIGNAL ...]
cancel() {
    look "$processes" && listed "$1" "$names" || exit 0
    recall "$1"
    told "$d" || unseen "$d cannot be read"
    if listed exit "$inside"; then exit 0; fi
    if [ -n "$host" ] && [ "$host" != "$here" ]; then
        echo "the job runs on $host: cancel it there" >&2
        exit 77
    fi
    # Where the disk is full, a job that has begun can still be ended; one that has not would begin afterwards.
    true >"$d/cancelled" || [ -n "$pid" ] || unseen "$d cannot be written to"
    if [ -z "$pid" ] && mkdir "$d/begun" 2>/dev/null; then
        note_end 143 "$(date +%s)"
        exit
    fi
    recall "$1"
    [ "$boot" = "$boot_then" ] || exit 0
    # A supervisor that was stopped could not write down the end.
    if supervised; then kill -s CONT "$pid" 2>/dev/null; else pid=none; fi
    id=$1 grace=$2
    shift 2
    end "$id" "$pid" "$grace" "$@"
}

# list: the ids of all jobs that are remembered
list() {
    ! look "$processes" || printf '%s\n' "$names"
}

# find_job TOKEN: the ids of its jobs. One whose submit was cut off before it had a supervisor never gets one now: it would
# be taken for a session, and nobody would ever start it.
find_job() {
    look "$processes" || return 0
    for id in $names; do
        case $id in
        "$1" | "$1@"*)
            d=$processes/$id
            inside=$(ls "$d/" 2>&1) || unseen "$inside"
            if listed begun "$inside" || listed process "$inside" || ! mkdir "$d/begun"; then
                echo "$id"
            else
                rm -rf "$d" || unseen "$d cannot be removed"
            fi
            ;;
        esac
    done
}

# session TOKEN: whether a session's directory is here
session() {
    if look "$state_home/sessions" && listed "$1" "$names"; then echo yes; else echo no; fi
}

# burden: how many of our sessions run here, the load, the cores, and when the user's latest job was submitted here
burden() {
    look "$processes"
    running=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' |
        grep -A 1 '/fxsched/processes/.*/program$' | grep -c '^supervise$')
    read -r load rest </proc/loadavg
    cores=$(grep -c '^processor' /proc/cpuinfo)
    # Not by the directories' times: a job's end is written down there too.
    latest=0
    for path in "$processes"/*/; do
        path=${path%/}
        recall "${path##*/}"
        [ "$host" != "$here" ] || [ "${began:-0}" -le "$latest" ] || latest=$began
    done
    echo "burden $running $load $cores $latest"
}

verb=$1
shift
"$verb" "$@"
