#!/usr/bin/env bash
# Sets up what `make` needs, once: the Python environment in .venv, Nextflow and uv in .tools.
# A second call finds the stamps and compiles what was edited. Nothing outside the checkout is changed, except that
# Java 17 and Maven come from the system's package manager when they are missing and we are root.
set -euo pipefail
cd "$(dirname "$0")/.."
UV_VERSION=0.13.8
NEXTFLOW_MINIMUM=25.04.0
NF_CORE_VERSION=4.2.1
SCIB_VERSION=1.1.7
TOOLS=$PWD/.tools

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] ERROR: %s\n' "$*" >&2; exit 1; }

install_packages() {
    command -v apt-get > /dev/null || fail "$* missing, and there is no apt-get here. Install them and run make setup again."
    [ "$(id -u)" = 0 ] || fail "$* missing. Install them (sudo apt-get install $*) and run make setup again."
    say "installing $* with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

find_python() {
    local candidate
    # never the environment that is about to be replaced: make puts it first on PATH
    local PATH=${PATH//"$PWD/.venv/bin:"/}
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" > /dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.13 found on PATH. Install one and run make setup again."
}

find_uv() {
    if [ -x "$TOOLS/uv/bin/uv" ]; then echo "$TOOLS/uv/bin/uv"; return; fi
    if command -v uv > /dev/null; then command -v uv; return; fi
    say "installing uv $UV_VERSION" >&2
    if ! "$1" -m venv "$TOOLS/uv" > /dev/null 2>&1; then
        rm -rf "$TOOLS/uv"
        install_packages python3-venv >&2
        "$1" -m venv "$TOOLS/uv"
    fi
    "$TOOLS/uv/bin/python" -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" >&2
    echo "$TOOLS/uv/bin/uv"
}

setup_python() {
    local stamp python uv
    stamp=.venv/.requirements-$(sha256sum requirements/all.txt | cut -c1-16)
    if [ -e "$stamp" ]; then return; fi
    mkdir -p "$TOOLS"
    python=$(find_python)
    uv=$(find_uv "$python")
    say "creating .venv with $python (a few minutes: PyTorch is large)"
    "$uv" venv -q --clear --python "$python" .venv
    "$uv" pip install -q --python .venv/bin/python -r requirements/all.txt
    # compile once, with every core, instead of in the first tasks of the first run
    .venv/bin/python -m compileall -q -j 0 .venv/lib > /dev/null 2>&1 || say "some files of the environment do not compile; they are unused"
    touch "$stamp"
}

version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

setup_java() {
    local major
    major=$(command -v java > /dev/null && java_major || true)
    if [ -z "$major" ] || [ "$major" -lt 17 ]; then install_packages openjdk-17-jre-headless; fi
}

nextflow_on_path() {
    local found
    command -v nextflow > /dev/null || return 1
    found=$(nextflow -version 2> /dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1)
    [ -n "$found" ] && version_at_least "$found" "$NEXTFLOW_MINIMUM"
}

setup_nextflow() {
    local stamp
    stamp=.tools/.nextflow-$(cat pom.xml "$0" | sha256sum | cut -c1-16)
    if [ -e "$stamp" ]; then return; fi
    setup_java
    mkdir -p .tools/bin
    rm -f .tools/bin/nextflow
    if nextflow_on_path; then
        say "using $(command -v nextflow)"
    else
        command -v mvn > /dev/null || install_packages maven
        say "installing Nextflow with Maven"
        rm -rf .tools/nextflow
        mvn -q -B -ntp -Dstyle.color=never -f pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$TOOLS/nextflow/lib"
        install -m 755 scripts/nextflow.sh .tools/bin/nextflow
        .tools/bin/nextflow -version > /dev/null || fail "Nextflow was installed but does not start."
    fi
    touch "$stamp"
}

# nf-core's checks have an environment of their own: their pins and ours do not fit together
setup_lint() {
    local stamp python
    stamp=.tools/.nf-core-$NF_CORE_VERSION
    if [ -e "$stamp" ]; then return; fi
    say "installing nf-core $NF_CORE_VERSION for make lint"
    python=$(find_python)
    "$(find_uv "$python")" venv -q --clear --python "$python" .tools/nf-core
    "$(find_uv "$python")" pip install -q --python .tools/nf-core/bin/python "nf-core==$NF_CORE_VERSION"
    touch "$stamp"
}

# scib for make bench; its program for LISI is compiled here, as the one in the wheel asks for a newer C library
setup_scib() {
    local stamp python
    stamp=.tools/.scib-$(sha256sum "$0" | cut -c1-16)
    if [ -e "$stamp" ]; then return; fi
    command -v g++ > /dev/null || install_packages g++ libc6-dev
    say "installing scib $SCIB_VERSION for make bench"
    python=$(find_python)
    "$(find_uv "$python")" venv -q --clear --python "$python" .tools/scib
    # scanpy's search of more than 8,192 cells fails with later ones of these three
    "$(find_uv "$python")" pip install -q --no-binary scib --python .tools/scib/bin/python "scib==$SCIB_VERSION" \
        scikit-learn==1.7.2 scipy==1.15.3 pynndescent==0.5.13
    touch "$stamp"
}

# R for the methods that run in it; Debian 12 has Seurat 4.3 on R 4.2
setup_r() {
    local missing='for (name in c("Seurat", "Matrix")) if (!nzchar(system.file(package = name))) quit(status = 1)'
    if command -v Rscript > /dev/null && Rscript --vanilla -e "$missing"; then return; fi
    install_packages r-cran-seurat
    Rscript --vanilla -e "$missing" || fail "R was installed and does not find Seurat: another R is first on PATH ($(command -v Rscript))."
}

setup_python
setup_nextflow
# our own modules too, at every call: where PYTHONDONTWRITEBYTECODE is set, each task would compile them again
.venv/bin/python -m compileall -q bin/scfm
case ${1:-} in
    lint) setup_lint ;;
    scib) setup_scib ;;
    r) setup_r ;;
esac
