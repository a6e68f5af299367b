include { jsonWord } from '../../functions'

// Sections of the report, in the form MultiQC reads.
process BUILD_REPORT {
    tag "report"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/report:0.1.0'

    input:
    path tables
    path plan
    path plots, stageAs: 'plots/*'
    path histories, stageAs: 'histories/*'
    val versions // process -> package -> version
    path assets
    path published, stageAs: 'published/*'
    val settings

    output:
    path 'content', emit: content
    path 'summary.txt', emit: summary
    path 'versions.yml', emit: versions // not in the topic: this step waits for it

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%s' ${jsonWord(versions)} > software_versions.json

    build_report.py \\
        --tables ${tables} \\
        --plan ${plan} \\
        --plots plots \\
        --histories histories \\
        --params params.json \\
        --schema nextflow_schema.json \\
        --versions software_versions.json \\
        --assets . \\
        --outdir content \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py report --outdir content --process ${task.process}
    """
}
