"""How Sphinx builds these pages; ``make docs`` does."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from sb3_trpo import __version__

project = "sb3_trpo"
author = "The sb3_trpo developers"
copyright = "2026, the sb3_trpo developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
    "source_links",
]
exclude_patterns = ["_build"]
nitpicky = True
# What we refer to must exist; other projects' pages are not at hand, for nothing is fetched.
_IN_SIGNATURES = (  # of what is no API
    r"sb3_trpo\.(batch\.Batch|critic\.\w+|distributed\.Processes|families\.Family|mlp\.PlainMlp"
    r"|mlp_actor\.\w+|optim\.trust_region\._Gradient|union\.Deal|checkpoint\.resume\.SomeTRPO|\w+\.Self\w+)"
)
nitpick_ignore_regex = [(r"py:.*", r"(?!sb3_trpo).*"), ("py:class", _IN_SIGNATURES)]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"sb3_trpo {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
