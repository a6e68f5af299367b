/*
 * Contract: unchecked embeddings go in; every one passes the same validation gate, is corrected in each way asked for (and
 * passes the gate again), and is scored, probed and drawn. Nothing here depends on the method that made an embedding. Points of a sweep
 * are scored only, and leave as results.
 */

include { CORRECT_EMBEDDING                                } from '../../../modules/local/correct/embedding'
include { CORRECT_EMBEDDING as CORRECT_EMBEDDING_ALONE     } from '../../../modules/local/correct/embedding'
include { DRAW_UMAPS                                       } from '../../../modules/local/draw/umaps'
include { DRAW_UMAPS as DRAW_UMAPS_ALONE                   } from '../../../modules/local/draw/umaps'
include { FIND_NEIGHBORS                                   } from '../../../modules/local/find/neighbors'
include { FIND_NEIGHBORS as FIND_NEIGHBORS_ALONE           } from '../../../modules/local/find/neighbors'
include { LIST_COMMON                                      } from '../../../modules/local/list/common'
include { LIST_COMMON as LIST_HELD_OUT                     } from '../../../modules/local/list/common'
include { PROBE_EMBEDDING                                  } from '../../../modules/local/probe/embedding'
include { PROBE_EMBEDDING as PROBE_EMBEDDING_ALONE         } from '../../../modules/local/probe/embedding'
include { SCORE_COMMON                                     } from '../../../modules/local/score/common'
include { SCORE_COMMON as SCORE_COMMON_ALONE               } from '../../../modules/local/score/common'
include { SCORE_COMMON as SCORE_HELD_OUT                   } from '../../../modules/local/score/common'
include { SCORE_COMMON as SCORE_HELD_OUT_ALONE             } from '../../../modules/local/score/common'
include { SCORE_EMBEDDING                                  } from '../../../modules/local/score/embedding'
include { SCORE_EMBEDDING as SCORE_EMBEDDING_ALONE         } from '../../../modules/local/score/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_CORRECTED         } from '../../../modules/local/validate/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_CORRECTED_ALONE   } from '../../../modules/local/validate/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_UNCORRECTED       } from '../../../modules/local/validate/embedding'
include { VALIDATE_EMBEDDING as VALIDATE_UNCORRECTED_ALONE } from '../../../modules/local/validate/embedding'
include { alone                                            } from '../utils_scfmbench/groups'
include { asGroup                                          } from '../utils_scfmbench/groups'
include { asMeta                                           } from '../utils_scfmbench/groups'
include { groupsOf                                         } from '../utils_scfmbench/groups'
include { inGroups                                         } from '../utils_scfmbench/groups'
include { isPoint                                          } from '../utils_scfmbench/groups'
include { leftBy                                           } from '../utils_scfmbench/groups'
include { made                                             } from '../utils_scfmbench/groups'
include { membersOf                                        } from '../utils_scfmbench/groups'
include { singly                                           } from '../utils_scfmbench/groups'
include { withMembers                                      } from '../utils_scfmbench/groups'
include { parseJson                                        } from '../utils_scfmbench'
include { stepSettings                                     } from '../utils_scfmbench'

