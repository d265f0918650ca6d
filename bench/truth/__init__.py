"""Do the intervals and verdicts keep what they promise? Simulated worlds whose truth is known."""
