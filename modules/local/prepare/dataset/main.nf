// Counts, QC, log-normalisation, variable genes, PCA and the splits of one data set.
process PREPARE_DATASET {
    tag "${meta.id}"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(source)
    tuple path(hvg_exclude), path(hvg_force)
    val settings

    output:
    tuple val(meta), path("${meta.id}.prepared.h5ad"), path("${meta.id}.obs.parquet"), path("${meta.id}.pca.parquet"), path("${meta.id}.splits.parquet"), emit: dataset
    path "${meta.id}.facts.json", emit: facts
    path "${meta.id}.dropped_cells.tsv", emit: dropped
    tuple val("${task.process}"), val('anndata'), eval('tool_version.py anndata'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS
    cat <<'END_DATASETS' > datasets.json
    ${groovy.json.JsonOutput.toJson([meta.row])}
    END_DATASETS

    prepare_dataset.py \\
        --dataset ${meta.id} \\
        --datasets datasets.json \\
        --h5ad ${source} \\
        --params params.json \\
        ${hvg_exclude ? "--hvg_exclude ${hvg_exclude}" : ''} \\
        ${hvg_force ? "--hvg_force ${hvg_force}" : ''} \\
        --outdir .
    """

    stub:
    """
    write_stub.py prepare_dataset --dataset ${meta.id} --outdir .
    """
}
