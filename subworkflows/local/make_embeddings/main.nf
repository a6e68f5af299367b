/*
 * Contract: prepared data sets and the plan go in; one unchecked embedding per planned, uncorrected row comes out,
 * whoever made it: a method, a control, a foundation model, a user. A row that fails leaves a status file instead.
 *
 * A process per method and per model: each has one include, one branch rule, one call and its place in the mixes below.
 * tests/python/test_pipeline_layout.py compares them with assets/methods.tsv and assets/models.tsv.
 */

include { INTEGRATE_CELLS as PCA         } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as HARMONY     } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as SCANORAMA   } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as SCVI        } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as SCANVI      } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as COMBAT      } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as LINEAR      } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as FASTMNN     } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as BBKNN       } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as SEURAT_CCA  } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as SEURAT_RPCA } from '../../../modules/local/integrate/cells'
include { INTEGRATE_CELLS as CONTROL     } from '../../../modules/local/integrate/cells'
include { EMBED_CELLS as SCGPT           } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as GENEFORMER      } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as GENECOMPASS     } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as SCFOUNDATION    } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as UCE             } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as CELLPLM         } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as SCCELLO         } from '../../../modules/local/embed/cells'
include { EMBED_CELLS as NICHEFORMER     } from '../../../modules/local/embed/cells'
include { IMPORT_EMBEDDING               } from '../../../modules/local/import/embedding'
include { MERGE_SHARDS                   } from '../../../modules/local/merge/shards'
include { SPLIT_CELLS                    } from '../../../modules/local/split/cells'
include { asMeta                         } from '../utils_scfmbench/groups'
include { parseText                      } from '../utils_scfmbench'
include { stepSettings                   } from '../utils_scfmbench'

