// One AnnData with every embedding in obsm, written once at the end.
process WRITE_DATASET {
    tag "${meta.id}"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(prepared), path(embeddings), path(sidecars), path(umaps)
    val settings

    output:
    tuple val(meta), path("${meta.id}.h5ad"), emit: h5ad
    tuple val("${task.process}"), val('anndata'), eval('tool_version.py anndata'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS

    write_dataset_h5ad.py \\
        --prepared ${prepared} \\
        --embeddings ${embeddings} \\
        --sidecars ${sidecars} \\
        --umaps ${umaps} \\
        --cpus ${task.cpus} \\
        --output ${meta.id}.h5ad
    """

    stub:
    """
    write_stub.py h5ad --prepared ${prepared} --output ${meta.id}.h5ad
    """
}
