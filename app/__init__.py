"""The dashboard: pages over one shared selection.

Read `door` (who is let in), `public` (what strangers may do), `text` (what may be drawn as
Markdown), `state` (what a session chose), `work` (what takes long, and is kept), `look`,
`components` and `parts` (what pages are made of), then a page: `explain`, `budget`, `layers` with
`lesson`, `runs`, each put together in `views`. `first_screen` shows an `example` before all that is
imported.
"""
