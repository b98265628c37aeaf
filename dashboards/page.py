"""The document of a page: the models of its panels, and the template that says where they stand."""

from functools import cache
from pathlib import Path

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import CustomJS, ImportedStyleSheet
from jinja2 import Environment, FileSystemLoader, Template

from dashboards.marks import COLOURS
from dashboards.panels.controls import VIEWS, make_controls
from dashboards.panels.figure import make_figure, palettes
from dashboards.panels.lines import line_facts
from dashboards.panels.plots import make_plots
from dashboards.settings import DashboardSettings

STATIC = Path(__file__).with_name("static")

READY = "export default (args) => window.quicklookReady(args)"
"""Hands the models to `static/main.js` as soon as Bokeh has drawn them."""


def make_document(document: Document, settings: DashboardSettings, build_id: str) -> None:
    """Fill the document of one page.

    No model is synchronised back to the server: what a page does stays in that page.
    """
    plot, parts = make_figure(settings)
    controls = make_controls(settings)
    plots, sources = make_plots()
    for name, control in controls.items():
        control.name = name
        control.stylesheets = [ImportedStyleSheet(url=f"quicklook/widgets.css?{build_id}")]
        document.add_root(control)
    for name, small in plots.items():
        small.name = name
        document.add_root(small)
    document.add_root(plot)
    facts = {"palettes": palettes(), "views": list(VIEWS), "kinds": dict(COLOURS), **line_facts()}
    arguments = {"figure": plot, **parts, **controls, **plots, **sources, **facts}
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
