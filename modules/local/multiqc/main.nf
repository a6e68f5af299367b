// One self-contained HTML page.
process MULTIQC {
    tag "report"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/report:0.1.0'

    input:
    path content
    path config
    val code // digest of the page's code, so that a change of it makes the page anew

    output:
    path 'scfmbench_report.html', emit: report
    path 'scfmbench_report_data', emit: data
    path 'versions.yml', emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    write_page.py \\
        --content ${content} \\
        --config ${config} \\
        --filename scfmbench_report.html \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    mkdir scfmbench_report_data
    echo '<html><body>stub</body></html>' > scfmbench_report.html

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        multiqc: "\$(multiqc --version | sed 's/.*version //')"
    END_VERSIONS
    """
}
