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
    path 'versions.yml', emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    multiqc \\
        --force \\
        --config ${config} \\
        --config ${content}/scfmbench_order.yml \\
        --filename scfmbench_report.html \\
        ${content} \\
        ${args}

    # MultiQC keeps a second copy of every section for a chat service, which nothing here calls: half of the page
    sed -E -i 's/^( *aiReportMetadataBase64 = ")[^"]*"/\\1eyJ0b29scyI6e30sInNlY3Rpb25zIjp7fX0="/' scfmbench_report.html

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        multiqc: "\$(multiqc --version | sed 's/.*version //')"
    END_VERSIONS
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
