include { jsonWord } from '../../functions'

// Check parameters, samplesheet and the contract of every file; all errors at once, before anything is computed.
process CHECK_INPUTS {
    tag "${samplesheet.name}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    path samplesheet
    path sources, stageAs: 'inputs/?/*'
    val settings // params: all parameters; staged: path as written in the samplesheet -> path in this task;
                 // weights: model -> files; own_environment: whether all steps share the environment of this one
    path schema
    path assets

    output:
    tuple path('errors.txt'), path('datasets.json'), path('plan.tsv'), path('input_warnings.json'), path('model_settings.json'), emit: check
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings.params)} > params.json
    printf '%s' ${jsonWord(settings.staged)} > staged.json
    printf '%s' ${jsonWord(settings.weights)} > weights.json

    check_inputs.py \\
        --input ${samplesheet} \\
        --params params.json \\
        --staged staged.json \\
        --weights weights.json \\
        --schema ${schema} \\
        --input_schema schema_input.json \\
        --methods_table methods.tsv \\
        --outdir . \\
        --process ${task.process} \\
        ${settings.own_environment ? '--own_environment' : ''} \\
        ${args}
    """

    stub:
    """
    printf '%s' ${jsonWord(settings.params)} > params.json
    printf '%s' ${jsonWord(settings.staged)} > staged.json
    write_stub.py check_inputs --input ${samplesheet} --params params.json --staged staged.json --assets . --outdir . --process ${task.process}
    """
}
