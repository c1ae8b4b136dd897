"""One session on its host: what its job runs, and the directory that it has to itself."""
