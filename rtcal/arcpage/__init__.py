"""The page on which a person judges and changes an arc's solution: `rtcal arc edit`."""
