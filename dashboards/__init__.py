"""The quick-look display: a web server that follows the published stream.

`python -m dashboards` subscribes to frames, previews and status and serves one page to any number of
browsers; `docs/dashboard.md` is its manual. What happens to a frame:

1. `feed` receives it on a thread (a whole frame by `frames`, into memory that is used again), makes a `picture` of it
   (its own pixels and a binned level; of a `cube` its collapse), puts it into the `history`, and swaps one immutable
   snapshot.
2. `image` offers the snapshot to each page. A page says what it wants; `scene` lays detectors out,
   `compose` cuts and renders through the kernels of `render`, and `analysis` measures, once for all pages
   with the same wish (`hub`).
3. The page's scripts in `static/` put the 8-bit pixels into an ordinary Bokeh figure; its models are made by
   `page` and `panels`.

Beside that, the `desk` keeps the night's log and the alarms and sends the telescope's targets for those who may.

A page that stops reading holds one message. Nothing that arrives can stop the feed, and nothing here
can slow the reducer: it publishes whether or not somebody listens.
"""
