// Run one method or control of assets/methods.tsv; a method is a row of that table plus bin/scfm/integration/<name>.py.
process INTEGRATE_CELLS {
    tag "${meta.id}"
    label 'process_medium'
    label 'process_gpu'
    label 'per_embedding'
    ext method: { meta.method }, uses_gpu: { meta.uses_gpu == 'true' }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/methods:0.1.0'

    input:
    tuple val(meta), path(prepared), path(obs), path(pca), val(settings)
    path assets

    output:
    tuple val(meta), path("${meta.id}.unchecked.parquet"), path("${meta.id}.unchecked.json"), optional: true, emit: embedding
    path "${meta.id}.embed.status.json", emit: status
    path "${meta.id}.history.csv", optional: true, emit: history
    path "${meta.id}.model", optional: true, emit: model
    tuple val("${task.process}"), val('anndata'), eval('tool_version.py anndata'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS

    integrate_cells.py \\
        --method ${meta.method} \\
        --dataset ${meta.dataset} \\
        --prepared ${prepared} \\
        --obs ${obs} \\
        --pca ${pca} \\
        --seed ${meta.seed} \\
        --params params.json \\
        --methods_table methods.tsv \\
        --cpus ${task.cpus} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --on_error ${settings.on_method_error} \\
        --outdir .
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir .
    """
}
