// One self-contained HTML page.
process MULTIQC {
    tag "report"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/report:0.1.0'

    input:
    path content
    path config

    output:
    path 'scfmbench_report.html', emit: report
    path 'scfmbench_report_data', emit: data

    script:
    """
    multiqc \\
        --force \\
        --config ${config} \\
        --config ${content}/scfmbench_order.yml \\
        --filename scfmbench_report.html \\
        ${content}
    """

    stub:
    """
    mkdir scfmbench_report_data
    echo '<html><body>stub</body></html>' > scfmbench_report.html
    """
}
