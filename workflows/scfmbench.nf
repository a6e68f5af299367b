/*
 * Samplesheet in, one report out: prepare every data set, make its embeddings, validate, correct, score and probe them,
 * diagnose a few, and report.
 */

include { FETCH_DATA          } from '../subworkflows/local/fetch_data'
include { PREPARE_DATA        } from '../subworkflows/local/prepare_data'
include { MAKE_EMBEDDINGS     } from '../subworkflows/local/make_embeddings'
include { COMPARE_BIOLOGY     } from '../subworkflows/local/compare_biology'
include { EVALUATE_EMBEDDINGS } from '../subworkflows/local/evaluate_embeddings'
include { DIAGNOSE_RESULTS    } from '../subworkflows/local/diagnose_results'
include { MAP_QUERIES         } from '../subworkflows/local/map_queries'
include { REPORT_RESULTS      } from '../subworkflows/local/report_results'
include { mergeVersions       } from '../subworkflows/local/utils_scfmbench'
include { ownVersions         } from '../subworkflows/local/utils_scfmbench'
include { readYaml            } from '../subworkflows/local/utils_scfmbench'
include { toYaml              } from '../subworkflows/local/utils_scfmbench'

workflow SCFMBENCH {
    take:
    samplesheet // file: CSV, one row per data set
    options     // map: parameters

    main:
    FETCH_DATA(samplesheet, options)

    // --fetch_only: what was downloaded stays in --data_dir, and the next run finds it there
    ch_report = channel.empty()
    ch_tables = channel.empty()
    ch_late = channel.empty()
    ch_versions = channel.topic('versions').map { yaml -> readYaml(yaml) }.mix(FETCH_DATA.out.versions)
    if (!options.fetch_only) {
        PREPARE_DATA(samplesheet, FETCH_DATA.out.input, options)

        MAKE_EMBEDDINGS(
            PREPARE_DATA.out.dataset,
            PREPARE_DATA.out.plan,
            PREPARE_DATA.out.imports,
            PREPARE_DATA.out.model_settings,
            options,
        )

        EVALUATE_EMBEDDINGS(
            MAKE_EMBEDDINGS.out.unchecked,
            PREPARE_DATA.out.dataset,
            PREPARE_DATA.out.plan,
            options,
        )

        COMPARE_BIOLOGY(
            samplesheet,
            PREPARE_DATA.out.check,
            PREPARE_DATA.out.dataset,
            PREPARE_DATA.out.design,
            MAKE_EMBEDDINGS.out.model,
            EVALUATE_EMBEDDINGS.out.embedding,
            options,
        )

        MAP_QUERIES(
            samplesheet,
            PREPARE_DATA.out.source,
            PREPARE_DATA.out.dataset,
            MAKE_EMBEDDINGS.out.mappable,
            EVALUATE_EMBEDDINGS.out.embedding,
            options,
        )

        DIAGNOSE_RESULTS(
            samplesheet,
            EVALUATE_EMBEDDINGS.out.neighbors,
            EVALUATE_EMBEDDINGS.out.scores,
            PREPARE_DATA.out.dataset,
            PREPARE_DATA.out.source,
            options,
        )

        REPORT_RESULTS(
            PREPARE_DATA.out.check,
            PREPARE_DATA.out.dataset,
            EVALUATE_EMBEDDINGS.out.embedding,
            EVALUATE_EMBEDDINGS.out.umap,
            PREPARE_DATA.out.facts
                .mix(FETCH_DATA.out.provenance)
                .mix(MAKE_EMBEDDINGS.out.status)
                .mix(EVALUATE_EMBEDDINGS.out.results)
                .mix(COMPARE_BIOLOGY.out.results)
                .mix(MAP_QUERIES.out.results)
                .mix(DIAGNOSE_RESULTS.out.results),
            MAKE_EMBEDDINGS.out.history,
            EVALUATE_EMBEDDINGS.out.plots,
            ch_versions.toList().map { items -> mergeVersions(items) + ownVersions() },
            options,
        )
        ch_report = REPORT_RESULTS.out.report
        ch_tables = REPORT_RESULTS.out.tables
        ch_late = REPORT_RESULTS.out.versions.map { yaml -> readYaml(yaml) }
    }

    ch_versions
        .mix(ch_late)
        .toList()
        .map { items -> toYaml(mergeVersions(items) + ownVersions()) }
        .collectFile(name: 'scfmbench_software_versions.yml', storeDir: "${options.outdir}/pipeline_info")

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    report = ch_report
    tables = ch_tables

    emit:
    report // channel: html
    tables // channel: directory
}
