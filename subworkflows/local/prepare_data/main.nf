/*
 * Contract: a samplesheet goes in; checked, prepared data sets and the plan of the run come out.
 * Every error of every file is reported at once, before anything is computed.
 */

include { CHECK_INPUTS     } from '../../../modules/local/check/inputs'
include { DESCRIBE_DESIGN  } from '../../../modules/local/describe/design'
include { PREPARE_DATASET  } from '../../../modules/local/prepare/dataset'
include { findPath         } from '../utils_scfmbench'
include { ownRow           } from '../utils_scfmbench'
include { parameterPaths   } from '../utils_scfmbench'
include { parseJson        } from '../utils_scfmbench'
include { parseText        } from '../utils_scfmbench'
include { samplesheetPaths } from '../utils_scfmbench'
include { stepSettings     } from '../utils_scfmbench'
include { weightFiles      } from '../utils_scfmbench'

workflow PREPARE_DATA {
    take:
    samplesheet // file: CSV as given; its paths are relative to it
    ch_input    // channel (value): [ samplesheet of files, map: name in it -> file made by this run ]
    options     // map: parameters

    main:
    // files that exist are staged as inputs/1/..., inputs/2/...; the check reports the others
    def lists = parameterPaths(options)
    ch_named = ch_input.map { sheet, made ->
        (samplesheetPaths(sheet) + lists).unique().collect { text -> [text, made[text] ?: findPath(samplesheet, text)] }
    }
    def weights = weightFiles(options.weights_dir)

    CHECK_INPUTS(
        ch_input.map { sheet, _made -> sheet },
        ch_named.map { named -> named.collect { pair -> pair[1] }.findAll { path -> path } },
        ch_named.map { named ->
            [
                code: stepSettings(options, 'check_inputs.py', [], ['scfm/models/*/*.py']).code,
                params: options,
                weights: weights,
                staged: stagedAs(named, lists),
                own_environment: !workflow.containerEngine, // a conda environment of one step is recognised by the check itself
            ]
        },
        file("${projectDir}/nextflow_schema.json"),
        files("${projectDir}/assets/{methods,corrections,models,weights,weights_files,resources}.tsv") + files("${projectDir}/assets/schema_{input,methods,corrections,models,weights,weights_files}.json"),
    )

    // the run stops here, with every error in one message
    ch_check = CHECK_INPUTS.out.check.map { errors, datasets, plan, messages, model_settings ->
        if (errors.size() > 0) {
            error("The inputs have errors; nothing was computed.\n\n${errors.getText('UTF-8')}")
        }
        [datasets, plan, messages, model_settings]
    } // channel: [ datasets.json, plan.tsv, input_warnings.json, model_settings.json ]

    ch_rows = ch_check.flatMap { datasets, _plan, _messages, _settings -> parseJson(datasets) }
    ch_source = ch_rows
        .combine(ch_input.map { _sheet, made -> [made] })
        .map { row, made -> [row.dataset, row, made[row.h5ad] ?: findPath(samplesheet, row.h5ad)] } // channel: [ dataset, row, h5ad ]

    // --reference: the data sets are new cells, which are mapped and not prepared
    PREPARE_DATASET(
        (options.reference ? channel.empty() : ch_source).map { dataset, row, h5ad -> [[id: dataset, dataset: dataset, n_cells: row.n_cells, n_genes: row.n_genes, row: ownRow(row)], h5ad] },
        ['hvg_exclude', 'hvg_force'].collect { name -> (options[name] ? findPath(samplesheet, options[name]) : null) ?: [] },
        stepSettings(
            options,
            'prepare_dataset.py',
            ['round_counts', 'missing_values', 'shared_genes', 'min_cells_per_batch', 'min_genes_per_cell', 'min_cells_per_gene', 'n_hvg', 'hvg_', 'n_pcs', 'probe_folds', 'probe_seed', 'held_out_share', 'pilot_', 'on_method_error'],
        ),
    )

    // a data set that could not be prepared leaves empty files and a status with the reason; the others go on
    ch_prepared = PREPARE_DATASET.out.dataset.filter { _meta, prepared, _obs, _pca, _splits -> prepared.size() > 0 }

    DESCRIBE_DESIGN(
        ch_prepared.map { meta, prepared, obs, pca, _splits -> [meta, prepared, obs, pca] },
        stepSettings(options, 'describe_design.py', ['design_', 'on_method_error']),
    )
    ch_design = DESCRIBE_DESIGN.out.design.filter { _meta, table, _facts -> table.size() > 0 }

    ch_imports = ch_source.flatMap { dataset, row, h5ad ->
        (row.embeddings ?: [:]).collect { name, source ->
            source.startsWith('obsm:')
                ? [dataset, name, h5ad, source.substring(5)]
                : [dataset, name, findPath(samplesheet, source), '']
        }
    }

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    check = ch_check.map { datasets, plan, messages, _settings -> [datasets, plan, messages] }
    model_settings = ch_check.map { _datasets, _plan, _messages, settings -> parseJson(settings) }
    plan = ch_check.flatMap { datasets, plan, _messages, _settings -> withSizes(plan.splitCsv(header: true, sep: '\t', charset: 'UTF-8'), parseJson(datasets), options) }
    dataset = ch_prepared.map { meta, prepared, obs, pca, splits -> [meta.dataset, prepared, obs, pca, splits] }
    design = ch_design.map { meta, _table, described -> [meta.dataset, described] }
    facts = PREPARE_DATASET.out.facts
        .filter { json -> json.size() > 0 }
        .mix(PREPARE_DATASET.out.status, DESCRIBE_DESIGN.out.status)
        .mix(ch_design.flatMap { _meta, table, described -> [table, described] })
    imports = ch_imports
    source = ch_source

    emit:
    model_settings // channel: map: data set -> model -> settings
    check   // channel: [ datasets.json, plan.tsv, input_warnings.json ]
    plan    // channel: row (map), with n_cells, n_genes and n_dims
    dataset // channel: [ dataset, prepared, obs, pca, splits ]
    facts   // channel: facts.json, design.tsv, design.json, <step>.status.json
    design  // channel: [ dataset, design.json ]
    imports // channel: [ dataset, name, file, obsm key or '' ]
    source  // channel: [ dataset, row, h5ad ]
}

