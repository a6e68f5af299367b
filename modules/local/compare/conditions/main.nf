include { dataSize } from '../../functions'
include { jsonWord } from '../../functions'

// Conditions of a data set compared inside every label: pseudobulk, the scVI model of the run, and whether they agree.
process COMPARE_CONDITIONS {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/expression:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(design), path(model), path(sidecar) // model and sidecar: [] without one
    val settings

    output:
    path "${meta.id}.de.tsv", emit: comparison // 0 bytes where the step failed
    path "${meta.id}.de_genes.tsv", emit: genes
    path "${meta.id}.de", emit: tables
    path "${meta.id}.de.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def trained = model ? "--model ${model} --sidecar ${sidecar}" : ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    compare_conditions.py \\
        --dataset ${meta.id} \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --design ${design} \\
        --params params.json \\
        --cpus ${task.cpus} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${trained} \\
        ${args}
    """

    stub:
    """
    write_stub.py compared --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
