include { jsonWord } from '../../functions'

// What must be downloaded and built before the data sets can be checked: scenarios, CELLxGENE ids, addresses, recipes.
process RESOLVE_INPUTS {
    tag "${samplesheet.name}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    path samplesheet
    path recipes, stageAs: 'recipes/?/*'
    val settings // params: all parameters; staged: path as written -> path in this task ('' where there is no such file)
    path schema
    path assets
    path scenarios, stageAs: 'scenarios/*'

    output:
    tuple path('errors.txt'), path("resolved/${samplesheet.name}"), path('sources.json'), path('builds.json'), emit: resolved
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings.params)} > params.json
    printf '%s' ${jsonWord(settings.staged)} > staged.json

    resolve_inputs.py \\
        --input ${samplesheet} \\
        --params params.json \\
        --staged staged.json \\
        --schema ${schema} \\
        --assets . \\
        --scenarios scenarios \\
        --outdir . \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py resolve_inputs --input ${samplesheet} --outdir . --process ${task.process}
    """
}
