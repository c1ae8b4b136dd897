"""The plain launcher that FastX's documentation shows: JSON in, sbatch, its output out. Its argument is the sbatch."""

import json
import subprocess
import sys

data = json.load(sys.stdin)
start = data["start"]
script = "#!/bin/sh\nexec /usr/lib/fastx/4/scripts/start --json=0 --cli <<'END'\n" + json.dumps(start) + "\nEND\n"
done = subprocess.run(
    [sys.argv[1], "--parsable", f"--job-name={start['name']}"],
    input=script,
    capture_output=True,
    text=True,
    check=False,
)
print(done.stdout or done.stderr)
sys.exit(done.returncode)
