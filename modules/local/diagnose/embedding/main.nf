include { dataSize     } from '../../functions'
include { jsonWord     } from '../../functions'
include { keepCompiled } from '../../functions'

// What is left of the batch effect in every label, why, and what correction cost. Embeddings of a data set share the counts that are read.
process DIAGNOSE_EMBEDDING {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embeddings), path(sidecars), path(knn), path(scores), path(seeds), path(prepared), path(obs), path(pca), path(pca_knn, stageAs: 'uncorrected/*'), path(markers)
    path assets
    val settings

    output:
    // 0 bytes where the diagnosis of an embedding failed
    tuple val(meta), path('*.residual.tsv'), path('*.clusters.tsv'), path('*.markers.tsv'), path('*.rare.tsv'), path('*.overcorrection.tsv'), path('*.balanced.tsv'), emit: tables
    path '*.diagnose.status.json', emit: status
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    def given = (markers ? "--markers ${markers} " : '') + (pca_knn ? "--pca_knn ${pca_knn}" : '')
    // the same methods and corrections with other seeds: table, sidecar and neighbours of each
    def others = [embedding: '.parquet', sidecar: '.json', knn: '.knn.npz'].collect { kind, ending ->
        def found = [seeds].flatten().findAll { file -> file.name.endsWith(ending) }
        found ? "--seed_${kind} ${found.join(' ')}" : ''
    }.join(' ')
    """
    ${keepCompiled(task.ext.compiled, workflow.workDir)}
    printf '%s' ${jsonWord(settings)} > params.json

    diagnose_embedding.py \\
        --embedding ${embeddings} \\
        --sidecar ${sidecars} \\
        --knn ${knn} \\
        --scores ${scores} \\
        --obs ${obs} \\
        --prepared ${prepared} \\
        --pca ${pca} \\
        --programmes programmes.tsv \\
        --metrics_table metrics.tsv \\
        --params params.json \\
        ${given} \\
        ${others} \\
        --cpus ${task.cpus} \\
        --on_error ${settings.on_method_error} \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py diagnosed --sidecars ${sidecars} --outdir . --process ${task.process}
    """
}
