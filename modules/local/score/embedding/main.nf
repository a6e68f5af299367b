include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'
include { ofMembers    } from '../../functions'

// Every metric of the profile, with its per-label values, and the alignment of centroids; what is not defined is NA with a reason.
process SCORE_EMBEDDING {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(knn), path(obs), path(pca)
    path assets
    val settings

    output:
    tuple val(meta), path('*.scores.tsv'), path('*.centroids.tsv'), emit: tables // 0 bytes where the step failed
    path '*.metrics_scib.csv', optional: true, emit: paper
    path '*.score.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json

    score_embedding.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --knn ${knn} \\
        --profile ${settings.metrics_profile} \\
        --metrics_table metrics.tsv \\
        --exact_max_cells ${settings.exact_neighbors_max_cells} \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py scores --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --obs ${obs} --outdir . --process ${task.process}
    """
}
