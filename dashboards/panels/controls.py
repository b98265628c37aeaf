"""The controls: `static/main.js` and `static/look.js` listen to them, `static/index.html` says where they stand."""

from bokeh.models import Button, Checkbox, Model, NumericInput, RadioButtonGroup, Select, Slider

from dashboards.panels.figure import PALETTES
from dashboards.settings import DashboardSettings

VIEWS = {"raw": "Raw read", "ramp": "Ramp", "reduced": "Reduced"}
LIMITS = [("zscale", "zscale"), ("percentile", "percentile"), ("minmax", "min – max"), ("manual", "by hand")]
STRETCHES = [
    *(("linear", "linear"), ("sqrt", "square root"), ("log", "log")),
    *(("power", "power"), ("asinh", "asinh")),
]
SMOOTHINGS = [("none", "none"), ("gaussian", "Gaussian"), ("boxcar", "boxcar")]


def make_controls(settings: DashboardSettings) -> dict[str, Model]:
    """Make the controls by name."""
    wide = {"sizing_mode": "stretch_width", "margin": 0}
    return {
        "detector": RadioButtonGroup(labels=["–"], active=0, **wide),
        "view": RadioButtonGroup(labels=list(VIEWS.values()), active=list(VIEWS).index(settings.view), **wide),
        "limits": Select(title="Limits", options=LIMITS, value=settings.limits, **wide),
        "percentile": NumericInput(
            title="Central part, %", value=settings.percentile, low=50, high=100, mode="float", **wide
        ),
        "low": NumericInput(title="Low", value=0, mode="float", **wide),
        "high": NumericInput(title="High", value=100, mode="float", **wide),
        "stretch": Select(title="Stretch", options=STRETCHES, value=settings.stretch, **wide),
        "colours": Select(
            title="Colour map", options=[(name, name) for name in PALETTES], value=settings.colour_map, **wide
        ),
        "invert": Checkbox(label="Inverted", active=False, margin=0),
        "bad": Checkbox(label="Mark bad pixels", active=True, margin=0),
        "fit": Button(label="Fit", **wide),
        "pixels": Button(label="1 : 1", **wide),
        "brightness": Slider(title="Brightness", start=-1, end=1, step=0.01, value=0, **wide),
        "contrast": Slider(title="Contrast", start=0.2, end=5, step=0.05, value=1, **wide),
        "smooth": Select(title="Smoothing", options=SMOOTHINGS, value="none", **wide),
        "smoothSize": NumericInput(title="Size, pixels", value=2, low=0.5, high=64, mode="float", **wide),
        "contourCount": NumericInput(title="Contours", value=0, low=0, high=20, mode="int", **wide),
    }
