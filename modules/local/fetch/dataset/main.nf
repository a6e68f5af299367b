// Download one source of data. Kept in --data_dir: what is there with its record is not fetched again.
// It has no `versions`: Nextflow looks into a storeDir only where every output is a file or a value of the input.
process FETCH_DATASET {
    tag "${meta.id}"
    label 'process_single'
    storeDir { settings.data_dir }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple val(meta), val(spec)
    val settings // data_dir: where files are kept, null: nowhere; cellxgene_api: address of a mirror, null: the official one

    output:
    tuple val(meta), path("${spec.key}${spec.ending ?: '.h5ad'}"), path("${spec.key}.source.json"), emit: source

    script:
    def launcher = task.ext.launcher ?: ''
    def args = task.ext.args ?: ''
    def api = settings.cellxgene_api ? "--api '${settings.cellxgene_api}'" : ''
    """
    cat <<'END_SPEC' > spec.json
    ${groovy.json.JsonOutput.toJson(spec)}
    END_SPEC

    ${launcher} fetch_dataset.py \\
        --spec spec.json \\
        --dest . \\
        ${api} ${args}
    """

    stub:
    """
    write_stub.py fetch --id ${spec.key} --output ${spec.key}${spec.ending ?: '.h5ad'} --outdir .
    """
}
