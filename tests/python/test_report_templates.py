"""Templates escape what they print and refuse a name that they were not given."""

from __future__ import annotations

import pytest

from scfm.report.page import templates


@pytest.fixture
def folder(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Return a folder that replaces the templates of the report."""
    monkeypatch.setattr(templates, "TEMPLATES", tmp_path)
    templates._environment.cache_clear()
    yield tmp_path
    templates._environment.cache_clear()


def test_text_is_escaped_and_html_of_another_template_is_not(folder) -> None:
    (folder / "inner.html.j2").write_text("<b>{{ name }}</b>")
    (folder / "outer.html.j2").write_text("<p>{{ inner }} {{ value | number(1) }}</p>")
    inner = templates.render("inner.html.j2", name="<script>")
    assert inner == "<b>&lt;script&gt;</b>"
    assert templates.render("outer.html.j2", inner=inner, value=0.25) == "<p><b>&lt;script&gt;</b> 0.2</p>"


def test_a_missing_value_is_an_error_and_not_an_empty_text(folder) -> None:
    from jinja2 import UndefinedError

    (folder / "one.html.j2").write_text("{{ total }}")
    with pytest.raises(UndefinedError, match="total"):
        templates.render("one.html.j2", totl=1)
