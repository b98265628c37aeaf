"""The Bokeh models of a page: a figure that the browser fills, and the controls beside it."""

from functools import cache
from pathlib import Path
from typing import Any

import bokeh.palettes
import numpy as np
from bokeh.core.properties import value
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import (
    BoxZoomTool,
    Button,
    Checkbox,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    ImportedStyleSheet,
    LinearColorMapper,
    Model,
    NumericInput,
    PanTool,
    RadioButtonGroup,
    Range1d,
    SaveTool,
    Select,
    WheelZoomTool,
)
from bokeh.plotting import figure
from jinja2 import Environment, FileSystemLoader, Template

from dashboards.render import BAD, TICKS
from dashboards.settings import DashboardSettings

STATIC = Path(__file__).with_name("static")
LEVELS = 256

PALETTES = {
    "grey": bokeh.palettes.Greys256,
    "inferno": bokeh.palettes.Inferno256,
    "magma": bokeh.palettes.Magma256,
    "viridis": bokeh.palettes.Viridis256,
    "cividis": bokeh.palettes.Cividis256,
    "turbo": bokeh.palettes.Turbo256,
}
BAD_COLOURS = {
    "grey": "#7d2f3a",
    "inferno": "#1d5a66",
    "magma": "#1d5a66",
    "viridis": "#7d2f3a",
    "cividis": "#7d2f3a",
    "turbo": "#6e6e6e",
}
"""Colour of a pixel without a value, one that its map does not hold."""

READY = "export default (args) => window.quicklookReady(args)"
"""Hands the models to `static/main.js` as soon as Bokeh has drawn them."""

VIEWS = {"raw": "Raw read", "ramp": "Ramp", "reduced": "Reduced"}
LIMITS = [("zscale", "zscale"), ("percentile", "percentile"), ("manual", "manual")]
STRETCHES = [("linear", "linear"), ("sqrt", "square root"), ("log", "log"), ("asinh", "asinh")]


def make_document(document: Document, settings: DashboardSettings, build_id: str) -> None:
    """Fill the document of one page.

    No model is synchronised back to the server: what a page does stays in that page.
    """
    plot, parts = _plot(settings)
    controls = _controls(settings)
    for name, control in controls.items():
        control.name = name
        control.stylesheets = [ImportedStyleSheet(url=f"quicklook/widgets.css?{build_id}")]
        document.add_root(control)
    document.add_root(plot)
    arguments = {"figure": plot, **parts, **controls, "palettes": _palettes(), "views": list(VIEWS)}
    document.js_on_event(DocumentReady, CustomJS(args=arguments, code=READY))
    for model in document.models:
        model.syncable = False
    # The page tells of a lost server itself, and finds it again by itself.
    document.config.notify_connection_status = False
    document.config.reconnect_session = False
    document.title = "IRIS quick-look"
    document.template = _template()
    document.template_variables.update(build=build_id, theme=settings.theme)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True)
    return environment.get_template("index.html")


def _palettes() -> dict[str, list[str]]:
    """Return 256 colours for each map: the bad colour, then 255 from low to high."""
    palettes = {}
    for name, colours in PALETTES.items():
        rising = list(reversed(colours)) if name == "grey" and colours[0] > colours[-1] else list(colours)
        palettes[name] = [BAD_COLOURS[name], *rising[1:]]
    return palettes


def _plot(settings: DashboardSettings) -> tuple[Model, dict[str, Model]]:
    """Make the figure: two image layers in one colour mapper, outlines and names of the tiles, a colour bar."""
    zoom = WheelZoomTool(zoom_on_axis=False)
    plot = figure(
        name="figure",
        sizing_mode="stretch_both",
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        tools=[PanTool(), zoom, BoxZoomTool(match_aspect=True), SaveTool(filename="quicklook")],
        active_scroll=zoom,
        toolbar_location="right",
        output_backend="canvas",
        min_border=8,
    )
    plot.outline_line_color = None
    plot.toolbar.logo = None
    plot.toolbar.stylesheets = [ImportedStyleSheet(url="quicklook/toolbar.css")]
    plot.grid.visible = False
    plot.axis.visible = False  # until an image says what they count
    mapper = LinearColorMapper(palette=_palettes()[settings.colour_map], low=BAD, high=LEVELS)
    layers = {}
    for layer in ("base", "detail"):
        source = ColumnDataSource(_empty_image())
        layers[layer] = plot.image("image", "x", "y", "dw", "dh", source=source, color_mapper=mapper, visible=False)
    tiles = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top", "label", "note", "x", "y")})
    outline = plot.quad("left", "right", "bottom", "top", source=tiles, fill_color=None, line_width=1)
    label = plot.text("left", "top", "label", source=tiles, x_offset=6, y_offset=6, text_baseline="top")
    note = plot.text("x", "y", "note", source=tiles, text_align="center", text_baseline="middle")
    label.glyph.update(background_fill_color=value("#000000"), background_fill_alpha=value(0.55), padding=4)
    for text, size in ((label, "13px"), (note, "14px")):
        text.glyph.text_font = value("system-ui, sans-serif")
        text.glyph.text_font_size = size
    bar_mapper = LinearColorMapper(palette=_palettes()[settings.colour_map][1:], low=1, high=LEVELS)
    bar = ColorBar(
        color_mapper=bar_mapper,
        ticker=FixedTicker(ticks=[float(tick) for tick in np.linspace(1, LEVELS, TICKS)]),
        width=12,
        padding=6,
        label_standoff=6,
        background_fill_color=None,
        bar_line_color=None,
        major_tick_line_color=None,
        visible=False,
    )
    plot.add_layout(bar, "right")
    parts = {**layers, "mapper": mapper, "barMapper": bar_mapper, "bar": bar, "tiles": tiles}
    return plot, parts | {"outline": outline.glyph, "label": label, "note": note.glyph}


def _empty_image() -> dict[str, Any]:
    return {"image": [np.zeros((1, 1), np.uint8)], "x": [0], "y": [0], "dw": [0], "dh": [0]}


def _controls(settings: DashboardSettings) -> dict[str, Model]:
    """Make the controls; `static/main.js` listens to them, `static/index.html` says where they stand."""
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
    }
