include { shellWord } from '../../functions'

// Make a data set from files by a recipe: rows, labels, genes. Files are read backed; memory does not follow their size.
process APPLY_RECIPE {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(recipe), path(sources, stageAs: 'sources/?/*'), path(records, stageAs: 'records/?/*'), path(tables, stageAs: 'tables/?/*') // meta.sources, .records, .tables: their names in the same order
    val settings

    output:
    tuple val(meta), path("${meta.id}.recipe.h5ad"), path("${meta.id}.recipe.json"), emit: dataset
    path 'versions.yml', topic: versions, emit: versions

    script:
    def named = [source: [meta.sources, sources], record: [meta.records, records], table: [meta.tables, tables]].collectMany { option, pair ->
        [pair[0] ?: [], [pair[1]].flatten()].transpose().collect { name, file -> "--${option} ${shellWord(name)}=${file}" }
    }
    def args = task.ext.args ?: ''
    """
    apply_recipe.py \\
        --recipe ${recipe} \\
        --dataset ${meta.id} \\
        ${named.join(' \\\n        ')} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py recipe --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
