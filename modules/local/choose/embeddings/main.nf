include { jsonWord } from '../../functions'

// Embeddings of a data set that are diagnosed: the uncorrected one, the best by total, and those named in --diagnose.
process CHOOSE_EMBEDDINGS {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(scores)
    path assets
    val settings

    output:
    tuple val(meta), path("${meta.id}.chosen.json"), emit: chosen
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    choose_embeddings.py \\
        --dataset ${meta.id} \\
        --scores ${scores} \\
        --datasets datasets.json \\
        --metrics_table metrics.tsv \\
        --methods_table methods.tsv \\
        --models_table models.tsv \\
        --corrections_table corrections.tsv \\
        --params params.json \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py chosen --dataset ${meta.id} --scores ${scores} --outdir . --process ${task.process}
    """
}
