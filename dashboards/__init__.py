"""The quick-look display: a Bokeh server that follows the published stream."""
