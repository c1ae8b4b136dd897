"""Sessions in containers, through the commands that docker and podman have in common."""
