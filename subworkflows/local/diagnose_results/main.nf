/*
 * Contract: scored embeddings go in; a few of every data set are chosen, and what is left of the batch effect in each label, why, and
 * what correction cost comes out as tables. Nothing here changes a score.
 */

include { CHOOSE_EMBEDDINGS                              } from '../../../modules/local/choose/embeddings'
include { DIAGNOSE_EMBEDDING                             } from '../../../modules/local/diagnose/embedding'
include { DIAGNOSE_EMBEDDING as DIAGNOSE_EMBEDDING_ALONE } from '../../../modules/local/diagnose/embedding'
include { alone                                          } from '../utils_scfmbench/groups'
include { asGroup                                        } from '../utils_scfmbench/groups'
include { findPath                                       } from '../utils_scfmbench'
include { inOrder                                        } from '../utils_scfmbench'
include { ownRow                                         } from '../utils_scfmbench'
include { parseJson                                      } from '../utils_scfmbench'
include { stepSettings                                   } from '../utils_scfmbench'

workflow DIAGNOSE_RESULTS {
    take:
    samplesheet  // file: its paths are relative to it
    ch_neighbors // channel: [ meta, parquet, sidecar, knn ]
    ch_scores    // channel: scores.tsv
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_source    // channel: [ dataset, row, h5ad ]
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
            .join(ch_source)
            .map { dataset, tables, row, _h5ad -> [[id: dataset, dataset: dataset, row: ownRow(row)], inOrder(tables)] },
        files("${projectDir}/assets/{metrics,methods,models,corrections}.tsv") + files("${projectDir}/assets/schema_{metrics,methods,models,corrections}.json"),
        stepSettings(options, 'choose_embeddings.py', ['diagnose', 'metrics_profile', 'total_weights']),
    )

    ch_markers = ch_source.map { dataset, row, _h5ad -> [dataset, row.markers ? findPath(samplesheet, row.markers) : []] } // channel: [ dataset, markers or [] ]

    // embeddings of a data set share a task: its counts are read once; what a task leaves nothing of is run again alone
    ch_identified = ch_neighbors.map { meta, parquet, sidecar, knn -> [meta.id, meta, parquet, sidecar, knn] }
    ch_group = CHOOSE_EMBEDDINGS.out.chosen
        .flatMap { meta, chosen -> parseJson(chosen).embeddings.collect { name -> "${meta.dataset}.${name}".toString() } }
        .combine(ch_identified, by: 0)
        .combine(ch_scored, by: 0)
        .map { _id, meta, parquet, sidecar, knn, table -> [meta.dataset, [meta, parquet, sidecar, knn, table]] }
        .groupTuple()
        .flatMap { dataset, items ->
            items.toSorted { item -> item[0].id }.collate(atOnce(items)).withIndex(1).collect { group, number -> asGroup("${dataset}.${number}".toString(), group) }
        }

    // the same methods and corrections with other seeds, in which rare labels are looked for
    ch_seeds = CHOOSE_EMBEDDINGS.out.chosen
        .flatMap { meta, chosen -> parseJson(chosen).other_seeds.collect { name -> "${meta.dataset}.${name}".toString() } }
        .combine(ch_identified, by: 0)
        .map { _id, meta, parquet, sidecar, knn -> [meta.dataset, [parquet, sidecar, knn]] }
        .groupTuple()
        .map { dataset, items -> [dataset, items.collectMany { files -> files }.toSorted { file -> file.name }] }
    // its coordinates are those of the preparation, which every embedding is compared with
    ch_pca_knn = ch_neighbors
        .filter { meta, _parquet, _sidecar, _knn -> meta.method == 'pca' && meta.correction == 'raw' }
        .map { meta, _parquet, _sidecar, knn -> [meta.dataset, knn] }
    ch_files = ch_dataset
        .map { dataset, prepared, obs, pca, _splits -> [dataset, prepared, obs, pca] }
        .join(ch_markers)
        .join(ch_seeds, remainder: true)
        .join(ch_pca_knn, remainder: true)
        .filter { item -> item[1] != null }
        .map { dataset, prepared, obs, pca, markers, seeds, pca_knn -> [dataset, seeds ?: [], prepared, obs, pca, pca_knn ?: [], markers] }
    def tables = files("${projectDir}/assets/{programmes.tsv,schema_programmes.json,metrics.tsv,schema_metrics.json}")
    def diagnosis = stepSettings(
        options,
        'diagnose_embedding.py',
        ['on_method_error', 'diagnose_', 'harmony_', 'center_'],
        ['scfm/corrections/*.py', 'scfm/integration/harmony.py', 'scfm/metrics/*.py'],
    )
    DIAGNOSE_EMBEDDING(withFiles(ch_group, ch_files), tables, diagnosis)
    DIAGNOSE_EMBEDDING_ALONE(withFiles(alone(ch_group, DIAGNOSE_EMBEDDING.out.tables), ch_files), tables, diagnosis)

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    results = CHOOSE_EMBEDDINGS.out.chosen
        .map { _meta, chosen -> chosen }
        .mix(DIAGNOSE_EMBEDDING.out.status, DIAGNOSE_EMBEDDING_ALONE.out.status)
        .mix(DIAGNOSE_EMBEDDING.out.tables.mix(DIAGNOSE_EMBEDDING_ALONE.out.tables).map { item -> item.drop(1) })
        .flatten()
        .filter { file -> file.size() > 0 }

    emit:
    results // channel: file
}

// Embeddings that one task diagnoses, at most: of more than 20,000 cells one takes minutes, and reading the counts again seconds.
def atOnce(items) {
    return items.any { item -> (item[0].n_cells ?: 0) > 20000 } ? 1 : 12
}

// Append the files of its data set to every group.
def withFiles(ch_groups, ch_files) {
    return ch_groups
        .map { group -> [group[0].dataset] + group }
        .combine(ch_files, by: 0)
        .map { item -> item.drop(1) }
}
