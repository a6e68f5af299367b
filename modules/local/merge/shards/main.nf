include { dataSize } from '../../functions'

// Join the shards of one embedding by cell id. A failed shard fails the embedding, with the shard's reason.
process MERGE_SHARDS {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(shards, stageAs: 'shards/*'), path(obs)
    val settings

    output:
    tuple val(meta), path("${meta.id}.unchecked.parquet"), path("${meta.id}.unchecked.json"), emit: embedding // 0 bytes where the step failed
    path "${meta.id}.embed.status.json", emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    shopt -s nullglob
    merge_shards.py \\
        --id ${meta.id} \\
        --parts shards/*/embedding.parquet \\
        --sidecars shards/*/embedding.json \\
        --statuses shards/*/*.status.json \\
        --obs ${obs} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family foundation_model --outdir . --process ${task.process}
    """
}
