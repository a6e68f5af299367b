// Tidy tables from what every step left, held against the plan: nothing disappears.
process COLLECT_RESULTS {
    tag "tables"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    tuple path(datasets), path(plan), path(messages)
    path results, stageAs: 'results/*'
    path assets
    val settings

    output:
    path 'tables', emit: tables
    path 'tables/verdict.json', emit: verdict
    tuple val("${task.process}"), val('pandas'), eval('tool_version.py pandas'), topic: versions, emit: versions

    script:
    """
    cat <<'END_SETTINGS' > params.json
    ${groovy.json.JsonOutput.toJson(settings)}
    END_SETTINGS

    collect_results.py \\
        --plan ${plan} \\
        --datasets ${datasets} \\
        --messages ${messages} \\
        --results results \\
        --metrics_table metrics.tsv \\
        --methods_table methods.tsv \\
        --params params.json \\
        --outdir tables
    """

    stub:
    """
    write_stub.py tables --plan ${plan} --outdir tables
    """
}
