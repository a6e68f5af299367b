include { dataSize  } from '../../functions'
include { shellWord } from '../../functions'

// Bring a user's own embedding in; from here on it is an embedding like any other.
process IMPORT_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(source), path(obs)
    val settings

    output:
    tuple val(meta), path("${meta.id}.unchecked.parquet"), path("${meta.id}.unchecked.json"), emit: embedding // 0 bytes where the step failed
    path "${meta.id}.embed.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    import_embedding.py \\
        --dataset ${meta.dataset} \\
        --name ${meta.method} \\
        --source ${source} \\
        ${meta.obsm_key ? "--obsm_key ${shellWord(meta.obsm_key)}" : ''} \\
        --obs ${obs} \\
        --seed ${meta.seed} \\
        --max_dims ${settings.max_embedding_dims} \\
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
