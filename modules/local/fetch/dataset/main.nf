include { jsonWord  } from '../../functions'
include { shellWord } from '../../functions'

// Download one source of data. Kept in --data_dir: what is there with its record is not fetched again.
// No versions.yml: it would be a file of the folder, and a folder filled before there was one would be downloaded again. The
// record holds the versions instead.
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
    def api = settings.cellxgene_api ? "--api ${shellWord(settings.cellxgene_api)}" : ''
    """
    printf '%s' ${jsonWord(spec)} > spec.json

    ${launcher} fetch_dataset.py \\
        --spec spec.json \\
        --dest . \\
        ${settings.allow_http ? '--allow_http' : ''} \\
        ${api} \\
        ${args}
    """

    stub:
    """
    write_stub.py fetch --id ${spec.key} --output ${spec.key}${spec.ending ?: '.h5ad'} --outdir .
    """
}
