"""Measurements: CPU per answer beside nginx and the floor. Speed is measured here and nowhere else."""
