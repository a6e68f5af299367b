include { dataSize } from '../../functions'
include { jsonWord } from '../../functions'

// The design of one data set before any correction: confounding, balance, strength of the batch.
process DESCRIBE_DESIGN {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(pca)
    val settings

    output:
    tuple val(meta), path("${meta.id}.design.tsv"), path("${meta.id}.design.json"), emit: design
    path "${meta.id}.design.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    describe_design.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --params params.json \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py design --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
