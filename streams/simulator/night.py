"""A night at the telescope: what every event says while a field is tracked past the meridian.

Angles follow from spherical astronomy, dispersion from the air; everything else drifts slowly about
a plausible value. The same settings give the same night.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from streams.clock import NS, UNIX_EPOCH_MJD
from streams.simulator.faults import Faults, Optics
from streams.simulator.field import DEC_DEG, POSITION_ANGLE_DEG, RA_DEG, Field, unit, wave
from streams.simulator.instrument import MAS_PER_RADIAN, PIXEL_MAS, TELESCOPE_M, band_um
from streams.simulator.psf import halo_fwhm_px
from streams.simulator.settings import SimulatorSettings
from streams.simulator.stars import pitch_px
from streams.telemetry_keys import ALL, TAI_NS, Key, KeyTable, Value

Values = dict[str, Value]
Units = dict[str, str]

AHEAD_S = 2.0
"""The telescope announces dispersion and pupil so long before they hold."""
SENSORS = 4
SMALL = 1e-3
"""Values below this have more digits after the point: degrees to a pixel."""


class Night:
    """Values of every event at a time.

    Parameters
    ----------
    settings
        The table `[simulator]`.
    table
        The key table: events without a model of their own get values of their type, in their range.
    epoch_ns
        The simulation's start (TAI).
    """

    def __init__(self, settings: SimulatorSettings, table: KeyTable, epoch_ns: int) -> None:
        self._settings = settings
        self._table = table
        self._epoch_ns = epoch_ns
        self._faults = Faults(settings.faults, settings.r0_m, settings.wavefront_error_nm)
        self._band = band_um(settings.filter)
        self._field = Field(self._band, self._faults, settings.seed)
        self._models: dict[str, Callable[[float], Values]] = {
            "TCS.pk.currentPosition": self._pointing,
            "TCS.pk.pointingStatus": lambda t: {"pointingstate": "SLEWING" if self._on("slew", t) else "TRACKING"},
            "TCS.cmIRIS.positionAngle": lambda t: {"positionAngle": POSITION_ANGLE_DEG, "timestamp": self._tai(t)},
            "TCS.PointingKernelAssembly.WCSFITSHeader": self._wcs_header,
            "TCS.cmIRIS.instrumentRotatorAngle": self._rotator,
            "TCS.cmIRIS.pupilRotation": self._pupil,
            "TCS.cmIRIS.imgAtmDispersion": self._dispersion,
            "TCS.cmNFIRAOS.atmDispersion": self._dispersion,
            "IRIS.imager.adc.PRISM_current": self._field.prisms,
            "IRIS.imager.adc.PRISM_state": lambda t: {"onTarget": not self._on("adc", t)},
            "IRIS.imager.adc.RETRACT_position": lambda _: {"discretePosition": "IN"},
            "IRIS.is.sciAdcFollow": lambda t: {"mode": "NOT_FOLLOWING" if self._on("adc", t) else "FOLLOWING"},
            "NFIRAOS.rtc.turbLgs": self._turbulence,
            "NFIRAOS.rtc.turbNgs": lambda t: {"r0": self._r0(t), "groundLayer": 0.6, "l0": 30.0, "tau0": 0.005},
            "NFIRAOS.rtc.mode": self._ao_mode,
            "NFIRAOS.rtc.loop": self._loops,
            "NFIRAOS.rtc.odgwImage": self._guide_images,
            "NFIRAOS.dm.temperature": lambda t: {"dm0": -30 + 0.1 * wave(t, 600), "dm11": -30 + 0.1 * wave(t, 500)},
            "IRIS.imager.filter.current": lambda _: {
                "name": settings.filter,
                "wavelength": round(sum(self._band) / 2, 4),
                "dark": False,
            },
        }
        for side in ("imager", "ifs"):
            self._models[f"IRIS.{side}.detector.currentConfig"] = self._detector_config
            self._models[f"IRIS.is.{side}ObserveSettings"] = self._observe_settings
            self._models[f"IRIS.{side}.detector.systemConf"] = (
                self._imager_system if side == "imager" else self._ifs_system
            )
        sensors: tuple[tuple[str, Callable[[float], float]], ...] = (
            ("air-temperatures", lambda t: self._field.air(t)[1]),
            ("humidities", lambda t: 100 * self._field.air(t)[2]),
            ("pressures", lambda t: self._field.air(t)[0]),
            ("wind-speeds", lambda t: 6 + 2 * wave(t, 37)),
            ("surface-temperatures", lambda t: self._field.air(t)[1] - 0.5),
            ("structural-temperatures", lambda t: self._field.air(t)[1] + 0.3),
            ("dew-points", lambda t: self._field.air(t)[1] - 20),
        )
        for name, model in sensors:
            event = f"ESEN.ESEN Publisher Assembly.{name}"
            self._models[event] = lambda t, model=model: {  # type: ignore[misc]
                f"sensor-{number}": model(t) + 0.01 * number for number in range(SENSORS)
            }

    def of(self, event: str, time_s: float) -> tuple[Values, Units]:
        """Return values and units of an event at a time from the start."""
        keys = self._table.keys[event]
        model = self._models.get(event)
        values: Values = {} if model is None else model(time_s)
        for key in keys:
            if key.parameter == ALL:
                if model is None:
                    values = self._sensors(key, _plausible(key, time_s))
            elif key.parameter not in values:
                values[key.parameter] = _plausible(key, time_s)
        return {name: _rounded(value) for name, value in values.items()}, self._units(keys, values)

    def _sensors(self, key: Key, plain: Value) -> Values:
        sent = self._table.as_sent(key, plain)[0] if isinstance(plain, float) else plain
        return {f"sensor-{number}": sent for number in range(SENSORS)}

    def _units(self, keys: Sequence[Key], values: Values) -> Units:
        if keys and keys[0].parameter == ALL and keys[0].unit:
            return dict.fromkeys(values, keys[0].about.sent_unit or keys[0].unit)
        units = {key.parameter: key.about.unit for key in keys if key.about.unit}
        if isinstance(values.get("timestamp"), int):
            units["timestamp"] = TAI_NS
        return units

    def _on(self, kind: str, time_s: float) -> bool:
        return self._faults.of(kind, time_s) is not None  # type: ignore[arg-type]

    def _tai(self, time_s: float) -> int:
        return self._epoch_ns + round(time_s * NS)

    def _pointing(self, time_s: float) -> Values:
        hour, elevation, azimuth, parallactic = self._field.angles(time_s)
        # The pointing kernel's dates are TAI.
        mjd_tai = UNIX_EPOCH_MJD + self._tai(time_s) / (86_400 * NS)
        return {
            "ra": RA_DEG + (0.2 if self._on("slew", time_s) else 0.0),
            "dec": DEC_DEG,
            "equinox": 2000.0,
            "ha": hour,
            "el": elevation,
            "z": 90 - elevation,
            "az": azimuth,
            "parallactic": parallactic,
            "airmass": 1 / math.sin(math.radians(elevation)),
            "lst": (RA_DEG + hour) / 15 % 24,
            "timestamp": mjd_tai,
        }

    def _wcs_header(self, time_s: float) -> Values:
        """Return the world coordinates of IMG1, which lies to the upper left of the field's centre."""
        pointing, half = self._pointing(time_s), pitch_px(self._settings.size) / 2
        middle, turn = (self._settings.size + 1) / 2, math.radians(POSITION_ANGLE_DEG)
        scale = PIXEL_MAS / 3.6e6
        return {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "RADECSYS": "ICRS",
            "CRVAL1": pointing["ra"],
            "CRVAL2": pointing["dec"],
            "CRPIX1": middle + half,
            "CRPIX2": middle - half,
            "CD1_1": -scale * math.cos(turn),
            "CD1_2": scale * math.sin(turn),
            "CD2_1": scale * math.sin(turn),
            "CD2_2": scale * math.cos(turn),
        }

    def _rotator(self, time_s: float) -> Values:
        turned = POSITION_ANGLE_DEG - self._field.angles(time_s)[3]
        return {"instrumentAngle": max(-135.0, min(135.0, turned)), "timestamp": self._tai(time_s)}

    def _pupil(self, time_s: float) -> Values:
        later_s = time_s + AHEAD_S
        return {"pupilRotation": self._field.angles(later_s)[3], "timestamp": self._tai(later_s)}

    def _dispersion(self, time_s: float) -> Values:
        later_s = time_s + AHEAD_S
        return self._field.dispersion(later_s) | {"timestamp": self._tai(later_s)}

    def _r0(self, time_s: float) -> float:
        bad = self._faults.r0_m(time_s)
        return self._settings.r0_m * (1 + 0.1 * wave(time_s, 1500)) if bad is None else bad

    def _turbulence(self, time_s: float) -> Values:
        r0 = self._r0(time_s)
        return {
            "r0": r0,
            "theta0": 14_000 * r0,
            "theta2": 30_000 * r0,
            "L0": 30.0,
            "tau0": 0.033 * r0,
            "profile": [0.4, 0.1, 0.08, 0.06, 0.05, 0.05, 0.06, 0.06, 0.05, 0.04, 0.03, 0.02],
        }

    def _loops(self, time_s: float) -> Values:
        return {
            "ho": "LOST" if self._on("loop", time_s) else "LOCK",
            "lo": "LOST" if self._on("shake", time_s) else "LOCK",
        }

    def _ao_mode(self, _time_s: float) -> Values:
        rates: Values = {"rateHo": 800.0, "rateLo": 200.0, "rateLot": 0.1, "rateWc": 800.0}
        return rates | {"tier1": "OIWFSA", "tier2": ["OIWFSB", "OIWFSC"], "tier3f": "OIWFSA"}

    def _guide_images(self, time_s: float) -> Values:
        """Return the shapes of four guide stars: almost round, longer where the prisms leave dispersion."""
        size = _spot_px(self._band, self._faults.optics(time_s))
        left = self._field.left_mas(time_s) / PIXEL_MAS
        smear = np.cov(left.T, bias=True)
        shapes = []
        for star in range(4):
            along = unit(10 * (star + 1))
            own = size**2 * (np.eye(2) + 0.002 * star * np.outer(along, along))
            (minor, major), axes = np.linalg.eigh(own + smear)
            angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
            shapes.append((math.sqrt(major), math.sqrt(minor), (angle + 90) % 180 - 90))
        first, second, angles = (list(values) for values in zip(*shapes, strict=True))
        ratios = [one / other for one, other in zip(first, second, strict=True)]
        return {"size1": first, "size2": second, "rot": angles, "ellip": ratios}

    def _detector_config(self, _time_s: float) -> Values:
        settings = self._settings
        ramp_s = settings.reads_per_ramp * settings.frame_time_s
        return {
            "obsId": settings.observation,
            "reads": settings.reads_per_ramp,
            "ramps": settings.ramps_per_exposure,
            "readoutTime": settings.frame_time_s,
            "rampIntegrationTime": ramp_s,
            "totalTime": ramp_s * settings.ramps_per_exposure,
        }

    def _observe_settings(self, _time_s: float) -> Values:
        settings = self._settings
        ramp_ms = max(1750.0, 1000 * settings.reads_per_ramp * settings.frame_time_s)
        numbers: Values = {"numReads": settings.reads_per_ramp, "numRamps": settings.ramps_per_exposure}
        return numbers | {"samplingMode": settings.read_mode, "integrationTime": ramp_ms}

    def _imager_system(self, _time_s: float) -> Values:
        settings = self._settings
        lists: Values = {"gain": [settings.gain_e_per_dn] * 4, "readNoise": [settings.read_noise_e] * 4}
        names: Values = {"detectorName": ["H4RG-1", "H4RG-2", "H4RG-3", "H4RG-4"], "channels": settings.channels}
        return lists | names

    def _ifs_system(self, _time_s: float) -> Values:
        settings = self._settings
        numbers: Values = {"gain": settings.gain_e_per_dn, "readNoise": settings.read_noise_e}
        return numbers | {"detectorName": "H4RG-5", "channels": settings.channels}


