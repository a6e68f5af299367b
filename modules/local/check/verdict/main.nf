// Fails when a planned embedding is failed or unexplained, once the report is there: the run's exit status tells the truth.
process CHECK_VERDICT {
    tag "verdict"
    label 'process_single'
    label 'ignored_last'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    path verdict
    path report // waits for the report

    output:
    stdout emit: verdict

    script:
    """
    check_verdict.py --verdict ${verdict}
    """

    stub:
    """
    echo stub
    """
}
