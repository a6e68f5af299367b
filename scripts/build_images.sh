#!/usr/bin/env bash
# Builds the images that several processes share (containers/images.tsv) and one for every other environment of a method:
# `build_images.sh images [NAME...]` with docker or podman, `build_images.sh sif [NAME...]` from them, or `build_images.sh list` to see what goes
# into which. Variables: ENGINE (docker or podman: the first that is there), REGISTRY (ghcr.io), BASE (base image with its digest), TORCH_INDEX
# (index with CPU builds of PyTorch), BUILD_OPTIONS (further options of `build`).
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=$(sed -n "s/^ *version *= '\(.*\)'$/\1/p" nextflow.config)
ENGINE=${ENGINE:-$(command -v docker > /dev/null && echo docker || echo podman)}
REGISTRY=${REGISTRY:-ghcr.io}

# lines `image<TAB>environments<TAB>packages of Debian`
images() {
    local shared=() image environments system name
    while IFS=$'\t' read -r image environments system; do
        local found=()
        for name in $environments; do
            if [[ $name == *'*' ]]; then
                for file in modules/local/$name.yml; do found+=("$(sed 's|^modules/local/||; s|\.yml$||' <<< "$file")"); done
            else
                found+=("$name")
            fi
        done
        shared+=("${found[@]}")
        printf '%s\t%s\t%s\n' "$image" "${found[*]}" "$system"
    done < <(tail -n +2 containers/images.tsv)
    for file in modules/local/integrate/cells/environments/*.yml; do
        name=integrate/cells/environments/$(basename "$file" .yml)
        [[ " ${shared[*]} " == *" $name "* ]] || printf '%s\t%s\n' "$(basename "$file" .yml)" "$name"
    done
}

build() {
    local name=$REGISTRY/scfmbench/$2:$VERSION arguments=(--build-arg "ENVIRONMENTS=$3" --build-arg "SYSTEM=$4") archive
    case $1 in
        list) printf '%s\t%s\n' "$2" "$3" ;;
        images)
            if [ -n "${BASE:-}" ]; then arguments+=(--build-arg "BASE=$BASE"); fi
            if [ -n "${TORCH_INDEX:-}" ]; then arguments+=(--build-arg "TORCH_INDEX=$TORCH_INDEX"); fi
            # shellcheck disable=SC2086 # BUILD_OPTIONS holds several words
            "$ENGINE" build ${BUILD_OPTIONS:-} "${arguments[@]}" -t "$name" -f containers/Dockerfile .
            ;;
        sif)
            : "${NXF_SINGULARITY_LIBRARYDIR:?set it to the folder for the images}"
            mkdir -p "$NXF_SINGULARITY_LIBRARYDIR"
            # an archive, not a daemon: podman has none
            archive=$(mktemp -d)
            "$ENGINE" save -o "$archive/image.tar" "$name"
            apptainer build --force "$NXF_SINGULARITY_LIBRARYDIR/$(tr '/:' '--' <<< "$name").img" "docker-archive:$archive/image.tar"
            rm -r "$archive"
            ;;
        *)
            echo "build_images.sh: '$1' is none of images, sif, list." >&2
            return 2
            ;;
    esac
}

action=${1:-list}
wanted=" ${*:2} "
images | while IFS=$'\t' read -r image environments system; do
    if [ "$wanted" = '  ' ] || [[ $wanted == *" $image "* ]]; then build "$action" "$image" "$environments" "$system" < /dev/null; fi
done
