/*
 * Contract: references and new cells go in; tables about these cells come out. A reference is made here of a data set of this run, or it is
 * the folder of --reference. It is not changed: cells are placed by what the preparation and the methods have left, and a model learns weights
 * of the new batches only.
 */

include { MAP_QUERY      } from '../../../modules/local/map/query'
include { SAVE_REFERENCE } from '../../../modules/local/save/reference'
include { TRAIN_QUERY    } from '../../../modules/local/train/query'
include { findPath       } from '../utils_scfmbench'
include { inOrder        } from '../utils_scfmbench'
include { ownRow         } from '../utils_scfmbench'
include { parseJson      } from '../utils_scfmbench'
include { stepSettings   } from '../utils_scfmbench'

workflow MAP_QUERIES {
    take:
    samplesheet  // file: CSV as given; its paths are relative to it
    ch_source    // channel: [ dataset, row, h5ad ]
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_model     // channel: [ meta, folder ], of methods that new cells can be mapped to
    ch_embedding // channel: [ meta, parquet, sidecar ]
    options      // map: parameters

    main:
    // embeddings of the first seed with what their methods left, by data set
    def seed = options.seeds.toString().tokenize(',')[0].trim()
    ch_left = ch_model
        .filter { meta, _folder -> meta.seed.toString() == seed }
        .map { meta, folder -> [meta.id, meta.dataset, folder] }
        .join(ch_embedding.map { meta, parquet, sidecar -> [meta.id, parquet, sidecar] })
        .map { _id, dataset, folder, parquet, sidecar -> [dataset, parquet, sidecar, folder] }
        .groupTuple()
        .map { dataset, parquets, sidecars, folders -> [dataset, [inOrder(parquets + sidecars), inOrder(folders)]] }
    SAVE_REFERENCE(
        ch_source
            .filter { _dataset, row, _h5ad -> row.query || options.save_reference }
            .map { dataset, row, _h5ad -> [dataset, ownRow(row)] }
            .join(ch_dataset)
            .join(ch_left, remainder: true)
            .filter { item -> item[1] != null }
            .map { dataset, row, prepared, obs, pca, _splits, left ->
                [[id: dataset, dataset: dataset, row: row], prepared, obs, pca, left ? left[0] : [], left ? left[1] : []]
            },
        stepSettings(options, 'save_reference.py', ['on_method_error']),
    )

    // new cells with their reference: the folder of an earlier run, or the data set whose row names them
    ch_query = options.reference
        ? ch_source.map { dataset, row, h5ad -> [[id: dataset, dataset: dataset, row: ownRow(row, ['query'])], h5ad, findPath(samplesheet, options.reference)] }
        : SAVE_REFERENCE.out.reference
            .filter { _meta, folder -> folder.resolve('reference.json').exists() }
            .map { meta, folder -> [meta.dataset, folder] }
            .join(ch_source.filter { _dataset, row, _h5ad -> row.query })
            .map { dataset, folder, row, _h5ad -> [[id: dataset, dataset: dataset, row: ownRow(row, ['query'])], findPath(samplesheet, row.query), folder] }

    TRAIN_QUERY(
        ch_query.flatMap { meta, query, folder -> trainedMappings(folder).collect { name -> [meta + [mapping: name], query, folder] } },
        stepSettings(options, 'train_query.py', ['on_method_error', 'query_max_epochs', 'query_min_genes', 'round_counts', 'missing_values']),
    )
    ch_placed = TRAIN_QUERY.out.placed
        .map { meta, files -> [meta.dataset, files] }
        .groupTuple()
        .map { dataset, files -> [dataset, [inOrder(files.flatten())]] }
    MAP_QUERY(
        ch_query
            .map { meta, query, folder -> [meta.dataset, meta, query, folder] }
            .join(ch_placed, remainder: true)
            .filter { item -> item[1] != null }
            .map { _dataset, meta, query, folder, placed -> [meta, query, folder, placed ? placed[0] : []] },
        stepSettings(options, 'map_query.py', ['on_method_error', 'query_', 'center_', 'round_counts', 'missing_values']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    results = MAP_QUERY.out.query.filter { table -> table.size() > 0 }.mix(MAP_QUERY.out.status, TRAIN_QUERY.out.status, SAVE_REFERENCE.out.status)

    emit:
    results // channel: file
}

// Mappings of a reference for which a model is trained on the new cells.
def trainedMappings(folder) {
    return parseJson(folder.resolve('reference.json')).mappings.keySet().intersect(['scvi', 'scanvi']).toSorted()
}
