"""FastX's contract: its JSON request goes in, one session or one clear error comes out. Nothing below knows FastX."""
