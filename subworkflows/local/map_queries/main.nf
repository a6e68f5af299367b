/*
 * Contract: prepared data sets whose row names new cells go in; tables about these cells come out. The reference is not changed, and
 * nothing is trained: cells are placed by what the preparation and Harmony have left.
 */

include { MAP_QUERY    } from '../../../modules/local/map/query'
include { findPath     } from '../utils_scfmbench'
include { parseJson    } from '../utils_scfmbench'
include { stepSettings } from '../utils_scfmbench'

workflow MAP_QUERIES {
    take:
    samplesheet  // file: CSV as given; its paths are relative to it
    ch_check     // channel: [ datasets.json, plan.tsv, input_warnings.json ]
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_harmony   // channel: [ meta, folder ]
    ch_embedding // channel: [ meta, parquet, sidecar ]
    options      // map: parameters

    main:
    // Harmony's embedding of the first seed, with what it left, where the run has one
    def seed = options.seeds.toString().tokenize(',')[0].trim()
    ch_corrected = ch_harmony
        .filter { meta, _folder -> meta.seed.toString() == seed }
        .map { meta, folder -> [meta.id, meta.dataset, folder] }
        .join(ch_embedding.map { meta, parquet, _sidecar -> [meta.id, parquet] })
        .map { _id, dataset, folder, parquet -> [dataset, [parquet, folder]] }
    MAP_QUERY(
        ch_check
            .flatMap { datasets, _plan, _messages -> parseJson(datasets) }
            .filter { row -> row.query }
            .map { row -> [row.dataset, row] }
            .join(ch_dataset)
            .join(ch_corrected, remainder: true)
            .filter { item -> item[1] != null }
            .map { dataset, row, prepared, obs, pca, _splits, corrected ->
                def given = corrected ?: [[], []]
                [[id: dataset, dataset: dataset], findPath(samplesheet, row.query), prepared, obs, pca, given[0], given[1]]
            },
        ch_check.map { datasets, _plan, _messages -> datasets },
        stepSettings(options, 'map_query.py', ['on_method_error', 'query_', 'center_', 'round_counts', 'missing_values']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    results = MAP_QUERY.out.query.filter { table -> table.size() > 0 }.mix(MAP_QUERY.out.status)

    emit:
    results // channel: file
}
