include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'

// Evidence on a data set from outside of its embeddings: gene sets, regulators, a second modality, clinical fields.
process RELATE_BIOLOGY {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/expression:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(gmt), path(network), path(embeddings) // the last three: [] without one
    val settings

    output:
    path "${meta.id}.orthogonal.tsv", emit: evidence // 0 bytes where the step failed
    path "${meta.id}.orthogonal.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def given = (gmt ? "--gmt ${gmt} " : '') + (network ? "--network ${network} " : '') + (embeddings ? "--embeddings ${embeddings}" : '')
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json

    relate_biology.py \\
        --dataset ${meta.id} \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --params params.json \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${given} \\
        ${args}
    """

    stub:
    """
    write_stub.py evidence --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
