"""The promises: one submission makes exactly one job, an answer is found, gone or unavailable, a cancel is verified."""
