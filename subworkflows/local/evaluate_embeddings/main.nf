/*
 * Contract: unchecked embeddings go in; every one passes the same validation gate, is corrected in each way asked for (and
 * passes the gate again), and is scored, probed and drawn. Nothing here depends on the method that made an embedding.
 */

include { CORRECT_EMBEDDING                          } from '../../../modules/local/correct/embedding'
include { DRAW_UMAPS                                 } from '../../../modules/local/draw/umaps'
include { FIND_NEIGHBORS                             } from '../../../modules/local/find/neighbors'
include { LIST_COMMON                                } from '../../../modules/local/list/common'
include { PROBE_EMBEDDING                            } from '../../../modules/local/probe/embedding'
include { SCORE_COMMON                               } from '../../../modules/local/score/common'
include { SCORE_EMBEDDING                            } from '../../../modules/local/score/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_CORRECTED   } from '../../../modules/local/validate/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_UNCORRECTED } from '../../../modules/local/validate/embedding'
include { parseJson                                  } from '../utils_scfmbench'
include { stepSettings                               } from '../utils_scfmbench'

workflow EVALUATE_EMBEDDINGS {
    take:
    ch_unchecked // channel: [ meta, parquet, sidecar ]
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_plan      // channel: row of plan.tsv (map)
    options // map: parameters

    main:
    def gate = stepSettings(options, 'validate_embedding.py', ['on_method_error'])
    ch_obs = ch_dataset.map { dataset, _prepared, obs, _pca, _splits -> [dataset, obs] }

    VALIDATE_UNCORRECTED(withDataset(ch_unchecked, ch_obs), gate)
    ch_uncorrected = made(VALIDATE_UNCORRECTED.out.embedding)

    // one correction per planned row; the key is the whole identity, never the id alone
    ch_planned = ch_plan
        .filter { row -> row.correction != 'raw' && !row.status }
        .map { row -> [[row.dataset, row.method, row.seed], row + [id: "${row.dataset}.${row.embedding}".toString()]] }
    ch_to_correct = ch_uncorrected
        .map { meta, parquet, sidecar -> [[meta.dataset, meta.method, meta.seed], parquet, sidecar] }
        .combine(ch_planned, by: 0)
        .map { _key, parquet, sidecar, meta -> [meta, parquet, sidecar] }

    CORRECT_EMBEDDING(
        withDataset(ch_to_correct, ch_obs),
        stepSettings(options, 'correct_embedding.py', ['on_method_error'] + correctionParameters(), ['scfm/corrections/*.py']),
    )
    VALIDATE_CORRECTED(withDataset(made(CORRECT_EMBEDDING.out.embedding), ch_obs), gate)

    ch_embedding = ch_uncorrected.mix(made(VALIDATE_CORRECTED.out.embedding)) // channel: [ meta, parquet, sidecar ]

    FIND_NEIGHBORS(
        withDataset(ch_embedding, ch_obs),
        stepSettings(options, 'find_neighbors.py', ['on_method_error', 'neighbors_k', 'exact_neighbors_max_cells']),
    )
    ch_neighbors = made(FIND_NEIGHBORS.out.neighbors)

    SCORE_EMBEDDING(
        withDataset(ch_neighbors, ch_dataset.map { dataset, _prepared, obs, pca, _splits -> [dataset, obs, pca] }),
        files("${projectDir}/assets/{metrics.tsv,schema_metrics.json}"),
        stepSettings(options, 'score_embedding.py', ['on_method_error', 'metrics_profile', 'exact_neighbors_max_cells'], ['scfm/metrics/*.py']),
    )

    // the second pass: where an embedding that could be ranked lacks cells, ranks are based on the cells that all of them have
    LIST_COMMON(
        withDataset(
            ch_embedding
                .map { meta, parquet, sidecar -> [meta.dataset, [meta.id, parquet, sidecar, lacksCells(sidecar)]] }
                .groupTuple()
                .filter { _dataset, items -> items.any { item -> item[3] } }
                .map { dataset, items ->
                    def sorted = items.toSorted { item -> item[0] }
                    [[id: dataset, dataset: dataset], sorted.collect { item -> item[1] }, sorted.collect { item -> item[2] }]
                },
            ch_obs,
        ),
        files("${projectDir}/assets/{methods,corrections}.tsv") + files("${projectDir}/assets/schema_{methods,corrections}.json"),
        stepSettings(options, 'list_common_cells.py', ['min_rank_coverage']),
    )
    ch_common = LIST_COMMON.out.cells
        .filter { _meta, cells, _facts -> cells.size() > 0 }
        .flatMap { meta, cells, facts -> parseJson(facts).embeddings.collect { name -> ["${meta.dataset}.${name}".toString(), cells] } }
        .combine(ch_embedding.map { meta, parquet, sidecar -> [meta.id, meta, parquet, sidecar] }, by: 0)
        .map { _id, cells, meta, parquet, sidecar -> [meta, parquet, sidecar, cells] }
    SCORE_COMMON(
        withDataset(ch_common, ch_dataset.map { dataset, _prepared, obs, pca, _splits -> [dataset, obs, pca] }),
        files("${projectDir}/assets/{metrics.tsv,schema_metrics.json}"),
        stepSettings(
            options,
            'score_common_cells.py',
            ['on_method_error', 'metrics_profile', 'neighbors_k', 'exact_neighbors_max_cells'],
            ['scfm/metrics/*.py'],
        ),
    )

    PROBE_EMBEDDING(
        withDataset(
            ch_embedding.filter { _item -> !options.skip_probing },
            ch_dataset.map { dataset, _prepared, obs, _pca, splits -> [dataset, obs, splits] },
        ),
        stepSettings(options, 'probe_embedding.py', ['on_method_error', 'probe_', 'metrics_profile']),
    )

    // UMAP takes longer to compile than to draw small data: whole families of a data set share a task, up to twelve embeddings
    DRAW_UMAPS(
        withDataset(
            ch_neighbors
                .filter { _item -> !options.skip_umap }
                .map { meta, parquet, sidecar, knn -> [meta.dataset, [meta.family, meta.id, parquet, sidecar, knn]] }
                .groupTuple()
                .flatMap { dataset, items ->
                    inBatches(items).collect { batch ->
                        def families = batch.collect { item -> item[0] }.unique()
                        def meta = [id: "${dataset}.${families.join('_')}".toString(), dataset: dataset]
                        [meta, batch.collect { item -> item[2] }, batch.collect { item -> item[3] }, batch.collect { item -> item[4] }]
                    }
                },
            ch_obs,
        ),
        stepSettings(options, 'draw_umaps.py', ['on_method_error', 'umap_', 'centroid_maps']),
    )

    ch_results = VALIDATE_UNCORRECTED.out.status
        .mix(VALIDATE_CORRECTED.out.status)
        .mix(CORRECT_EMBEDDING.out.status)
        .mix(FIND_NEIGHBORS.out.status)
        .mix(SCORE_EMBEDDING.out.status)
        .mix(SCORE_EMBEDDING.out.scores.mix(SCORE_EMBEDDING.out.centroids).filter { table -> table.size() > 0 })
        .mix(LIST_COMMON.out.cells.map { _meta, _cells, facts -> facts })
        .mix(SCORE_COMMON.out.status)
        .mix(SCORE_COMMON.out.scores.filter { table -> table.size() > 0 })
        .mix(PROBE_EMBEDDING.out.status)
        .mix(PROBE_EMBEDDING.out.probing.filter { table -> table.size() > 0 })
        .mix(DRAW_UMAPS.out.status)
        .mix(DRAW_UMAPS.out.centroid_maps)
        .mix(ch_embedding.map { _meta, _parquet, sidecar -> sidecar })

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    embedding = ch_embedding
    umap = DRAW_UMAPS.out.umap
    plots = DRAW_UMAPS.out.plots
    results = ch_results

    emit:
    embedding // channel: [ meta, parquet, sidecar ]
    umap      // channel: [ meta, parquet ]
    plots     // channel: [ png, ... ]
    results   // channel: file
}

