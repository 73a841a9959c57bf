"""Benchmarks: every figure is a ratio to a floor of this machine, measured in the same run, turn by turn."""