workflow EVALUATE_EMBEDDINGS {
    take:
    ch_unchecked // channel: [ meta, parquet, sidecar ]; 0 bytes where none could be made
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_plan      // channel: row of plan.tsv (map)
    options // map: parameters

    main:
    ch_obs = ch_dataset.map { dataset, _prepared, obs, _pca, _splits -> [dataset, obs] }
    ch_obs_pca = ch_dataset.map { dataset, _prepared, obs, pca, _splits -> [dataset, obs, pca] }
    def metrics = files("${projectDir}/assets/{metrics.tsv,schema_metrics.json}")
    // a task takes a group of small embeddings; what it leaves nothing of is run again alone (utils_scfmbench/groups.nf)

    def gate = stepSettings(options, 'validate_embedding.py', ['on_method_error'])
    ch_raw = withDataset(inGroups(ch_unchecked, groupsOf(ch_plan.filter { row -> row.correction == 'raw' })), ch_obs)
    VALIDATE_UNCORRECTED(ch_raw, gate)
    VALIDATE_UNCORRECTED_ALONE(alone(ch_raw, VALIDATE_UNCORRECTED.out.embedding), gate)
    ch_uncorrected = VALIDATE_UNCORRECTED.out.embedding.mix(VALIDATE_UNCORRECTED_ALONE.out.embedding)

    // one correction per planned row; the key is the whole identity, never the id alone
    ch_planned = ch_plan
        .filter { row -> row.correction != 'raw' && !row.status }
        .toList()
        .map { rows -> rows.groupBy { row -> [row.dataset, row.method, row.seed] } } // channel (value): map: identity -> rows
    def correction = stepSettings(options, 'correct_embedding.py', ['on_method_error'] + correctionParameters(), ['scfm/corrections/*.py'])
    ch_to_correct = withDataset(
        made(ch_uncorrected).combine(ch_planned).flatMap { group, parquets, sidecars, planned -> toCorrect([group, parquets, sidecars], planned) },
        ch_obs,
    )
    CORRECT_EMBEDDING(ch_to_correct, correction)
    CORRECT_EMBEDDING_ALONE(alone(ch_to_correct, CORRECT_EMBEDDING.out.embedding), correction)
    ch_corrected = CORRECT_EMBEDDING.out.embedding.mix(CORRECT_EMBEDDING_ALONE.out.embedding)

    ch_to_check = withDataset(made(ch_corrected), ch_obs)
    VALIDATE_CORRECTED(ch_to_check, gate)
    VALIDATE_CORRECTED_ALONE(alone(ch_to_check, VALIDATE_CORRECTED.out.embedding), gate)
    ch_validated = singly(ch_uncorrected.mix(VALIDATE_CORRECTED.out.embedding, VALIDATE_CORRECTED_ALONE.out.embedding))
    ch_embedding = ch_validated.filter { _meta, parquet, _sidecar -> parquet.size() > 0 } // channel: [ meta, parquet, sidecar ]

    // raw and corrected embeddings in their groups; what was not made is counted, and so are its corrections
    ch_not_made = ch_unchecked.filter { _meta, parquet, _sidecar -> parquet.size() == 0 }
    ch_no_correction = ch_not_made
        .mix(singly(ch_uncorrected).filter { _meta, parquet, _sidecar -> parquet.size() == 0 })
        .combine(ch_planned)
        .flatMap { meta, parquet, sidecar, planned -> correctionsOf(meta, planned).collect { row -> [asMeta(row), parquet, sidecar] } }
        .mix(singly(ch_corrected).filter { _meta, parquet, _sidecar -> parquet.size() == 0 })
    ch_group = inGroups(ch_validated.mix(ch_not_made, ch_no_correction), groupsOf(ch_plan)) // channel: [ group, parquets, sidecars ]

    def search = stepSettings(options, 'find_neighbors.py', ['on_method_error', 'neighbors_k', 'exact_neighbors_max_cells'])
    ch_to_search = withDataset(ch_group, ch_obs)
    FIND_NEIGHBORS(ch_to_search, search)
    FIND_NEIGHBORS_ALONE(alone(ch_to_search, FIND_NEIGHBORS.out.neighbors), search)
    ch_searched = leftBy(FIND_NEIGHBORS.out.neighbors.mix(FIND_NEIGHBORS_ALONE.out.neighbors)) // channel: [ group, parquets, sidecars, knns ]
    ch_neighbors = made(ch_searched)

    def scoring = stepSettings(
        options,
        'score_embedding.py',
        ['on_method_error', 'metrics_profile', 'exact_neighbors_max_cells'],
        ['scfm/metrics/*.py'],
    )
    ch_to_score = withDataset(ch_neighbors, ch_obs_pca)
    SCORE_EMBEDDING(ch_to_score, metrics, scoring)
    SCORE_EMBEDDING_ALONE(alone(ch_to_score, SCORE_EMBEDDING.out.tables), metrics, scoring)

    // further passes, which ranks are based on: the cells that all ranked embeddings have, where one lacks cells, and the held-out cells,
    // where a method was given the labels of the others
    ch_main = ch_embedding.filter { meta, _parquet, _sidecar -> !isPoint(meta) }
    def listing = stepSettings(options, 'list_common_cells.py', ['min_rank_coverage'])
    def scoring_again = stepSettings(
        options,
        'score_common_cells.py',
        ['on_method_error', 'metrics_profile', 'neighbors_k', 'exact_neighbors_max_cells'],
        ['scfm/metrics/*.py'],
    )
    def registries = files("${projectDir}/assets/{methods,corrections}.tsv") + files("${projectDir}/assets/schema_{methods,corrections}.json")
    LIST_COMMON(withDataset(ofDatasetsWith('lacks_cells', ch_main), ch_obs), registries, listing + [kind: 'common'])
    ch_to_score_common = withDataset(toScoreAgain(ch_group, LIST_COMMON.out.cells), ch_obs_pca)
    SCORE_COMMON(ch_to_score_common, metrics, scoring_again + [kind: 'common'])
    SCORE_COMMON_ALONE(alone(ch_to_score_common, SCORE_COMMON.out.scores), metrics, scoring_again + [kind: 'common'])

    LIST_HELD_OUT(withDataset(ofDatasetsWith('labels_seen', ch_embedding), ch_obs), registries, listing + [kind: 'held_out'])
    ch_to_score_held_out = withDataset(toScoreAgain(ch_group, LIST_HELD_OUT.out.cells), ch_obs_pca)
    SCORE_HELD_OUT(ch_to_score_held_out, metrics, scoring_again + [kind: 'held_out'])
    SCORE_HELD_OUT_ALONE(alone(ch_to_score_held_out, SCORE_HELD_OUT.out.scores), metrics, scoring_again + [kind: 'held_out'])

    def probing = stepSettings(options, 'probe_embedding.py', ['on_method_error', 'probe_', 'metrics_profile'])
    // probes need no neighbours but take them where they are; embeddings whose search was killed come last
    ch_to_probe = withDataset(
        noPoints(ch_searched.mix(notIn(ch_group, ch_searched))).filter { _group -> !options.skip_probing },
        ch_dataset.map { dataset, _prepared, obs, _pca, splits -> [dataset, obs, splits] },
    )
    PROBE_EMBEDDING(ch_to_probe, probing)
    PROBE_EMBEDDING_ALONE(alone(ch_to_probe, PROBE_EMBEDDING.out.probing), probing)

    def drawing = stepSettings(options, 'draw_umaps.py', ['on_method_error', 'umap_', 'centroid_maps'])
    ch_to_draw = withDataset(noPoints(ch_neighbors).filter { _group -> !options.skip_umap }, ch_obs)
    DRAW_UMAPS(ch_to_draw, drawing)
    DRAW_UMAPS_ALONE(alone(ch_to_draw, DRAW_UMAPS.out.umap), drawing)

    ch_tables = channel.empty().mix(
        singly(SCORE_EMBEDDING.out.tables.mix(SCORE_EMBEDDING_ALONE.out.tables)),
        singly(SCORE_COMMON.out.scores.mix(SCORE_COMMON_ALONE.out.scores)),
        singly(SCORE_HELD_OUT.out.scores.mix(SCORE_HELD_OUT_ALONE.out.scores)),
        singly(PROBE_EMBEDDING.out.probing.mix(PROBE_EMBEDDING_ALONE.out.probing)),
    )
    ch_status = channel.empty().mix(
        VALIDATE_UNCORRECTED.out.status,
        VALIDATE_UNCORRECTED_ALONE.out.status,
        CORRECT_EMBEDDING.out.status,
        CORRECT_EMBEDDING_ALONE.out.status,
        VALIDATE_CORRECTED.out.status,
        VALIDATE_CORRECTED_ALONE.out.status,
        FIND_NEIGHBORS.out.status,
        FIND_NEIGHBORS_ALONE.out.status,
        SCORE_EMBEDDING.out.status,
        SCORE_EMBEDDING_ALONE.out.status,
        SCORE_COMMON.out.status,
        SCORE_COMMON_ALONE.out.status,
        SCORE_HELD_OUT.out.status,
        SCORE_HELD_OUT_ALONE.out.status,
        PROBE_EMBEDDING.out.status,
        PROBE_EMBEDDING_ALONE.out.status,
        DRAW_UMAPS.out.status,
        DRAW_UMAPS_ALONE.out.status,
    )
    ch_results = ch_status
        .mix(ch_tables.flatMap { item -> item.drop(1) }.filter { table -> table.size() > 0 })
        .mix(LIST_COMMON.out.cells.mix(LIST_HELD_OUT.out.cells).map { _meta, _cells, facts -> facts })
        .mix(DRAW_UMAPS.out.centroid_maps, DRAW_UMAPS_ALONE.out.centroid_maps)
        .mix(ch_embedding.map { _meta, _parquet, sidecar -> sidecar })

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    embedding = ch_main
    neighbors = singly(ch_neighbors)
    scores = singly(SCORE_EMBEDDING.out.tables.mix(SCORE_EMBEDDING_ALONE.out.tables))
        .filter { meta, _table, _centroids -> !isPoint(meta) }
        .map { _meta, table, _centroids -> table }
        .filter { table -> table.size() > 0 }
    umap = singly(DRAW_UMAPS.out.umap.mix(DRAW_UMAPS_ALONE.out.umap)).filter { _meta, parquet -> parquet.size() > 0 }
    plots = DRAW_UMAPS.out.plots.mix(DRAW_UMAPS_ALONE.out.plots)
    results = ch_results

    emit:
    embedding // channel: [ meta, parquet, sidecar ], no points of a sweep
    neighbors // channel: [ meta, parquet, sidecar, knn ]
    scores    // channel: scores.tsv, no points of a sweep
    umap      // channel: [ meta, parquet ]
    plots     // channel: [ png, ... ]
    results   // channel: file or [ file, ... ]
}

