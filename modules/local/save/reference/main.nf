include { jsonWord } from '../../functions'

// A prepared data set and what its methods have left, saved as a reference for new cells of this run or of a later one.
process SAVE_REFERENCE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(pca), path(embeddings), path(models) // the last two: [] where no method takes new cells
    val settings

    output:
    tuple val(meta), path("${meta.id}.reference"), emit: reference // without reference.json where the step failed
    path "${meta.id}.reference.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def tables = embeddings ? "--embeddings ${embeddings}" : ''
    def folders = models ? "--models ${models}" : ''
    """
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    save_reference.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${tables} \\
        ${folders} \\
        ${args}
    """

    stub:
    """
    write_stub.py reference --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
