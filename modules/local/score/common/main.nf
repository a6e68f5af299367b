include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'
include { ofMembers    } from '../../functions'

// Every metric of the profile on the cells of a further pass (settings.kind), which ranks are based on. Included under one alias per pass.
process SCORE_COMMON {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(cells), path(obs), path(pca)
    path assets
    val settings

    output:
    tuple val(meta), path("*.scores_${settings.kind}.tsv"), emit: scores // 0 bytes where the step failed
    path "*.score_${settings.kind}.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json

    score_common_cells.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --cells ${cells} \\
        --kind ${settings.kind} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --profile ${settings.metrics_profile} \\
        --metrics_table metrics.tsv \\
        --k ${settings.neighbors_k} \\
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
    write_stub.py scores_common --pass ${settings.kind} --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --outdir . --process ${task.process}
    """
}
