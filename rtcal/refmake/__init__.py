"""References made here from ramps: what a detector's pixels are like, and what the sky is.

Frames go through the very same pipeline as science reads; what tells of the reads themselves (linearity, noise ...)
is measured on the ramps as they were read. Arrays are `(y, x)`, errors are sigma.
"""
