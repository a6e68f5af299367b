/*
 * Contract: everything the steps left goes in; tidy tables, one AnnData per data set and one report come out.
 * The last process fails when anything is failed or unexplained, after the report is written, and with it the run.
 */

include { BUILD_REPORT    } from '../../../modules/local/build/report'
include { CHECK_VERDICT   } from '../../../modules/local/check/verdict'
include { COLLECT_RESULTS } from '../../../modules/local/collect/results'
include { MULTIQC         } from '../../../modules/local/multiqc'
include { WRITE_DATASET   } from '../../../modules/local/write/dataset'
include { codeDigest      } from '../utils_scfmbench'
include { inOrder         } from '../utils_scfmbench'
include { stepSettings    } from '../utils_scfmbench'

workflow REPORT_RESULTS {
    take:
    ch_check     // channel: [ datasets.json, plan.tsv, input_warnings.json ]
    ch_dataset   // channel: [ dataset, prepared, obs, pca, splits ]
    ch_embedding // channel: [ meta, parquet, sidecar ]
    ch_umap      // channel: [ meta, parquet ]
    ch_results   // channel: file
    ch_history   // channel: csv
    ch_plots     // channel: [ png, ... ]
    ch_versions  // channel (value): map: process -> package -> version, of every step before the report
    options      // map: parameters

    main:
    // an embedding's tables, its sidecars and its data set's UMAPs, each in the order of their names
    ch_embeddings = ch_embedding
        .map { meta, parquet, sidecar -> [meta.dataset, meta.subMap('n_cells', 'n_genes'), parquet, sidecar] }
        .groupTuple()
        .map { dataset, sizes, parquets, sidecars -> [dataset, sizes.first(), inOrder(parquets), inOrder(sidecars)] }
    ch_umaps = ch_umap.map { meta, parquet -> [meta.dataset, parquet] }.groupTuple()
    WRITE_DATASET(
        ch_dataset
            .map { dataset, prepared, _obs, _pca, _splits -> [dataset, prepared] }
            .combine(ch_embeddings, by: 0)
            .join(ch_umaps, by: 0, remainder: true)
            .filter { item -> item[1] != null }
            .map { dataset, prepared, sizes, parquets, sidecars, umaps -> [[id: dataset, dataset: dataset] + sizes, prepared, parquets, sidecars, inOrder((umaps ?: []).flatten())] },
        stepSettings(options, 'write_dataset_h5ad.py', []),
    )

    ch_files = byName(ch_results)
    COLLECT_RESULTS(
        ch_check,
        ch_files,
        files("${projectDir}/assets/{methods,metrics,models,strengths,tables}.tsv") + files("${projectDir}/assets/schema_*.json"),
        runSettings(options, 'collect_results.py', []),
        ch_files.map { _files -> failedTasks(options.outdir) },
    )

    BUILD_REPORT(
        COLLECT_RESULTS.out.tables,
        ch_check.map { _datasets, plan, _messages -> plan },
        byName(ch_plots),
        byName(ch_history),
        ch_versions,
        files("${projectDir}/assets/*.tsv") + files("${projectDir}/assets/*.json") + [file("${projectDir}/nextflow_schema.json")],
        files("${projectDir}/assets/published/*.tsv"),
        runSettings(options, 'build_report.py', ['scfm/report/sections/*.py', 'scfm/report/templates/*']) + [run: runRecord()],
    )
    MULTIQC(
        BUILD_REPORT.out.content,
        file("${projectDir}/assets/multiqc_config.yml"),
        codeDigest('write_page.py', ['scfm/report/page/theme/*']),
    )
    CHECK_VERDICT(COLLECT_RESULTS.out.tables, MULTIQC.out.report)

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    report = MULTIQC.out.report
    tables = COLLECT_RESULTS.out.tables
    versions = BUILD_REPORT.out.versions.mix(MULTIQC.out.versions, CHECK_VERDICT.out.versions)

    emit:
    report   // channel: html
    tables   // channel: directory
    versions // channel: versions.yml of the steps that the report can't hold
}

// Settings of a step that reports on the whole run: every parameter but where results go. `plugins`: files that it finds by name.
def runSettings(options, executable, plugins) {
    return options.subMap(options.keySet() - ['outdir', 'publish_dir_mode']) + stepSettings(options, executable, [], plugins)
}

// How the run was started, for the page. Without `-resume` and its id, so that a resumed run finds the same task.
def runRecord() {
    return [
        command: workflow.commandLine.replaceAll(/ -resume( [0-9a-f-]{8,})?/, ''),
        version: workflow.manifest.version,
        revision: workflow.revision,
        commit: workflow.commitId,
        profile: workflow.profile,
        container_engine: workflow.containerEngine,
        nextflow: workflow.nextflow.version.toString(),
    ]
}

// All files of a channel in one list, ordered by name so that a resumed run finds the same task.
def byName(ch_files) {
    return ch_files.flatten().toSortedList { a, b -> a.name <=> b.name }
}

// Rows of Nextflow's trace about tasks that did not complete, with its header: why an embedding left nothing. None where a user's
// `trace.fields` leave out what says so.
def failedTasks(outdir) {
    def trace = file("${outdir}/pipeline_info/execution_trace.txt", glob: false)
    if (!trace.exists()) {
        return []
    }
    sleep(1000) // the row of a task is written just after its end has reached the channels
    def lines = trace.readLines('UTF-8')
    def fields = lines[0].split('\t').toList()
    if (!fields.containsAll(['name', 'status', 'exit'])) {
        return []
    }
    def status = fields.indexOf('status')
    def failed = lines.drop(1).findAll { line -> !(line.split('\t')[status] in ['COMPLETED', 'CACHED']) }
    return failed ? [lines[0]] + failed : []
}
