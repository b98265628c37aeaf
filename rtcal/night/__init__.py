"""What the night itself brings: skies, darks and arcs taken between science exposures become references at once."""
