"""Write the page with MultiQC: the template of this report, and no second copy of the sections."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

from scfm.errors import ScfmError

THEME = "scfmbench"
#: what MultiQC hands to chat services, of a report without modules and sections
_NOTHING = base64.b64encode(b'{"tools":{},"sections":{}}').decode()


def write_page(content: Path, configs: Sequence[Path], outdir: Path, *, filename: str) -> None:
    """Run MultiQC on the sections.

    MultiQC is called through its Python interface for two things that its command line has no switch for. It finds
    templates only among installed packages, and it writes a second copy of every section into the page, for chat
    services that nothing here calls: half of the page. Both are done by its hooks, so that no finished page is edited.

    Parameters
    ----------
    content
        Folder written by :func:`scfm.report.build.build_report`.
    configs
        Configurations, the later ones win.
    outdir
        Folder of the page.
    filename
        Name of the page.

    Raises
    ------
    ScfmError
        MultiQC found nothing to show or stopped with an error.
    """
    import multiqc
    from multiqc.core import plugin_hooks
    from multiqc.core.update_config import ClConfig

    hooks = {"config_loaded": _use_theme, "before_template": _drop_copy}
    before = {name: list(functions) for name, functions in plugin_hooks.hook_functions.items()}
    for name, function in hooks.items():
        plugin_hooks.hook_functions.setdefault(name, []).append(function)
    try:
        settings = ClConfig(
            config_files=[str(c) for c in configs], output_dir=str(outdir), filename=filename, force=True
        )
        done = multiqc.run(str(content), cfg=settings, interactive=False)
    finally:
        plugin_hooks.hook_functions.clear()
        plugin_hooks.hook_functions.update(before)
    if done.sys_exit_code:
        raise ScfmError(f"MultiQC could not write the page from {content}: {done.message or 'see its messages above'}.")


def _use_theme() -> None:
    """Register the template, as an entry point of an installed package would, and choose it."""
    from multiqc import config

    config.avail_templates[THEME] = EntryPoint(THEME, "scfm.report.page.theme", "multiqc.templates.v1")
    config.template = THEME


def _drop_copy() -> None:
    """Empty the copy of the sections that is meant for chat services."""
    from multiqc import report

    report.ai_report_metadata_base64 = _NOTHING
