/*
 * Contract: scored embeddings go in; a few of every data set are chosen, and what is left of the batch effect in each label, why, and
 * what correction cost comes out as tables. Nothing here changes a score.
 */

include { CHOOSE_EMBEDDINGS  } from '../../../modules/local/choose/embeddings'
include { DIAGNOSE_EMBEDDING } from '../../../modules/local/diagnose/embedding'
include { findPath           } from '../utils_scfmbench'
include { parseJson          } from '../utils_scfmbench'
include { stepSettings       } from '../utils_scfmbench'

workflow DIAGNOSE_RESULTS {
    take:
    samplesheet  // file: its paths are relative to it
    ch_neighbors // channel: [ meta, parquet, sidecar, knn ]
    ch_scores    // channel: scores.tsv
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_check     // channel: [ datasets.json, plan.tsv, input_warnings.json ]
    options      // map: parameters

    main:
    ch_scored = ch_scores
        .flatten()
        .filter { _table -> !options.skip_diagnosis }
        .map { table -> [table.name - '.scores.tsv', table] } // channel: [ id, scores ]

    CHOOSE_EMBEDDINGS(
        ch_scored
            .map { id, table -> [id.tokenize('.')[0], table] }
            .groupTuple()
            .map { dataset, tables -> [[id: dataset, dataset: dataset], tables.toSorted { table -> table.name }] },
        ch_check.map { datasets, _plan, _messages -> datasets },
        files("${projectDir}/assets/{metrics,methods,models,corrections}.tsv") + files("${projectDir}/assets/schema_{metrics,methods,models,corrections}.json"),
        stepSettings(options, 'choose_embeddings.py', ['diagnose', 'metrics_profile', 'total_weights']),
    )

    ch_markers = ch_check
        .flatMap { datasets, _plan, _messages -> parseJson(datasets) }
        .map { row -> [row.dataset, row.markers ? findPath(samplesheet, row.markers) : []] } // channel: [ dataset, markers or [] ]

    // embeddings of a data set share a task, up to twelve: its counts are read once
    ch_chosen = CHOOSE_EMBEDDINGS.out.chosen
        .flatMap { meta, chosen -> parseJson(chosen).embeddings.collect { name -> "${meta.dataset}.${name}".toString() } }
        .combine(ch_neighbors.map { meta, parquet, sidecar, knn -> [meta.id, meta.subMap('dataset', 'n_cells', 'n_genes'), parquet, sidecar, knn] }, by: 0)
        .combine(ch_scored, by: 0)
        .map { id, about, parquet, sidecar, knn, table -> [about, [id, parquet, sidecar, knn, table]] }
        .groupTuple()
        .flatMap { about, items ->
            items.toSorted { item -> item[0] }.collate(12).withIndex(1).collect { group, number ->
                [about.dataset, about + [id: "${about.dataset}.${number}".toString()]] + (1..4).collect { place -> group.collect { item -> item[place] } }
            }
        }
    DIAGNOSE_EMBEDDING(
        ch_chosen
            .combine(ch_dataset.map { dataset, prepared, obs, pca, _splits -> [dataset, prepared, obs, pca] }, by: 0)
            .combine(ch_markers, by: 0)
            .map { item -> item.drop(1) },
        files("${projectDir}/assets/{programmes.tsv,schema_programmes.json}"),
        stepSettings(
            options,
            'diagnose_embedding.py',
            ['on_method_error', 'diagnose_', 'harmony_', 'center_'],
            ['scfm/corrections/*.py', 'scfm/integration/harmony.py'],
        ),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    results = CHOOSE_EMBEDDINGS.out.chosen
        .map { _meta, chosen -> chosen }
        .mix(DIAGNOSE_EMBEDDING.out.status)
        .mix(DIAGNOSE_EMBEDDING.out.residual)
        .mix(DIAGNOSE_EMBEDDING.out.clusters)
        .mix(DIAGNOSE_EMBEDDING.out.markers)
        .mix(DIAGNOSE_EMBEDDING.out.rare)
        .mix(DIAGNOSE_EMBEDDING.out.overcorrection)
        .flatten()
        .filter { file -> file.size() > 0 }

    emit:
    results // channel: file
}
