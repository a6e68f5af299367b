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
    val versions
    path assets
    path published, stageAs: 'published/*'
    val settings

    output:
    path 'content', emit: content

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS
    cat <<'END_VERSIONS' > versions.yml
    ${versions.trim().readLines().join('\n    ')}
    END_VERSIONS

    build_report.py \\
        --tables ${tables} \\
        --plan ${plan} \\
        --plots plots \\
        --histories histories \\
        --params params.json \\
        --versions versions.yml \\
        --assets . \\
        --outdir content
    """

    stub:
    """
    write_stub.py report --outdir content
    """
}
