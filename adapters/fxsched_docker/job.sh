# The program that runs in the container: sh -c PROGRAM fxsched SCRIPT OUTPUT WALLTIME GRACE
exec </dev/null >>"$2" 2>&1 || exit
if [ "$3" -gt 0 ]; then
    # No engine ends a container in time. The clock is nobody's child: the script waits for its own only. When the
    # script has ended, so has the container, and with it the clock.
    ({ sleep "$3" && kill -s TERM "$$" && sleep "$4" && kill -s KILL "$$"; } &)
fi
exec /bin/sh "$1"
