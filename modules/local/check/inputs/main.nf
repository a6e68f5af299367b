// Check parameters, samplesheet and the contract of every file; all faults at once, before anything is computed.
process CHECK_INPUTS {
    tag "${samplesheet.name}"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/core:0.1.0'

    input:
    path samplesheet
    path sources, stageAs: 'inputs/?/*'
    val settings // params: all parameters; staged: path as written in the samplesheet -> path in this task;
                 // weights: model -> files
    path schema
    path assets

    output:
    tuple path('faults.txt'), path('datasets.json'), path('plan.tsv'), path('input_warnings.json'), path('model_settings.json'), emit: check
    tuple val("${task.process}"), val('h5py'), eval('tool_version.py h5py'), topic: versions, emit: versions

    script:
    """
    cat <<'END_PARAMS' > params.json
    ${groovy.json.JsonOutput.toJson(settings.params)}
    END_PARAMS
    cat <<'END_STAGED' > staged.json
    ${groovy.json.JsonOutput.toJson(settings.staged)}
    END_STAGED
    cat <<'END_WEIGHTS' > weights.json
    ${groovy.json.JsonOutput.toJson(settings.weights)}
    END_WEIGHTS

    check_inputs.py \\
        --input ${samplesheet} \\
        --params params.json \\
        --staged staged.json \\
        --weights weights.json \\
        --schema ${schema} \\
        --input_schema schema_input.json \\
        --methods_table methods.tsv \\
        --outdir .
    """

    stub:
    """
    write_stub.py check_inputs --input ${samplesheet} --outdir .
    """
}
