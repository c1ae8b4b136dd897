"""Jobs in a scheduler that the configuration describes: commands as templates, replies as regular expressions."""