// Prefixes of the parameters that corrections read, from the corrections table.
def correctionParameters() {
    return file("${projectDir}/assets/corrections.tsv").splitCsv(header: true, sep: '\t').collect { row -> row.parameters }.findAll { prefix -> prefix }.unique()
}

// Embeddings of one data set, [ family, id, ... ] each, in lists of whole families: as many as make twelve embeddings, or one.
def inBatches(items) {
    def families = items.toSorted { item -> item[0] + ' ' + item[1] }.groupBy { item -> item[0] }.values()
    return families.inject([]) { batches, family ->
        batches && batches.last().size() + family.size() <= 12
            ? batches.init() + [batches.last() + family]
            : batches + [family]
    }
}

// Items whose last file the step has made: one that failed leaves its main outputs with 0 bytes, and its reason in the status.
def made(ch_items) {
    return ch_items.filter { item -> item.last().size() > 0 }
}

// Whether an embedding that could be ranked lacks cells of its data set, by its sidecar (scfm.metrics.common_cells.lacks_cells).
def lacksCells(sidecar) {
    def facts = parseJson(sidecar)
    return !facts.is_control && facts.cells_out < facts.cells_in
}

// Append a data set's files to everything about one of its embeddings.
def withDataset(ch_items, ch_files) {
    return ch_items
        .map { item -> [item[0].dataset] + item }
        .combine(ch_files, by: 0)
        .map { item -> item.drop(1) }
}
