include { dataSize  } from '../../functions'
include { jsonWord  } from '../../functions'
include { ofMembers } from '../../functions'

// Nearest neighbours, once per embedding; every metric and the UMAP read them from here.
process FIND_NEIGHBORS {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(obs)
    val settings

    output:
    tuple val(meta), path(embeddings), path(sidecars), path('*.knn.npz'), emit: neighbors // 0 bytes where the step failed
    path '*.neighbors.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    find_neighbors.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --obs ${obs} \\
        --k ${settings.neighbors_k} \\
        --exact_max_cells ${settings.exact_neighbors_max_cells} \\
        --seed 0 \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py neighbors --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --obs ${obs} --outdir . --process ${task.process}
    """
}
