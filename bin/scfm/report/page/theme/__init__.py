"""Template of the page: a child of MultiQC's default template with the chapters of this report.

MultiQC finds templates by entry points of installed packages; :mod:`scfm.report.page.writer` registers this one for a
single run, since the package itself is not installed in a task.
"""

from pathlib import Path

from scfm.report.page.style import CSS

template_dir = str(Path(__file__).parent)
template_parent = "default"
base_fn = "base.html"
template_functions = {"scfm_css": lambda: CSS}
