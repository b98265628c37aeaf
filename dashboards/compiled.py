"""All kernels of the display, compiled for the types that they will meet."""

from dashboards import flags, render
from streams import photometry


def compile_all() -> None:
    """Compile every kernel, or load what was compiled before."""
    photometry.compile_kernels()
    flags.compile_kernels()
    render.compile_kernels()
