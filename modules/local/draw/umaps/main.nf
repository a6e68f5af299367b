include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'

// UMAPs, from the neighbours already found, and the maps of centroids asked for.
process DRAW_UMAPS {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/report:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(knn), path(obs)
    val settings

    output:
    tuple val(meta), path('*.umap.parquet'), emit: umap // 0 bytes where the step failed
    path '*.png', optional: true, emit: plots
    path '*.umap.status.json', emit: status
    path '*.centroid_maps.tsv', optional: true, emit: centroid_maps
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json

    draw_umaps.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --knn ${knn} \\
        --obs ${obs} \\
        --params params.json \\
        --seed 0 \\
        --cpus ${task.cpus} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py umaps --sidecars ${sidecars} --obs ${obs} --outdir . --process ${task.process}
    """
}
