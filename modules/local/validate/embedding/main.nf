include { jsonWord } from '../../functions'

// The validation gate: every step that computes from an embedding reads the output of this process.
process VALIDATE_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embedding), path(sidecar), path(obs)
    val settings

    output:
    tuple val(meta), path("${meta.id}{,.refused}.parquet"), path("${meta.id}{,.refused}.json"), emit: embedding // .refused: 0 bytes, the gate refused it
    path "${meta.id}.validate.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    validate_embedding.py \\
        --embedding ${embedding} \\
        --sidecar ${sidecar} \\
        --obs ${obs} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py validated --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir . --process ${task.process}
    """
}
