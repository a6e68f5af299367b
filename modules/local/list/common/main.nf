include { jsonWord } from '../../functions'

// Cells of a further scoring pass: of the scored (settings.kind: common) or held-out ones (held_out) those that all embeddings have which
// the pass ranks. Included under one alias per pass.
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
    tuple val(meta), path("${meta.id}.${settings.kind}_cells.parquet"), path("${meta.id}.${settings.kind}.json"), emit: cells // 0 bytes of cells where nothing is scored again
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    list_common_cells.py \\
        --dataset ${meta.id} \\
        --kind ${settings.kind} \\
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
    write_stub.py common_cells --pass ${settings.kind} --dataset ${meta.id} --sidecars ${sidecars} --outdir . --process ${task.process}
    """
}
