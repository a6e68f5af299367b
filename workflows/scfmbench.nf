/*
 * Samplesheet in, one report out: prepare every data set, make its embeddings, pass them through the one door,
 * correct, score and probe them, and tell the story.
 */

include { FETCH_DATA          } from '../subworkflows/local/fetch_data'
include { PREPARE_DATA        } from '../subworkflows/local/prepare_data'
include { MAKE_EMBEDDINGS     } from '../subworkflows/local/make_embeddings'
include { EVALUATE_EMBEDDINGS } from '../subworkflows/local/evaluate_embeddings'
include { REPORT_RESULTS      } from '../subworkflows/local/report_results'

workflow SCFMBENCH {
    take:
    samplesheet // file: CSV, one row per data set
    options     // map: parameters

    main:
    FETCH_DATA(samplesheet, options)

    // --fetch_only: what was downloaded stays in --data_dir, and the next run finds it there
    ch_report = channel.empty()
    ch_tables = channel.empty()
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

        REPORT_RESULTS(
            PREPARE_DATA.out.check,
            PREPARE_DATA.out.dataset,
            EVALUATE_EMBEDDINGS.out.embedding,
            EVALUATE_EMBEDDINGS.out.umap,
            PREPARE_DATA.out.facts
                .mix(FETCH_DATA.out.provenance)
                .mix(MAKE_EMBEDDINGS.out.status)
                .mix(EVALUATE_EMBEDDINGS.out.results),
            MAKE_EMBEDDINGS.out.history,
            EVALUATE_EMBEDDINGS.out.plots,
            options,
        )
        ch_report = REPORT_RESULTS.out.report
        ch_tables = REPORT_RESULTS.out.tables
    }

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    report = ch_report
    tables = ch_tables

    emit:
    report // channel: html
    tables // channel: directory
}