workflow MAKE_EMBEDDINGS {
    take:
    ch_dataset        // channel: [ dataset, prepared, obs, pca, splits ]
    ch_plan           // channel: row of plan.tsv (map)
    ch_imports        // channel: [ dataset, name, file, obsm key ]
    ch_model_settings // channel: map: data set -> model -> settings
    options           // map: parameters

    main:
    ch_raw = ch_plan
        .filter { row -> row.correction == 'raw' && !row.status }
        .map { row -> [row.dataset, asMeta(row)] }
        .combine(ch_dataset, by: 0)
        .branch { _dataset, meta, _prepared, _obs, _pca, _splits ->
            imported: meta.family == 'imported'
            model: meta.model
            method: true
        } // channels: [ dataset, meta, prepared, obs, pca, splits ]

    // methods and controls, and configured instances of methods, whose own settings come last; one that continues the model of another (`starts_from`) reads its parameters too
    def continues = file("${projectDir}/assets/methods.tsv").splitCsv(header: true, sep: '\t', charset: 'UTF-8').collectEntries { row -> [row.name, row.starts_from] }
    // settings by method or model: seeds, data sets and thousands of shards share the digest of their code
    def by_code = new java.util.concurrent.ConcurrentHashMap()
    ch_method = ch_raw.method
        .map { _dataset, meta, prepared, obs, pca, _splits ->
            def settings = by_code.computeIfAbsent(meta.base_method) { name ->
                stepSettings(
                    options,
                    'integrate_cells.py',
                    ['n_pcs', 'on_method_error', "${name}_"] + (continues[name] ? ["${continues[name]}_"] : []),
                    ["scfm/integration/${name}.py"],
                )
            }
            // a model of a reference takes new batches (scfm.integration.scvi_files), unless the parameter says otherwise
            def queries = meta.for_queries && options.scvi_for_queries == null ? [scvi_for_queries: true] : [:]
            [meta, prepared, obs, pca, [], settings + queries + parseText(meta.settings)]
        }
        .branch { meta, _prepared, _obs, _pca, _start, _settings ->
            control: meta.family == 'control'
            pca: meta.base_method == 'pca'
            harmony: meta.base_method == 'harmony'
            scanorama: meta.base_method == 'scanorama'
            scvi: meta.base_method == 'scvi'
            scanvi: meta.base_method == 'scanvi'
            combat: meta.base_method == 'combat'
            linear: meta.base_method == 'linear'
            fastmnn: meta.base_method == 'fastmnn'
            bbknn: meta.base_method == 'bbknn'
            seurat_cca: meta.base_method == 'seurat_cca'
            seurat_rpca: meta.base_method == 'seurat_rpca'
            other: true
        } // channels: [ meta, prepared, obs, pca, model to continue, settings ]
    ch_method.other.subscribe { item -> refuse('method', item[0].base_method) }

    def tables = files("${projectDir}/assets/{methods.tsv,schema_methods.json}")
    PCA(ch_method.pca, tables)
    HARMONY(ch_method.harmony, tables)
    SCANORAMA(ch_method.scanorama, tables)
    SCVI(ch_method.scvi, tables)
    SCANVI(continuing(ch_method.scanvi, SCVI.out.model), tables)
    COMBAT(ch_method.combat, tables)
    LINEAR(ch_method.linear, tables)
    FASTMNN(ch_method.fastmnn, tables)
    BBKNN(ch_method.bbknn, tables)
    SEURAT_CCA(ch_method.seurat_cca, tables)
    SEURAT_RPCA(ch_method.seurat_rpca, tables)
    CONTROL(ch_method.control, tables)

    IMPORT_EMBEDDING(
        ch_raw.imported
            .map { dataset, meta, _prepared, obs, _pca, _splits -> [[dataset, meta.method], meta, obs] }
            .combine(ch_imports.map { dataset, name, source, key -> [[dataset, name], source, key] }, by: 0)
            .map { _key, meta, obs, source, obsm_key -> [meta + [obsm_key: obsm_key], source, obs] },
        stepSettings(options, 'import_embedding.py', ['on_method_error', 'max_embedding_dims']),
    )

    // models: shards as independent tasks, joined by cell id; one shard is the same path. A random twin is a task of its model.
    def apart = file("${projectDir}/assets/models.tsv").splitCsv(header: true, sep: '\t', charset: 'UTF-8').collectEntries { row -> [row.name, row.cells_apart == 'true'] }
    SPLIT_CELLS(
        ch_raw.model.map { _dataset, meta, _prepared, obs, _pca, _splits -> [meta + [cells_apart: apart[meta.model]], obs] },
        stepSettings(options, 'split_cells.py', ['shard_cells']),
    )
    ch_model = SPLIT_CELLS.out.shards
        .flatMap { meta, shards ->
            def list = shards instanceof List ? shards : [shards]
            list.collect { shard -> [meta.dataset, meta + [n_shards: list.size()], shard] }
        }
        .combine(ch_dataset.map { dataset, prepared, _obs, _pca, _splits -> [dataset, prepared] }, by: 0)
        .combine(ch_model_settings)
        .map { dataset, meta, shard, prepared, model_settings ->
            def settings = by_code.computeIfAbsent(meta.model) { name ->
                stepSettings(
                    options,
                    'embed_cells.py',
                    ['on_method_error', 'precision', 'min_gene_overlap', 'chunk_cells', 'batch_tokens'],
                    ["scfm/models/${name}/*.py"],
                )
            }
            def own = [model_settings: model_settings[dataset]?.get(meta.model) ?: [:]]
            [meta, prepared, shard, file("${options.weights_dir}/${meta.model}", glob: false), settings + own]
        }
        .branch { meta, _prepared, _shard, _weights, _settings ->
            scgpt: meta.model == 'scgpt'
            geneformer: meta.model == 'geneformer'
            genecompass: meta.model == 'genecompass'
            scfoundation: meta.model == 'scfoundation'
            uce: meta.model == 'uce'
            cellplm: meta.model == 'cellplm'
            sccello: meta.model == 'sccello'
            nicheformer: meta.model == 'nicheformer'
            other: true
        } // channels: [ meta, prepared, shard, weights, settings ]
    ch_model.other.subscribe { item -> refuse('model', item[0].model) }

    SCGPT(ch_model.scgpt)
    GENEFORMER(ch_model.geneformer)
    GENECOMPASS(ch_model.genecompass)
    SCFOUNDATION(ch_model.scfoundation)
    UCE(ch_model.uce)
    CELLPLM(ch_model.cellplm)
    SCCELLO(ch_model.sccello)
    NICHEFORMER(ch_model.nicheformer)

    ch_shard = channel.empty().mix(
        SCGPT.out.shard,
        GENEFORMER.out.shard,
        GENECOMPASS.out.shard,
        SCFOUNDATION.out.shard,
        UCE.out.shard,
        CELLPLM.out.shard,
        SCCELLO.out.shard,
        NICHEFORMER.out.shard,
    )
    MERGE_SHARDS(
        ch_shard
            .map { meta, shard -> [groupKey(meta, meta.n_shards), shard] }
            .groupTuple()
            .map { key, shards -> [key.target.dataset, key.target - key.target.subMap('n_shards', 'cells_apart'), shards.toSorted { shard -> shard.name }] }
            .combine(ch_dataset.map { dataset, _prepared, obs, _pca, _splits -> [dataset, obs] }, by: 0)
            .map { _dataset, meta, shards, obs -> [meta, shards, obs] },
        stepSettings(options, 'merge_shards.py', ['on_method_error']),
    )

    // assigned here and only named below: nf-lang 25.04.0 drops an assignment in `emit:`
    unchecked = channel.empty().mix(
        PCA.out.embedding,
        HARMONY.out.embedding,
        SCANORAMA.out.embedding,
        SCVI.out.embedding,
        SCANVI.out.embedding,
        COMBAT.out.embedding,
        LINEAR.out.embedding,
        FASTMNN.out.embedding,
        BBKNN.out.embedding,
        SEURAT_CCA.out.embedding,
        SEURAT_RPCA.out.embedding,
        CONTROL.out.embedding,
        IMPORT_EMBEDDING.out.embedding,
        MERGE_SHARDS.out.embedding,
    )
    status = channel.empty().mix(
        PCA.out.status,
        HARMONY.out.status,
        SCANORAMA.out.status,
        SCVI.out.status,
        SCANVI.out.status,
        COMBAT.out.status,
        LINEAR.out.status,
        FASTMNN.out.status,
        BBKNN.out.status,
        SEURAT_CCA.out.status,
        SEURAT_RPCA.out.status,
        CONTROL.out.status,
        IMPORT_EMBEDDING.out.status,
        MERGE_SHARDS.out.status,
    )
    model = SCVI.out.model.filter { meta, _folder -> !meta.instance }
    mappable = HARMONY.out.model.mix(SCVI.out.model, SCANVI.out.model).filter { meta, _folder -> !meta.instance }
    history = channel.empty().mix(
        PCA.out.history,
        HARMONY.out.history,
        SCANORAMA.out.history,
        SCVI.out.history,
        SCANVI.out.history,
        COMBAT.out.history,
        LINEAR.out.history,
        FASTMNN.out.history,
        BBKNN.out.history,
        SEURAT_CCA.out.history,
        SEURAT_RPCA.out.history,
        CONTROL.out.history,
    )

    emit:
    unchecked // channel: [ meta, parquet (of a graph npz), sidecar ]; 0 bytes where none could be made
    status    // channel: status.json
    history   // channel: csv
    model     // channel: [ meta, folder ], of scVI
    mappable  // channel: [ meta, folder ], of the methods that new cells can be mapped to
}

// Inputs of a method and of its instances with the trained model that they continue, of the same data set and seed (never that of an
// instance); where that was not made, with none.
def continuing(ch_method, ch_model) {
    return ch_method
        .map { item -> [[item[0].dataset, item[0].seed], item] }
        .groupTuple()
        .join(ch_model.filter { meta, _folder -> !meta.instance }.map { meta, folder -> [[meta.dataset, meta.seed], folder] }, remainder: true)
        .filter { _key, items, _folder -> items != null }
        .flatMap { _key, items, folder -> items.collect { item -> item[0..3] + [folder ?: []] + item.drop(5) } }
}

// A row of the plan that no process is there for: the registry has it and this file does not.
def refuse(kind, name) {
    error("The ${kind} '${name}' of the registry has no process. Give it an include, a branch rule and a call in subworkflows/local/make_embeddings/main.nf (docs/adding_a_${kind}.md).")
}
