include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'

// Counts, QC, log-normalisation, variable genes, PCA and the splits of one data set.
process PREPARE_DATASET {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(source)
    tuple path(hvg_exclude), path(hvg_force)
    val settings

    output:
    tuple val(meta), path("${meta.id}.prepared.h5ad"), path("${meta.id}.obs.parquet"), path("${meta.id}.pca.parquet"), path("${meta.id}.splits.parquet"), emit: dataset
    path "${meta.id}.facts.json", emit: facts
    path "${meta.id}.dropped_cells.tsv", emit: dropped
    path "${meta.id}.prepare.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord([meta.row])} > datasets.json

    prepare_dataset.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --h5ad ${source} \\
        --params params.json \\
        ${hvg_exclude ? "--hvg_exclude ${hvg_exclude}" : ''} \\
        ${hvg_force ? "--hvg_force ${hvg_force}" : ''} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py prepare_dataset --dataset ${meta.id} --outdir . --process ${task.process}
    """
}