// Path as written in the samplesheet or a parameter -> path in the task of the check ('' for a list that does not exist).
def stagedAs(named, lists) {
    def found = named.findAll { pair -> pair[1] }
    return named.collectEntries { text, path ->
        path ? [text, "inputs/${found.findIndexOf { pair -> pair[0] == text } + 1}/${path.name}"] : (text in lists ? [text, ''] : [:])
    }
}

// Rows of the plan with the sizes that a task's memory and time follow: cells and genes of the data set, and the most dimensions that the
// embedding can have (an imported one is only known when it is read: as many as a foundation model has). Only parameters of the row's own
// method count: the sizes are in the hash of every task about the embedding. `for_queries`: a model that new cells are mapped to.
def withSizes(rows, datasets, options) {
    def models = file("${projectDir}/assets/models.tsv").splitCsv(header: true, sep: '\t', charset: 'UTF-8')
    def dims = models.collectEntries { model -> [model.name, model.dims.tokenize(',').collect { number -> number as int }.max()] }
    def sizes = datasets.collectEntries { row -> [row.dataset, [n_cells: row.n_cells, n_genes: row.n_genes]] }
    def references = datasets.findAll { row -> row.query || options.save_reference }.collect { row -> row.dataset }
    def methods = file("${projectDir}/assets/methods.tsv").splitCsv(header: true, sep: '\t', charset: 'UTF-8')
    def starts = methods.collectEntries { method -> [method.name, method.starts_from] }
    return rows.collect { row ->
        def queries = row.dataset in references && row.method in ['scvi', 'scanvi'] ? [for_queries: true] : [:]
        row + queries + sizes[row.dataset] + [n_dims: row.model ? dims[row.model] : (row.family == 'imported' ? dims.values().max() : methodDims(row, starts[row.base_method], options))]
    }
}

// The most dimensions that the embedding of a method can have: principal components, or what a parameter of the method, or of the one
// whose model it continues, says.
def methodDims(row, continued, options) {
    def prefixes = [row.base_method, continued].findAll { name -> name }
    def wide = ['n_pcs'] + prefixes.collectMany { name -> [name + '_dims', name + '_n_latent'] }
    return (options + parseText(row.settings)).subMap(wide).values().collect { value -> value as int }.max()
}
