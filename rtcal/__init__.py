"""Calibrated frames from detector reads, while they come."""
