include { dataSize  } from '../../functions'
include { jsonWord  } from '../../functions'
include { ofMembers } from '../../functions'

// How well label and batch can be read from an embedding, with baselines beside every number.
process PROBE_EMBEDDING {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_dims') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(knns), path(obs), path(splits)
    val settings

    output:
    tuple val(meta), path('*.probing.tsv'), emit: probing // 0 bytes where the step failed
    path '*.probing_results*.csv', optional: true, emit: paper
    path '*.probe.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json

    probe_embedding.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --knn ${knns} \\
        --obs ${obs} \\
        --splits ${splits} \\
        --params params.json \\
        --profile ${settings.metrics_profile} \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py probing --id ${ofMembers(meta, 'id')} --family ${ofMembers(meta, 'family')} --outdir . --process ${task.process}
    """
}
