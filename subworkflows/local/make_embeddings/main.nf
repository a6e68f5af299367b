/*
 * Contract: prepared data sets and the plan go in; one unchecked embedding per planned, uncorrected row comes out,
 * whoever made it: a method, a control, a foundation model, a user. A row that fails leaves a status file instead.
 */

include { EMBED_CELLS      } from '../../../modules/local/embed/cells'
include { IMPORT_EMBEDDING } from '../../../modules/local/import/embedding'
include { INTEGRATE_CELLS  } from '../../../modules/local/integrate/cells'
include { MERGE_SHARDS     } from '../../../modules/local/merge/shards'
include { SPLIT_CELLS      } from '../../../modules/local/split/cells'
include { stepSettings     } from '../utils_scfmbench'

workflow MAKE_EMBEDDINGS {
    take:
    ch_dataset        // channel: [ dataset, prepared, obs, pca, splits ]
    ch_plan           // channel: row of plan.tsv (map)
    ch_imports        // channel: [ dataset, name, file, obsm key ]
    ch_model_settings // channel: map: data set -> model -> settings
    options           // map: parameters

    main:
    ch_raw = ch_plan
        .filter { row -> row.correction == 'raw' && !row.status }
        .map { row -> [row.dataset, row + [id: "${row.dataset}.${row.embedding}".toString()]] }
        .combine(ch_dataset, by: 0)
        .branch { _dataset, meta, _prepared, _obs, _pca, _splits ->
            imported: meta.family == 'imported'
            model: meta.model
            method: true
        } // channels: [ dataset, meta, prepared, obs, pca, splits ]

    INTEGRATE_CELLS(
        ch_raw.method.map { _dataset, meta, prepared, obs, pca, _splits ->
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

    // models: shards as independent tasks, joined by cell id; one shard is the same path
    def apart = file("${projectDir}/assets/models.tsv").splitCsv(header: true, sep: '\t').collectEntries { row -> [row.name, row.cells_apart == 'true'] }
    SPLIT_CELLS(
        ch_raw.model.map { _dataset, meta, _prepared, obs, _pca, _splits -> [meta + [cells_apart: apart[meta.model]], obs] },
        stepSettings(options, 'split_cells.py', ['shard_cells']),
    )
    ch_shards = SPLIT_CELLS.out.shards.flatMap { meta, shards ->
        def list = shards instanceof List ? shards : [shards]
        list.collect { shard -> [meta.dataset, meta + [n_shards: list.size()], shard] }
    }
    EMBED_CELLS(
        ch_shards
            .combine(ch_dataset.map { dataset, prepared, _obs, _pca, _splits -> [dataset, prepared] }, by: 0)
            .combine(ch_model_settings)
            .map { dataset, meta, shard, prepared, model_settings ->
                def settings = stepSettings(
                    options,
                    'embed_cells.py',
                    ['on_method_error', 'precision', 'min_gene_overlap', 'chunk_cells', 'batch_tokens'],
                    ["scfm/models/${meta.model}/*.py"],
                )
                def own = [model_settings: model_settings[dataset]?.get(meta.model) ?: [:]]
                [meta, prepared, shard, file("${options.weights_dir}/${meta.model}"), settings + own]
            }
    )
    MERGE_SHARDS(
        EMBED_CELLS.out.shard
            .map { meta, shard -> [groupKey(meta, meta.n_shards), shard] }
            .groupTuple()
            .map { key, shards -> [key.target.dataset, key.target - key.target.subMap('n_shards', 'cells_apart'), shards.toSorted { shard -> shard.name }] }
            .combine(ch_dataset.map { dataset, _prepared, obs, _pca, _splits -> [dataset, obs] }, by: 0)
            .map { _dataset, meta, shards, obs -> [meta, shards, obs] },
        stepSettings(options, 'merge_shards.py', ['on_method_error']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    unchecked = INTEGRATE_CELLS.out.embedding.mix(IMPORT_EMBEDDING.out.embedding).mix(MERGE_SHARDS.out.embedding)
    status = INTEGRATE_CELLS.out.status.mix(IMPORT_EMBEDDING.out.status).mix(MERGE_SHARDS.out.status)
    history = INTEGRATE_CELLS.out.history

    emit:
    unchecked // channel: [ meta, parquet, sidecar ]
    status    // channel: status.json
    history   // channel: csv
}