@lru_cache(maxsize=64)
def _spot_px(band: tuple[float, float], optics: Optics) -> float:
    """Return sigma of a guide star's spot: the core's, and the halo's by the light that is in it."""
    middle_um = sum(band) / 2
    still_px = 1.03 * middle_um * 1e-6 / TELESCOPE_M * MAS_PER_RADIAN / PIXEL_MAS / 2.355
    core_px = math.hypot(still_px, optics.jitter_mas / PIXEL_MAS)
    halo = 1 - math.exp(-((2 * math.pi * optics.wavefront_error_nm / (1000 * middle_um)) ** 2))
    return core_px + halo**4 * (halo_fwhm_px(middle_um, optics.r0_m) / 2.355 - core_px)


def _plausible(key: Key, time_s: float) -> Value:
    """Return a value of a key's type in its range, drifting a little where it is a real."""
    about = key.about
    if about.type == "text":
        one: Value = about.choices[0] if about.choices else "SIM"
    elif about.type == "flag":
        one = True
    elif about.type == "real":
        low, high = about.low, about.high
        middle = (low + high) / 2 if low is not None and high is not None else low if low is not None else 1.0
        reach = (high - low) / 100 if low is not None and high is not None else 0.0
        one = middle + reach * wave(time_s, 900)
    elif about.type == "integer":
        one = int(about.low or 1)
    else:
        one = "SIM"
    return [one] * about.length if about.length > 1 else one  # type: ignore[list-item]


def _rounded(value: Value) -> Value:
    """Write no more digits than instruments give, which keeps the night the same on every machine."""
    if isinstance(value, list):
        return [_rounded(one) for one in value]  # type: ignore[misc]
    if not isinstance(value, float):
        return value
    return float(round(value, 9 if abs(value) > SMALL else 15))
