"""The least that an asynchronous launcher can be: one process, started under anyio. Its argument is that process."""

import sys

import anyio


async def main() -> None:
    done = await anyio.run_process([sys.argv[1], "--parsable"])
    print(done.stdout.decode().strip())


anyio.run(main)
