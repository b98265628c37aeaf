"""The document of a page: the models of its panels, and the template that says where they stand."""

from functools import cache
from pathlib import Path

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady
from bokeh.models import CustomJS, ImportedStyleSheet
from bokeh.resources import Resources
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


def make_page(settings: DashboardSettings, build_id: str) -> str:
    """Return the page, the same for everybody: what a person does to its models stays in the browser."""
    document = Document()
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
    page: str = file_html(
        document,
        Resources(mode="server", root_url="./"),  # no browser ever fetches from elsewhere
        "IRIS quick-look",
        template=_template(),
        template_variables={"build": build_id, "theme": settings.theme},
    )
    return page


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True)
    return environment.get_template("index.html")
