// Nearest neighbours, once per embedding; every metric and the UMAP read them from here.
process FIND_NEIGHBORS {
    tag "${meta.id}"
    label 'process_low'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(embedding), path(sidecar), path(obs)
    val settings

    output:
    tuple val(meta), path(embedding), path(sidecar), path("${meta.id}.knn.npz"), optional: true, emit: neighbors
    path "${meta.id}.neighbors.status.json", emit: status
    tuple val("${task.process}"), val('numpy'), eval('tool_version.py numpy'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS

    find_neighbors.py \\
        --embedding ${embedding} \\
        --sidecar ${sidecar} \\
        --obs ${obs} \\
        --k ${settings.neighbors_k} \\
        --exact_max_cells ${settings.exact_neighbors_max_cells} \\
        --seed 0 \\
        --cpus ${task.cpus} \\
        --on_error ${settings.on_method_error} \\
        --outdir .
    """

    stub:
    """
    write_stub.py neighbors --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir .
    """
}
