"""`python -m rtcal` is the `rtcal` command."""

from rtcal.cli import main

main()
