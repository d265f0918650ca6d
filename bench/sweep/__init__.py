"""What a sweep costs beside the networks that it exists to run, and what kills do to it."""
