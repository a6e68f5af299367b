include { dataSize } from '../../functions'
include { jsonWord } from '../../functions'

// Run one method or control of assets/methods.tsv. Included under one alias per method (subworkflows/local/make_embeddings), which
// conf/methods.config gives its resources, container and environment.
process INTEGRATE_CELLS {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(pca), path(start), val(settings)
    path assets

    output:
    tuple val(meta), path("${meta.id}.unchecked.{parquet,graph.npz}"), path("${meta.id}.unchecked.json"), emit: embedding // 0 bytes where the step failed
    path "${meta.id}.embed.status.json", emit: status
    path "${meta.id}.history.csv", optional: true, emit: history
    tuple val(meta), path("${meta.id}.model"), optional: true, emit: model
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def continued = start ? "--start ${start}" : ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    integrate_cells.py \\
        --method ${meta.base_method} \\
        --name ${meta.method} \\
        --dataset ${meta.dataset} \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --seed ${meta.seed} ${continued} \\
        --params params.json \\
        --methods_table methods.tsv \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir . --process ${task.process}
    """
}
