// Bring a user's own embedding in; from here on it is an embedding like any other.
process IMPORT_EMBEDDING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_embedding'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), path(source), path(obs)
    val settings

    output:
    tuple val(meta), path("${meta.id}.unchecked.parquet"), path("${meta.id}.unchecked.json"), optional: true, emit: embedding
    path "${meta.id}.embed.status.json", emit: status
    tuple val("${task.process}"), val('pandas'), eval('tool_version.py pandas'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS
    cat <<'END_KEY' > obsm_key.txt
    ${meta.obsm_key}
    END_KEY

    import_embedding.py \\
        --dataset ${meta.dataset} \\
        --name ${meta.method} \\
        --source ${source} \\
        --obsm_key "\$(cat obsm_key.txt)" \\
        --obs ${obs} \\
        --seed ${meta.seed} \\
        --on_error ${settings.on_method_error} \\
        --outdir .
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family ${meta.family} --obs ${obs} --outdir .
    """
}
