// Fails when a planned embedding is failed or unexplained, once the report is written: the run ends with that exit status.
process CHECK_VERDICT {
    tag "verdict"
    label 'process_single'
    label 'ignored_last'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    path tables
    path report // waits for the report

    output:
    stdout emit: verdict
    path 'versions.yml', emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    check_verdict.py \\
        --verdict ${tables}/verdict.json \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    check_verdict.py --verdict ${tables}/verdict.json --process ${task.process}
    """
}
