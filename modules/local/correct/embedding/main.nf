include { dataSize  } from '../../functions'
include { jsonWord  } from '../../functions'
include { ofMembers } from '../../functions'

// Corrections of validated embeddings; the results are new embeddings and pass the validation gate again.
process CORRECT_EMBEDDING {
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
    tuple val(meta), path('*.unchecked.parquet'), path('*.unchecked.json'), emit: embedding // 0 bytes where the step failed
    path '*.correct.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    correct_embedding.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --obs ${obs} \\
        --correction ${meta.members.collect { member -> member.correction }.unique().join(' ')} \\
        --params params.json \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py embedding --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --step correct --obs ${obs} --outdir . --process ${task.process}
    """
}
