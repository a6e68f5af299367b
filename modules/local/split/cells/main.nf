// Lists of cell ids: the shards that are embedded as independent tasks. One list with all cells when sharding is off.
process SPLIT_CELLS {
    tag "${meta.id}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(obs)
    val settings

    output:
    tuple val(meta), path('shards/*.txt'), emit: shards
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    split_cells.py \\
        --obs ${obs} \\
        --shard_cells ${settings.shard_cells} \\
        --groups ${meta.cells_apart ? 'false' : 'true'} \\
        ${meta.group_column ? "--group_column ${meta.group_column}" : ''} \\
        --outdir shards \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py shards --outdir shards --process ${task.process}
    """
}
