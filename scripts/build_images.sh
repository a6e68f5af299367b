#!/usr/bin/env bash
# Builds the images that several processes share (containers/images.tsv) and one for every other environment of a method:
# `build_images.sh docker`, `build_images.sh sif` from the Docker images, or `build_images.sh list` to see what goes into which.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=$(sed -n "s/^ *version *= '\(.*\)'$/\1/p" nextflow.config)

# lines `image<TAB>environments`
images() {
    local shared=() image environments name
    while IFS=$'\t' read -r image environments; do
        local found=()
        for name in $environments; do
            if [[ $name == *'*' ]]; then
                for file in modules/local/$name.yml; do found+=("$(sed 's|^modules/local/||; s|\.yml$||' <<< "$file")"); done
            else
                found+=("$name")
            fi
        done
        shared+=("${found[@]}")
        printf '%s\t%s\n' "$image" "${found[*]}"
    done < <(tail -n +2 containers/images.tsv)
    for file in modules/local/integrate/cells/environments/*.yml; do
        name=integrate/cells/environments/$(basename "$file" .yml)
        [[ " ${shared[*]} " == *" $name "* ]] || printf '%s\t%s\n' "$(basename "$file" .yml)" "$name"
    done
}

build() {
    case $1 in
        list) printf '%s\t%s\n' "$2" "$3" ;;
        docker) docker build --build-arg "ENVIRONMENTS=$3" -t "scfmbench/$2:$VERSION" -f containers/Dockerfile . ;;
        sif)
            : "${NXF_SINGULARITY_LIBRARYDIR:?set it to the folder for the images}"
            mkdir -p "$NXF_SINGULARITY_LIBRARYDIR"
            apptainer build --force "$NXF_SINGULARITY_LIBRARYDIR/scfmbench-$2-$VERSION.img" "docker-daemon://scfmbench/$2:$VERSION"
            ;;
        *)
            echo "build_images.sh: '$1' is none of docker, sif, list." >&2
            return 2
            ;;
    esac
}

images | while IFS=$'\t' read -r image environments; do
    build "${1:-list}" "$image" "$environments" < /dev/null
done
