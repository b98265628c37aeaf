"""The commands of `rtcal`, a file for each."""
