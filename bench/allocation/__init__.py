"""Which way of spending renders finds the best cell: replays of score tables whose truth is known."""
