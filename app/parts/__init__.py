"""Sections that several pages show.

Read `sidebar` (model, images, device), `gallery` (one image), `job_panel` (how far a job is),
`report` (runs as a file), `take_away` (a quantized model as a file), `damage` (where the answer got
lost); `choice` (options, a layer, the preset), `numbers` (figures and tables) and `map_look` are
small; `idle` lets sessions go.
"""
