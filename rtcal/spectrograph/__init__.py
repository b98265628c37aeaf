"""The integral-field spectrograph: arcs to wavelength maps, detector images to spectra and cubes."""
