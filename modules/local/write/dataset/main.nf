include { dataSize } from '../../functions'
include { jsonWord } from '../../functions'

// One AnnData with every embedding in obsm, written once at the end.
process WRITE_DATASET {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(prepared), path(embeddings), path(sidecars), path(umaps)
    val settings

    output:
    tuple val(meta), path("${meta.id}.h5ad"), emit: h5ad
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    write_dataset_h5ad.py \\
        --prepared ${prepared} \\
        --embeddings ${embeddings} \\
        --sidecars ${sidecars} \\
        --umaps ${umaps} \\
        --cpus ${task.cpus} \\
        --output ${meta.id}.h5ad \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py h5ad --prepared ${prepared} --output ${meta.id}.h5ad --process ${task.process}
    """
}
