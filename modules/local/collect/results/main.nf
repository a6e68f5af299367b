include { jsonWord  } from '../../functions'
include { shellWord } from '../../functions'

// Tidy tables from what every step left, checked against the plan: nothing is missing.
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
    val failed // rows of Nextflow's trace about tasks that did not complete, with its header; empty where there are none

    output:
    path 'tables', emit: tables
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings)} > params.json
    printf '%b' ${shellWord(failed.join('\\n'))} > failed_tasks.tsv

    collect_results.py \\
        --plan ${plan} \\
        --datasets ${datasets} \\
        --messages ${messages} \\
        --results results \\
        --metrics_table metrics.tsv \\
        --methods_table methods.tsv \\
        --params params.json \\
        ${failed ? '--trace failed_tasks.tsv' : ''} \\
        --outdir tables \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py tables --plan ${plan} --outdir tables --process ${task.process}
    """
}
