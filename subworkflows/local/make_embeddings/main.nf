/*
 * Contract: prepared data sets and the plan go in; one unchecked embedding per planned, uncorrected row comes out,
 * whoever made it: a method, a control, a user. A row that fails leaves a status file instead.
 */

include { IMPORT_EMBEDDING } from '../../../modules/local/import/embedding'
include { INTEGRATE_CELLS  } from '../../../modules/local/integrate/cells'
include { stepSettings     } from '../utils_scfmbench'

workflow MAKE_EMBEDDINGS {
    take:
    ch_dataset // channel: [ dataset, prepared, obs, pca, splits ]
    ch_plan    // channel: row of plan.tsv (map)
    ch_imports // channel: [ dataset, name, file, obsm key ]
    options // map: parameters

    main:
    ch_raw = ch_plan
        .filter { row -> row.variant == 'raw' }
        .map { row -> [row.dataset, row + [id: "${row.dataset}.${row.embedding}".toString()]] }
        .combine(ch_dataset, by: 0) // channel: [ dataset, meta, prepared, obs, pca, splits ]
        .branch { _dataset, meta, _prepared, _obs, _pca, _splits ->
            imported: meta.family == 'imported'
            computed: true
        }

    INTEGRATE_CELLS(
        ch_raw.computed.map { _dataset, meta, prepared, obs, pca, _splits ->
            def settings = stepSettings(
                options,
                'integrate_cells.py',
                ['n_pcs', 'on_method_error', "${meta.method}_"],
                ["scfm/integration/${meta.method}.py"],
            )
            [meta, prepared, obs, pca, settings]
        },
        files("${projectDir}/assets/{methods.tsv,schema_methods.json}"),
    )

    IMPORT_EMBEDDING(
        ch_raw.imported
            .map { dataset, meta, _prepared, obs, _pca, _splits -> [[dataset, meta.method], meta, obs] }
            .combine(ch_imports.map { dataset, name, source, key -> [[dataset, name], source, key] }, by: 0)
            .map { _key, meta, obs, source, obsm_key -> [meta + [obsm_key: obsm_key], source, obs] },
        stepSettings(options, 'import_embedding.py', ['on_method_error']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    unchecked = INTEGRATE_CELLS.out.embedding.mix(IMPORT_EMBEDDING.out.embedding)
    status = INTEGRATE_CELLS.out.status.mix(IMPORT_EMBEDDING.out.status)
    history = INTEGRATE_CELLS.out.history

    emit:
    unchecked // channel: [ meta, parquet, sidecar ]
    status    // channel: status.json
    history   // channel: csv
}
