#!/usr/bin/env bash
# Builds the images of containers/Dockerfile: `build_images.sh docker`, or `build_images.sh sif` from the Docker images.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=$(sed -n "s/^ *version *= '\(.*\)'$/\1/p" nextflow.config)
METHODS="integrate/cells"
MODELS="embed/cells"
REPORT="draw/umaps build/report multiqc"
CORE=$(cd modules/local && find . -name environment.yml -printf '%h\n' | sed 's#^\./##' | grep -vxF -e "$METHODS" -e "$MODELS" $(printf -- '-e %s ' $REPORT) | sort | tr '\n' ' ')

build() {
    if [ "$1" = docker ]; then
        docker build --build-arg "MODULES=$3" -t "scfmbench/$2:$VERSION" -f containers/Dockerfile .
    else
        : "${NXF_SINGULARITY_LIBRARYDIR:?set it to the folder for the images}"
        mkdir -p "$NXF_SINGULARITY_LIBRARYDIR"
        apptainer build --force "$NXF_SINGULARITY_LIBRARYDIR/scfmbench-$2-$VERSION.img" "docker-daemon://scfmbench/$2:$VERSION"
    fi
}

build "$1" core "$CORE"
build "$1" methods "$METHODS"
build "$1" models "$MODELS"
build "$1" report "$REPORT"