// Groups without the points of a sweep.
def noPoints(ch_groups) {
    return withMembers(ch_groups) { item -> !isPoint(item[0]) }
}

// Prefixes of the parameters that corrections read, from the corrections table.
def correctionParameters() {
    return file("${projectDir}/assets/corrections.tsv").splitCsv(header: true, sep: '\t', charset: 'UTF-8').collect { row -> row.parameters }.findAll { prefix -> prefix }.unique()
}

// Rows of the plan that correct a raw embedding.
def correctionsOf(meta, planned) {
    return planned[[meta.dataset, meta.method, meta.seed]] ?: []
}

// A group of raw embeddings as the groups of its planned corrections, each with the raw tables they start from.
def toCorrect(group, planned) {
    return membersOf(group)
        .collectMany { meta, parquet, sidecar -> correctionsOf(meta, planned).collect { row -> [row, parquet, sidecar] } }
        .groupBy { item -> item[0].task_group }
        .collect { name, items ->
            def (meta, parquets, sidecars) = asGroup(name, items.collect { row, parquet, sidecar -> [asMeta(row), parquet, sidecar] })
            [meta, parquets.unique(), sidecars.unique()]
        }
}

// Embeddings of groups that a step has left nothing of, each as a group of one with no file of that step.
def notIn(ch_groups, ch_left) {
    return singly(ch_groups)
        .map { item -> [item[0].id, item] }
        .join(singly(ch_left).map { item -> [item[0].id, true] }, remainder: true)
        .filter { _id, item, left -> item != null && !left }
        .map { id, item, _left -> asGroup(id, [item]) + [[]] }
}

