"""The image pane: a figure whose image columns the browser fills, and what is drawn over the image."""

from typing import Any

import bokeh.palettes
import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    ImportedStyleSheet,
    LinearColorMapper,
    Model,
    PanTool,
    Range1d,
    SaveTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from dashboards.limits import TICKS
from dashboards.marks import COLOURS
from dashboards.render import BAD
from dashboards.settings import DashboardSettings

LEVELS = 256
MARK_OPACITY = "d0"
CUT, REGION, STAR, CONTOUR, TARGET = "#56b4e9", "#f0e442", "#ff8ad8", "#7ee0a1", "#ff5a4d"
"""Colours of what a person puts on the image, seen on every map and told apart by the colour-blind."""

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


def palettes() -> dict[str, list[str]]:
    """Return 256 colours for each map: the bad colour, then 255 from low to high."""
    made = {}
    for name, colours in PALETTES.items():
        rising = list(reversed(colours)) if name == "grey" and colours[0] > colours[-1] else list(colours)
        made[name] = [BAD_COLOURS[name], *rising[1:]]
    return made


def make_figure(settings: DashboardSettings) -> tuple[Model, dict[str, Model]]:
    """Make the figure: two image layers in one colour mapper, flags, shapes, outlines and names, a colour bar."""
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
    mapper = LinearColorMapper(palette=palettes()[settings.colour_map], low=BAD, high=LEVELS)
    kinds = ["#00000000", *(colour + MARK_OPACITY for colour in COLOURS.values())]
    mappers = {"base": mapper, "detail": mapper, "marks": LinearColorMapper(palette=kinds, low=0, high=len(kinds))}
    layers = {}
    for layer, colours in mappers.items():
        source = ColumnDataSource(_empty_image())
        layers[layer] = plot.image("image", "x", "y", "dw", "dh", source=source, color_mapper=colours, visible=False)
    parts = {**layers, "mapper": mapper, **_tiles(plot), **_shapes(plot)}
    bar_mapper = LinearColorMapper(palette=palettes()[settings.colour_map][1:], low=1, high=LEVELS)
    bar = _bar(bar_mapper)
    plot.add_layout(bar, "right")
    return plot, parts | {"barMapper": bar_mapper, "bar": bar}


def _tiles(plot: Any) -> dict[str, Model]:
    """Add the outlines and names of the detectors."""
    tiles = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top", "label", "note", "x", "y")})
    outline = plot.quad("left", "right", "bottom", "top", source=tiles, fill_color=None, line_width=1)
    label = plot.text("left", "top", "label", source=tiles, x_offset=6, y_offset=6, text_baseline="top")
    note = plot.text("x", "y", "note", source=tiles, text_align="center", text_baseline="middle")
    label.glyph.update(background_fill_color=value("#000000"), background_fill_alpha=value(0.55), padding=4)
    for text, size in ((label, "13px"), (note, "14px")):
        text.glyph.text_font = value("system-ui, sans-serif")
        text.glyph.text_font_size = size
    return {"tiles": tiles, "outline": outline.glyph, "label": label, "note": note.glyph}


def _shapes(plot: Any) -> dict[str, Model]:
    """Add what a person puts on the image: a cut, a region, a star, contours, a target."""
    sources = {
        "contours": ColumnDataSource({"xs": [], "ys": []}),
        "cutLine": ColumnDataSource({"x": [], "y": []}),
        "cutPoint": ColumnDataSource({"x": [], "y": []}),
        "rectangle": ColumnDataSource({"left": [], "right": [], "bottom": [], "top": []}),
        "circle": ColumnDataSource({"x": [], "y": [], "width": [], "height": []}),
        "starRings": ColumnDataSource({"x": [], "y": [], "width": [], "height": []}),
        "targetMark": ColumnDataSource({"x": [], "y": []}),
    }
    plot.multi_line("xs", "ys", source=sources["contours"], line_color=CONTOUR, line_width=1.2, line_alpha=0.85)
    plot.line("x", "y", source=sources["cutLine"], line_color=CUT, line_width=1.5)
    plot.scatter("x", "y", source=sources["cutPoint"], marker="circle", size=7, line_color=CUT, fill_color=None)
    box = {"fill_color": REGION, "fill_alpha": 0.08, "line_color": REGION, "line_width": 1.5}
    plot.quad("left", "right", "bottom", "top", source=sources["rectangle"], **box)
    plot.ellipse("x", "y", "width", "height", source=sources["circle"], **box)
    plot.ellipse("x", "y", "width", "height", source=sources["starRings"], fill_color=None, line_color=STAR)
    plot.scatter("x", "y", source=sources["targetMark"], marker="cross", size=26, line_color=TARGET, line_width=2)
    return sources


def _bar(mapper: Model) -> Model:
    return ColorBar(
        color_mapper=mapper,
        ticker=FixedTicker(ticks=[float(tick) for tick in np.linspace(1, LEVELS, TICKS)]),
        width=12,
        padding=6,
        label_standoff=6,
        background_fill_color=None,
        bar_line_color=None,
        major_tick_line_color=None,
        visible=False,
    )


def _empty_image() -> dict[str, Any]:
    return {"image": [np.zeros((1, 1), np.uint8)], "x": [0], "y": [0], "dw": [0], "dh": [0]}
