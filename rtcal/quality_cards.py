"""The numbers of a frame's quality as FITS cards; what was not measured has none."""

import numpy as np

from streams.messages import Quality, Scalar

_CARDS = (
    ("sources", "QSTARS", "stars measured for the next"),
    ("fwhm_mas", "QFWHM", "[mas] median width at half maximum"),
    ("ellipticity", "QELLIP", "median of 1 - minor/major axis"),
    ("ee50_mas", "QEE50", "[mas] radius of half of the light"),
    ("ee_50mas", "QEE50MAS", "part of the light within 50 mas"),
    ("strehl", "QSTREHL", "Strehl proxy"),
    ("sky", "QSKY", "[electron/s] median of pixels without sources"),
    ("sky_noise", "QSKYSIG", "[electron/s] their scatter"),
    ("sky_mag_arcsec2", "QSKYMAG", "[mag/arcsec2] sky"),
    ("zero_point", "QZEROPT", "[mag] of 1 electron/s"),
    ("background_limited_s", "QBKGLIM", "[s] read noise equals background noise"),
    ("saturated_fraction", "QSATFRAC", "part of the pixels that saturated"),
    ("peak_fraction", "QPEAK", "fullest good pixel over saturation"),
    ("saturation_s", "QSATTIME", "[s] after which it saturates"),
    ("jumps", "QJUMPS", "pixels with a jump"),
    ("jumps_per_s_cm2", "QJUMPRAT", "[1/s/cm2] jumps"),
    ("persistent", "QPERSIST", "pixels that may glow"),
)


def quality_cards(quality: Quality) -> list[tuple[str, Scalar, str]]:
    """Return the cards; the read noise is told by the median and the worst of the channels."""
    cards: list[tuple[str, Scalar, str]] = [
        (keyword, getattr(quality, name), comment)
        for name, keyword, comment in _CARDS
        if getattr(quality, name) is not None
    ]
    noise = quality.read_noise_e
    if noise:
        cards.append(("QRDNOISE", float(np.median(noise)), "[electron] of a read, median of channels"))
        cards.append(("QRDNMAX", max(noise), "[electron] of the noisiest channel"))
        cards.append(("QRDNCHAN", int(np.argmax(noise)), "its number, from 0"))
    return cards
