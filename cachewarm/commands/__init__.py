"""The commands of `fastocsp`, one file per group; cachewarm.cli imports each when it is called."""
