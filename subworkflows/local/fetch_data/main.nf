/*
 * Contract: a samplesheet goes in whose column h5ad may name a scenario of the study, a data set of CELLxGENE Discover or an
 * address, and whose column recipe may name a recipe; a samplesheet of files comes out. Nothing runs here when every row
 * names a file of its own.
 */

include { APPLY_RECIPE    } from '../../../modules/local/apply/recipe'
include { FETCH_DATASET   } from '../../../modules/local/fetch/dataset'
include { RESOLVE_INPUTS  } from '../../../modules/local/resolve/inputs'
include { findPath        } from '../utils_scfmbench'
include { parseJson       } from '../utils_scfmbench'
include { readSamplesheet } from '../utils_scfmbench'
include { stepSettings    } from '../utils_scfmbench'

workflow FETCH_DATA {
    take:
    samplesheet // file: CSV
    options     // map: parameters

    main:
    ch_input = channel.value([samplesheet, [:]])
    ch_provenance = channel.empty()
    ch_source = channel.empty()

    def rows = readSamplesheet(samplesheet)
    if (rows.any { row -> row.recipe || isElsewhere(row.h5ad) }) {
        def texts = (rows.collect { row -> row.recipe } + [options.ortholog_table]).findAll { text -> text }.unique()
        def named = texts.collect { text -> [text, findPath(samplesheet, text)] }
        def found = named.findAll { pair -> pair[1] }

        RESOLVE_INPUTS(
            samplesheet,
            found.collect { pair -> pair[1] },
            [
                code: stepSettings(options, 'resolve_inputs.py', []).code,
                params: options,
                staged: named.collectEntries { text, path ->
                    [text, path ? "recipes/${found.findIndexOf { pair -> pair[0] == text } + 1}/${path.name}" : '']
                },
            ],
            file("${projectDir}/nextflow_schema.json"),
            files("${projectDir}/assets/{datasets,methods,corrections}.tsv") + files("${projectDir}/assets/schema_{input,datasets,methods,corrections}.json"),
            files("${projectDir}/assets/recipes/*.yml"),
        )

        // the run stops here, before anything is downloaded, with every error in one message
        ch_resolved = RESOLVE_INPUTS.out.resolved.map { errors, sheet, sources, builds ->
            if (errors.size() > 0) {
                error("The inputs have errors; nothing was downloaded or computed.\n\n${errors.getText('UTF-8')}")
            }
            [sheet, parseJson(sources), parseJson(builds)]
        }

        FETCH_DATASET(
            ch_resolved.flatMap { _sheet, sources, _builds -> sources.collect { spec -> [[id: spec.key], spec] } },
            // a stub's file must never be found where a later run looks for the real one
            stepSettings(options, 'fetch_dataset.py', ['cellxgene_api', 'allow_http']) + [data_dir: workflow.stubRun ? null : options.data_dir],
        )
        ch_source = FETCH_DATASET.out.source
        ch_fetched = ch_source
            .map { meta, data, record -> [meta.id, data, record] }
            .toList()
            .map { items -> items.collectEntries { key, data, record -> [key, [data, record]] } }

        // a recipe starts when everything is downloaded: its sources are few and shared
        APPLY_RECIPE(
            ch_resolved
                .combine(ch_fetched)
                .flatMap { _sheet, _sources, builds, fetched ->
                    // a download that failed has ended the run already; its data sets are not asked for
                    def ready = builds.findAll { build -> (build.sources + build.tables).every { item -> !item.key || fetched[item.key] } }
                    ready.collect { build -> recipeInput(samplesheet, build, fetched) }
                }
                .filter { _item -> !options.fetch_only },
            stepSettings(options, 'apply_recipe.py', []),
        )

        ch_built = APPLY_RECIPE.out.dataset
            .map { _meta, data, _report -> [data.name, data] }
            .toList()
            .map { items -> [items.collectEntries { name, data -> [name, data] }] }
        ch_input = ch_resolved
            .map { sheet, _sources, _builds -> sheet }
            .combine(ch_fetched.map { fetched -> [fetched.collectEntries { _key, pair -> [pair[0].name, pair[0]] }] })
            .combine(ch_built)
            .map { sheet, fetched, built -> [sheet, fetched + built] }
            .first()
        ch_provenance = APPLY_RECIPE.out.dataset
            .map { _meta, _data, report -> report }
            .mix(ch_source.map { _meta, _data, record -> record })
    }

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    input = ch_input
    provenance = ch_provenance
    source = ch_source
    // the step is kept in a storeDir: its settings are in the record
    versions = ch_source.map { _meta, _data, record -> fetchVersions(parseJson(record)) }

    emit:
    input      // channel (value): [ samplesheet of files, map: name in it -> file made here ]
    provenance // channel: <dataset>.recipe.json or <key>.source.json
    source     // channel: [ meta, file, source.json ]
    versions   // channel: map: process -> package -> version
}

// Whether the column h5ad names something that must be downloaded or built first.
def isElsewhere(text) {
    return text && ['scenario:', 'cellxgene:', 'http://', 'https://'].any { start -> text.startsWith(start) }
}

// Packages of FETCH_DATASET by the record of a download; a record of an earlier release has none.
def fetchVersions(record) {
    return record.versions ? [FETCH_DATASET: record.versions] : [:]
}

// What APPLY_RECIPE takes for one data set: the recipe, and its sources, their records and its tables, each with their names.
def recipeInput(samplesheet, build, fetched) {
    def recipe = build.recipe.startsWith('scenarios/')
        ? file("${projectDir}/assets/recipes/${build.recipe.tokenize('/').last()}")
        : findPath(samplesheet, build.recipe)
    def place = { item ->
        if (item.key) {
            return fetched[item.key][0]
        }
        def found = item.relative_to == 'recipe' ? findPath(recipe, item.path) : findPath(samplesheet, item.path)
        if (!found) {
            error("The recipe of the data set '${build.dataset}' (${recipe.name}) needs the file '${item.path}' (${item.name}), which does not exist. Paths in a recipe are taken from where the recipe lies.")
        }
        return found
    }
    def downloaded = build.sources.findAll { item -> item.key }
    def meta = [
        id: build.dataset,
        dataset: build.dataset,
        sources: build.sources.collect { item -> item.name },
        records: downloaded.collect { item -> item.name },
        tables: build.tables.collect { item -> item.name },
    ]
    return [meta, recipe, build.sources.collect(place), downloaded.collect { item -> fetched[item.key][1] }, build.tables.collect(place)]
}
