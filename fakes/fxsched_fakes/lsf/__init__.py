"""LSF's words on top of the engine, in two dialects: "volclava" as 2.2 speaks (of the openlava family, like LSF 4), and
"modern" as IBM documents LSF 9 and 10.1, with chosen columns and reasons for each end."""

COMMANDS = {
    "bsub": "bsub:run",
    "bjobs": "bjobs:run",
    "bhist": "bhist:run",
    "bkill": "signals:kill",
    "bstop": "signals:stop",
    "bresume": "signals:resume",
    "badmin": "badmin:run",
    "lshosts": "lshosts:run",
}
