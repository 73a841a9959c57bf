"""Benchmarks: every figure is held against a floor of this machine, measured in the same run, turn by turn."""
