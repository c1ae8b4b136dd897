"""Benchmarks, each beside a peer that is measured in the same run on the same machine."""
