include { jsonWord } from '../../functions'

// New cells mapped to a reference: their labels, their places, and which of them lie outside of it.
process MAP_QUERY {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(query, stageAs: 'query/*'), path(reference, stageAs: 'reference'), path(placed) // placed: [] without a trained model
    val settings

    output:
    path "${meta.id}.query.tsv", emit: query // 0 bytes where the step failed
    path "${meta.id}.query", emit: cells
    path "${meta.id}.query.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def trained = placed ? "--placed ${placed}" : ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    map_query.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --query ${query} \\
        --reference ${reference} \\
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
    write_stub.py query --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
