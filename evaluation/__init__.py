"""Benchmarks as data: datasets, metrics, replay, reports. Drives the function the editor uses."""
