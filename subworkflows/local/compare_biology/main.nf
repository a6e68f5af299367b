/*
 * Contract: prepared data sets, their designs and their embeddings go in; tables about biology come out: conditions compared inside
 * labels, where a data set has a condition, and evidence from outside of the embeddings, where the samplesheet names some.
 */

include { COMPARE_CONDITIONS } from '../../../modules/local/compare/conditions'
include { RELATE_BIOLOGY     } from '../../../modules/local/relate/biology'
include { findPath           } from '../utils_scfmbench'
include { parseJson          } from '../utils_scfmbench'
include { stepSettings       } from '../utils_scfmbench'

workflow COMPARE_BIOLOGY {
    take:
    samplesheet  // file: CSV as given; its paths are relative to it
    ch_check     // channel: [ datasets.json, plan.tsv, input_warnings.json ]
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_design    // channel: [ dataset, design.json ]
    ch_model     // channel: [ meta, folder ]
    ch_embedding // channel: [ meta, parquet, sidecar ]
    options      // map: parameters

    main:
    ch_row = ch_check
        .filter { _item -> !options.skip_diagnosis }
        .flatMap { datasets, _plan, _messages -> parseJson(datasets) }
        .map { row -> [row.dataset, row] }
        .join(ch_dataset.map { dataset, prepared, obs, _pca, _splits -> [dataset, prepared, obs] }) // channel: [ dataset, row, prepared, obs ]

    // the scVI model of the first seed, where the run has one
    def seed = options.seeds.toString().tokenize(',')[0].trim()
    ch_trained = ch_model
        .filter { meta, _folder -> meta.seed.toString() == seed }
        .map { meta, folder -> [meta.id, meta.dataset, folder] }
        .join(ch_embedding.map { meta, _parquet, sidecar -> [meta.id, sidecar] })
        .map { _id, dataset, folder, sidecar -> [dataset, [folder, sidecar]] }
    COMPARE_CONDITIONS(
        ch_row
            .filter { _dataset, row, _prepared, _obs -> row.condition_key }
            .join(ch_design)
            .join(ch_trained, remainder: true)
            .filter { item -> item[1] != null }
            .map { dataset, row, prepared, obs, design, trained ->
                [[id: dataset, dataset: dataset] + row.subMap('n_cells', 'n_genes'), prepared, obs, design, trained ? trained[0] : [], trained ? trained[1] : []]
            },
        stepSettings(options, 'compare_conditions.py', ['on_method_error', 'de_', 'seeds'], ['scfm/integration/scvi.py']),
    )

    // clinical fields are related to the clusters of every uncorrected embedding of the first seed that is no control
    ch_clustered = ch_embedding
        .filter { meta, _parquet, _sidecar -> meta.family != 'control' && meta.correction == 'raw' && meta.seed.toString() == seed }
        .map { meta, parquet, _sidecar -> [meta.dataset, parquet] }
        .groupTuple()
        .map { dataset, parquets -> [dataset, parquets.toSorted { parquet -> parquet.name }] }
    RELATE_BIOLOGY(
        ch_row
            .filter { _dataset, row, _prepared, _obs -> row.gmt || row.network || row.modality_keys || row.clinical_keys }
            .join(ch_clustered, remainder: true)
            .filter { item -> item[1] != null }
            .map { dataset, row, prepared, obs, parquets ->
                def given = [row.gmt, row.network].collect { text -> text ? findPath(samplesheet, text) : [] }
                [[id: dataset, dataset: dataset] + row.subMap('n_cells', 'n_genes'), prepared, obs, given[0], given[1], row.clinical_keys ? (parquets ?: []) : []]
            },
        stepSettings(options, 'relate_biology.py', ['on_method_error', 'orthogonal_']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    results = channel.empty()
        .mix(COMPARE_CONDITIONS.out.comparison, COMPARE_CONDITIONS.out.genes, RELATE_BIOLOGY.out.evidence)
        .filter { table -> table.size() > 0 }
        .mix(COMPARE_CONDITIONS.out.status, RELATE_BIOLOGY.out.status)

    emit:
    results // channel: file
}