// The embeddings of every data set in which one starts a further pass, by its sidecar (scfm.metrics.common_cells): one that could be
// ranked lacks cells ('lacks_cells'), or was made with labels ('labels_seen').
def ofDatasetsWith(what, ch_embeddings) {
    return ch_embeddings
        .map { meta, parquet, sidecar -> [meta.dataset, [meta.id, parquet, sidecar, starts(what, parseJson(sidecar))]] }
        .groupTuple()
        .filter { _dataset, items -> items.any { item -> item[3] } }
        .map { dataset, items ->
            def sorted = items.toSorted { item -> item[0] }
            [[id: dataset, dataset: dataset], sorted.collect { item -> item[1] }, sorted.collect { item -> item[2] }]
        }
}

def starts(what, facts) {
    return what == 'labels_seen' ? facts.labels_seen : !facts.is_control && facts.cells_out < facts.cells_in
}

// The members of each group that a further pass scores, with its cells.
def toScoreAgain(ch_groups, ch_listed) {
    def ch_cells = ch_listed
        .filter { _meta, cells, _facts -> cells.size() > 0 }
        .map { meta, cells, facts -> [meta.dataset, cells, parseJson(facts).embeddings] }
    return ch_groups
        .map { group -> [group[0].dataset, group] }
        .combine(ch_cells, by: 0)
        .map { _dataset, group, cells, names -> [group[0].id, membersOf(group).findAll { item -> item[0].embedding in names }, cells] }
        .filter { _id, items, _cells -> items }
        .map { id, items, cells -> asGroup(id, items) + [cells] }
}

// Append a data set's files to everything about one of its embeddings.
def withDataset(ch_items, ch_files) {
    return ch_items
        .map { item -> [item[0].dataset] + item }
        .combine(ch_files, by: 0)
        .map { item -> item.drop(1) }
}
