"""Every command in the documentation can be typed: targets, parameters, profiles, executables and options exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT

PAGES = sorted([PROJECT / "README.md", PROJECT / "containers" / "README.md", *(PROJECT / "docs").rglob("*.md")])
#: commands of the shell and of other programs; what they are given is not part of the pipeline
OTHERS = {"cat", "cd", "export", "git", "mkdir", "pip", "pre-commit", "printf", "xdg-open"}
#: Nextflow's own options in the pages
OWN_OPTIONS = {"-profile", "-resume", "-params-file", "-c", "-w", "-preview", "-stub"}
#: options of other programs that the pages mention
FOREIGN = {"--check", "--write-fake", "--gpus", "--nv", "--device", "--gres", "--resume"}
#: typing errors that a page quotes
MISTYPED = {"--batchkey"}


def blocks(text: str) -> list[str]:
    """Return the bash blocks of a page."""
    return re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """Return the commands of a block as words: continued lines joined, comments and here-documents left out."""
    block = re.sub(r"<< *'?(\w+)'?\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    found = []
    for line in block.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&>")
        lexer.whitespace_split = True
        for ends, words in groupby(lexer, key=lambda word: bool(re.fullmatch("[;|&]+", word))):
            typed = list(words)
            while typed and re.fullmatch(r"\w+=.*", typed[0]):
                typed = typed[1:]
            if typed and not ends:
                found.append(typed)
    return found


@cache
def _schema() -> dict[str, dict]:
    schema = json.loads((PROJECT / "nextflow_schema.json").read_text())
    return {name: spec for group in schema["$defs"].values() for name, spec in group["properties"].items()}


@cache
def _profiles() -> set[str]:
    text = (PROJECT / "nextflow.config").read_text()
    part = text[text.index("\nprofiles {") : text.index("\n}\n", text.index("\nprofiles {"))]
    return set(re.findall(r"^    (\w+) \{", part, re.MULTILINE))


@cache
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


@cache
def _options(script: Path) -> set[str]:
    """Return the options of a Python script, from its own help."""
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script.name} --help: {done.stderr}"
    return set(re.findall(r"--[\w-]+", done.stdout))


@cache
def _source_options() -> set[str]:
    """Return the options that any script of the repository defines, from its source."""
    scripts = [p for folder in ("bin", "benchmarks", "scripts") for p in (PROJECT / folder).rglob("*.py")]
    return {option for p in scripts for option in re.findall(r"[\"'](--[\w-]+)[\"']", p.read_text())}


def problems(words: list[str]) -> list[str]:
    """Return what is wrong with one command."""
    name, arguments = words[0], words[1:]
    if name == "make":
        return [f"make: no target '{w}'" for w in arguments if "=" not in w and w not in _targets()]
    if name == "nextflow":
        return _nextflow_problems(arguments)
    if name in {".", "source"}:
        return [] if (PROJECT / arguments[0]).is_file() else [f"{arguments[0]} does not exist"]
    if name in {"python", "pytest"}:
        return _script_problems(name, arguments)
    if name.endswith(".py"):
        return _executable_problems(name, arguments)
    return [] if name in OTHERS else [f"unknown command '{name}'"]


def _nextflow_problems(arguments: list[str]) -> list[str]:
    found = [] if arguments[:2] == ["run", "."] else [f"expected 'nextflow run .', found {arguments[:2]}"]
    for word, following in zip(arguments[2:], [*arguments[3:], ""], strict=True):
        if word.startswith("--") and word[2:].partition("=")[0].replace("-", "_") not in _schema():
            found.append(f"{word} is no parameter")
        elif re.match(r"-[a-z]", word) and word not in OWN_OPTIONS:
            found.append(f"{word} is no option of Nextflow known here")
        if word == "-profile":
            found += [f"no profile '{p}'" for p in following.split(",") if p not in _profiles()]
    return found


def _script_problems(name: str, arguments: list[str]) -> list[str]:
    files = [a.partition("::")[0] for a in arguments if a.partition("::")[0].endswith(".py")]
    missing = [f"{file} does not exist" for file in files if not (PROJECT / file).is_file()]
    if missing or name == "pytest" or not files:
        return missing
    source = (PROJECT / files[0]).read_text()
    options = {a for a in arguments if a.startswith("--")}
    return [f"{files[0]} has no option {o}" for o in sorted(options) if f'"{o}"' not in source]


def _executable_problems(name: str, arguments: list[str]) -> list[str]:
    script = PROJECT / "bin" / Path(name).name
    if not script.is_file():
        return [f"{name} does not exist"]
    given = {a.partition("=")[0] for a in arguments if a.startswith("--")}
    return [f"{name} has no option {option}" for option in sorted(given - _options(script))]


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


WITH_BLOCKS = [path for path in PAGES if blocks(path.read_text())]


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=_name)
def test_commands_of_a_page_can_be_typed(path) -> None:
    typed = [words for block in blocks(path.read_text()) for words in commands(block)]
    assert typed
    assert [(shlex.join(words), found) for words in typed if (found := problems(words))] == []


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_options_and_targets_in_sentences_exist(path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    code = re.findall(r"`([^`\n]+)`", text)
    options = {o for piece in code for o in re.findall(r"(?<![\w-])--[a-z][\w-]*\*?", piece)}
    known = {f"--{name}" for name in _schema()} | _source_options() | FOREIGN | MISTYPED
    known |= _options(PROJECT / "bin" / "make_tiny_weights.py")  # one option per size of a model
    families = {o for o in options if any(name.startswith(o.removesuffix("*")) for name in known) and o.endswith("*")}
    assert sorted(options - known - families) == []
    targets = {t for piece in code for t in re.findall(r"^make ([a-z-]+)", piece)}
    assert targets <= _targets()
    profiles = {
        p for piece in code for names in re.findall(r"(?<!-)-profile ([\w,]+)", piece) for p in names.split(",") if p
    }
    assert profiles <= _profiles()


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                broken.append(f"{_name(path)}: {target}")
    assert broken == []


def test_the_reading_guide_has_every_chapter_with_sections() -> None:
    from scfm.registries.sections import load_chapters, load_sections

    used = {row.chapter for row in load_sections().values()}
    titles = [chapter.title for name, chapter in load_chapters().items() if name in used]
    headings = re.findall(r"^## (.+)$", (PROJECT / "docs" / "reading_the_report.md").read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in titles] == titles


def test_a_wrong_command_is_found() -> None:
    wrong = {
        "make dmeo": "no target 'dmeo'",
        "nextflow run . --inptu x": "--inptu is no parameter",
        "nextflow run . -profile dokcer": "no profile 'dokcer'",
        "bin/fetch_weights.py --modle x": "no option --modle",
        "bin/no_such.py": "does not exist",
        "python benchmarks/models.py --modles x": "has no option --modles",
        "frobnicate x": "unknown command",
    }
    for line, part in wrong.items():
        (words,) = commands(line)
        assert any(part in problem for problem in problems(words)), line


def test_sections_of_the_report_have_the_titles_that_pages_quote() -> None:
    code = " ".join(path.read_text(encoding="utf-8") for path in (PROJECT / "bin" / "scfm" / "report").rglob("*.py"))
    quoted = {
        (page.name, title)
        for page in PAGES
        for titles in re.findall(r'(?:sections?|Read) ((?:"[^"]+"(?: and )?)+)', " ".join(page.read_text().split()))
        for title in re.findall(r'"([^"]+)"', titles)
    }
    assert len(quoted) > 5
    assert {(page, title) for page, title in quoted if title not in code} == set()
