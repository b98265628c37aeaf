"""The small plots beside the image: their columns are filled by `static/measure.js` and `static/night.js`."""

from typing import Any

from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Model, Range1d, Span
from bokeh.plotting import figure

from dashboards.panels.figure import CONTOUR, CUT, REGION, STAR

FAINT = "#84909d"


def make_plots() -> tuple[dict[str, Model], dict[str, Model]]:
    """Make the plots by name, and their columns by name."""
    plots: dict[str, Model] = {}
    sources: dict[str, Model] = {}

    cut = plots["cutPlot"] = _plot("distance [px]", 150)
    sources["cutData"] = ColumnDataSource({"at": [], "values": [], "other": []})
    cut.line("at", "other", source=sources["cutData"], line_color=FAINT, line_width=1)
    cut.line("at", "values", source=sources["cutData"], line_color=CUT, line_width=1.4)

    bars = plots["histogramPlot"] = _plot("value", 130)
    bars.y_range.start = 0
    sources["histogramData"] = ColumnDataSource({"left": [], "right": [], "top": []})
    bars.quad("left", "right", 0, "top", source=sources["histogramData"], fill_color=REGION, line_color=None)
    for name in ("lowLine", "highLine"):
        sources[name] = Span(dimension="height", line_color=CUT, line_width=1.5, visible=False)
        bars.add_layout(sources[name])

    growth = plots["growthPlot"] = _plot("radius [mas]", 96)
    growth.y_range = Range1d(0, 1.08)
    sources["growthData"] = ColumnDataSource({"radius": [], "part": []})
    growth.line("radius", "part", source=sources["growthData"], line_color=STAR, line_width=1.6)

    snr = plots["snrPlot"] = _plot("UTC", 96, time=True)
    sources["snrData"] = ColumnDataSource({"time": [], "snr": []})
    snr.line("time", "snr", source=sources["snrData"], line_color=CONTOUR, line_width=1.4)
    snr.scatter("time", "snr", source=sources["snrData"], color=CONTOUR, size=5)
    lines = plots["spectrumPlot"] = _plot("wavelength [µm]", 170)
    sources["spectrumData"] = ColumnDataSource({"wave": [], "value": [], "low": [], "high": [], "other": []})
    lines.varea("wave", "low", "high", source=sources["spectrumData"], fill_color=STAR, fill_alpha=0.18)
    lines.line("wave", "other", source=sources["spectrumData"], line_color=FAINT, line_width=1)
    lines.line("wave", "value", source=sources["spectrumData"], line_color=STAR, line_width=1.3)
    sources["skyLines"] = ColumnDataSource({"wave": []})
    lines.vspan("wave", source=sources["skyLines"], line_color=FAINT, line_width=1, line_dash="dotted")
    sources["ownLines"] = ColumnDataSource({"wave": [], "name": [], "top": []})
    lines.vspan("wave", source=sources["ownLines"], line_color=REGION, line_width=1)
    labels = {"text_font_size": "10px", "text_color": REGION, "x_offset": 3, "text_baseline": "top"}
    lines.text("wave", "top", "name", source=sources["ownLines"], **labels)
    for name in ("firstLine", "lastLine"):
        sources[name] = Span(dimension="height", line_color=CUT, line_width=1.5, visible=False)
        lines.add_layout(sources[name])

    night = plots["nightPlot"] = _plot("UTC", 170, time=True)
    sources["nightData"] = ColumnDataSource({"time": [], "value": [], "detector": [], "exposure": []})
    night.line("time", "value", source=sources["nightData"], line_color=FAINT, line_width=1)
    night.scatter("time", "value", source=sources["nightData"], color=CUT, size=6)
    night.add_tools(
        HoverTool(tooltips="@exposure @detector: <b>@value{0.000}</b>", mode="mouse", point_policy="snap_to_data")
    )
    return plots, sources


def _plot(x_name: str, height: int, *, time: bool = False) -> Any:
    """Make a plot without tools: what it shows follows the image."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime" if time else "auto",
        x_range=DataRange1d(range_padding=0.0 if not time else 0.05),
        y_range=DataRange1d(only_visible=True),
        tools="",
        toolbar_location=None,
        output_backend="canvas",
        min_border=2,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
    )
    plot.xaxis.axis_label = x_name
    plot.axis.axis_label_text_font_size = "11px"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_standoff = 2
    plot.axis.major_label_text_font_size = "10px"
    plot.axis.minor_tick_line_color = None
    plot.grid.grid_line_alpha = 0.15
    plot.yaxis.ticker.desired_num_ticks = 4
    for ticker in (
        plot.xaxis[0].ticker,
        *getattr(plot.xaxis[0].ticker, "tickers", ()),
    ):  # times are ticked by one of many
        ticker.desired_num_ticks = 3 if time else 5
    return plot
