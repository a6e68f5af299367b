include { jsonWord } from '../../functions'

// One correction of a validated embedding; the result is a new embedding and passes the validation gate again.
process CORRECT_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embedding), path(sidecar), path(obs)
    val settings

    output:
    tuple val(meta), path("${meta.id}.unchecked.parquet"), path("${meta.id}.unchecked.json"), emit: embedding // 0 bytes where the step failed
    path "${meta.id}.correct.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    correct_embedding.py \\
        --embedding ${embedding} \\
        --sidecar ${sidecar} \\
        --obs ${obs} \\
        --correction ${meta.correction} \\
        --params params.json \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family ${meta.family} --step correct --obs ${obs} --outdir . --process ${task.process}
    """
}
