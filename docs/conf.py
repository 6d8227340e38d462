"""Sphinx: furo and MyST, warnings are errors."""

project = "fastocsp"
author = "The fastocsp engineers"
copyright = "2026, the fastocsp engineers"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "fastocsp"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
