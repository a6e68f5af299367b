#!/usr/bin/env bash
# Builds the images of containers/images.tsv: `build_images.sh docker`, or `build_images.sh sif` from the Docker images.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=$(sed -n "s/^ *version *= '\(.*\)'$/\1/p" nextflow.config)

build() {
    if [ "$1" = docker ]; then
        docker build --build-arg "ENVIRONMENTS=$3" -t "scfmbench/$2:$VERSION" -f containers/Dockerfile .
    else
        : "${NXF_SINGULARITY_LIBRARYDIR:?set it to the folder for the images}"
        mkdir -p "$NXF_SINGULARITY_LIBRARYDIR"
        apptainer build --force "$NXF_SINGULARITY_LIBRARYDIR/scfmbench-$2-$VERSION.img" "docker-daemon://scfmbench/$2:$VERSION"
    fi
}

tail -n +2 containers/images.tsv | while IFS=$'\t' read -r image environments; do
    build "$1" "$image" "$environments" < /dev/null
done
