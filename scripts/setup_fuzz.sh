#!/usr/bin/env bash
# Sets up the fuzzer of `make fuzz`, once: an environment of its own in .tools/fuzz that also finds the packages of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
ATHERIS_VERSION=3.0.0
stamp=.tools/.fuzz-$ATHERIS_VERSION-$(sha256sum requirements/all.txt | cut -c1-16)
if [ -e "$stamp" ]; then exit 0; fi

packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

printf '[setup] installing atheris %s for make fuzz\n' "$ATHERIS_VERSION"
uv=.tools/uv/bin/uv
[ -x "$uv" ] || uv=uv # make setup took the one on PATH
"$uv" venv -q --clear --python .venv/bin/python .tools/fuzz
"$uv" pip install -q --python .tools/fuzz/bin/python "atheris==$ATHERIS_VERSION"
packages_of .venv/bin/python > "$(packages_of .tools/fuzz/bin/python)/pipeline.pth"
touch "$stamp"
