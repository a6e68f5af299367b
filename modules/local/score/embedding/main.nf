// Every metric of the profile, with its per-label values, and the alignment of centroids; what is not defined is NA with a reason.
process SCORE_EMBEDDING {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embedding), path(sidecar), path(knn), path(obs), path(pca)
    path assets
    val settings

    output:
    path "${meta.id}.scores.tsv", optional: true, emit: scores
    path "${meta.id}.centroids.tsv", optional: true, emit: centroids
    path "${meta.id}.metrics_scib.csv", optional: true, emit: paper
    path "${meta.id}.score.status.json", emit: status
    tuple val("${task.process}"), val('scikit-learn'), eval('tool_version.py scikit-learn'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS

    score_embedding.py \\
        --embedding ${embedding} \\
        --sidecar ${sidecar} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --knn ${knn} \\
        --profile ${settings.metrics_profile} \\
        --metrics_table metrics.tsv \\
        --cpus ${task.cpus} \\
        --on_error ${settings.on_method_error} \\
        --outdir .
    """

    stub:
    """
    write_stub.py scores --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir .
    """
}
