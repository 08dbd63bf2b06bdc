"""Sections that several pages show.

Read `sidebar` (model, images, device), `gallery` (one image), `job_panel` (how far a job is);
`choice` (one of a few options), `numbers` (a chart's table), `map_look`, `layer_picker`,
`preset_picker` and `figure` are small.
"""
