include { jsonWord } from '../../functions'

// A model of a reference (scVI, scANVI) trained on new cells by scArches: weights of their batches are learned, all others stay.
process TRAIN_QUERY {
    tag "${meta.id}.${meta.mapping}"
    label 'process_medium'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/expression:0.1.0'

    input:
    tuple val(meta), path(query, stageAs: 'query/*'), path(reference, stageAs: 'reference')
    val settings

    output:
    tuple val(meta), path("${meta.id}.${meta.mapping}.{placed.parquet,before.parquet,placed.json}"), emit: placed // 0 bytes where the step failed
    path "${meta.id}.query_${meta.mapping}.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    train_query.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --query ${query} \\
        --reference ${reference} \\
        --mapping ${meta.mapping} \\
        --params params.json \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py placed --dataset ${meta.id} --mapping ${meta.mapping} --outdir . --process ${task.process}
    """
}
