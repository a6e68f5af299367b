# Source this file (`. ./env.sh`) in the shell that starts Nextflow: it puts what `make setup` has installed on PATH.
# shellcheck shell=bash
scfmbench_home=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)
if [ ! -x "$scfmbench_home/.venv/bin/python" ]; then
    echo "env.sh: there is no environment in $scfmbench_home/.venv. Run 'make setup' there first, or use a container profile." >&2
    unset scfmbench_home
    return 1 2> /dev/null || exit 1
fi
export PATH="$scfmbench_home/.tools/bin:$scfmbench_home/.venv/bin:$PATH"
unset scfmbench_home
