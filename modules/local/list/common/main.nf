include { jsonWord } from '../../functions'

// Scored cells that all ranked embeddings of a data set have. Planned only where an embedding lacks cells.
process LIST_COMMON {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(obs)
    path assets
    val settings

    output:
    tuple val(meta), path("${meta.id}.common_cells.parquet"), path("${meta.id}.common.json"), emit: cells // 0 bytes of cells where nothing is scored again
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    list_common_cells.py \\
        --dataset ${meta.id} \\
        --embeddings ${embeddings} \\
        --sidecars ${sidecars} \\
        --obs ${obs} \\
        --methods_table methods.tsv \\
        --corrections_table corrections.tsv \\
        --min_coverage ${settings.min_rank_coverage} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py common_cells --dataset ${meta.id} --sidecars ${sidecars} --outdir . --process ${task.process}
    """
}
