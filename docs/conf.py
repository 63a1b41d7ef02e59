"""Sphinx configuration: MyST notebooks, every code cell executed, warnings turned to errors by the build command."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # reference.py, beside this file
os.environ["TQDM_DISABLE"] = "1"  # a page is made by a notebook's kernel, where bars are shown

project = "jaxdl"
author = "the jaxdl developers"
copyright = "the jaxdl developers"
extensions = ["myst_nb", "reference"]
html_theme = "furo"
html_title = "jaxdl"
html_static_path = ["_static"]
html_css_files = ["page.css"]
exclude_patterns = ["_build"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # pages write reports and pictures
nb_execution_timeout = 300
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
