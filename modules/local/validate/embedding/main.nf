include { dataSize  } from '../../functions'
include { jsonWord  } from '../../functions'
include { ofMembers } from '../../functions'

// The validation gate: every step that computes from an embedding reads the output of this process. As in all steps that follow,
// meta.members are the embeddings that share the task.
process VALIDATE_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(obs)
    val settings

    output:
    tuple val(meta), path('*[0-9]{.parquet,.graph.npz,.refused.parquet}'), path('*[0-9]{,.refused}.json'), emit: embedding // .refused: 0 bytes, the gate refused it
    path '*.validate.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    validate_embedding.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --obs ${obs} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py validated --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --obs ${obs} --outdir . --process ${task.process}
    """
}
