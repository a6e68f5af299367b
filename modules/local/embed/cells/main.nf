include { dataSize } from '../../functions'
include { jsonWord } from '../../functions'

// Embed one shard of a data set with one foundation model of assets/models.tsv, or with its random twin. Included under one alias per
// model (subworkflows/local/make_embeddings), which conf/methods.config gives its resources, container and environment.
process EMBED_CELLS {
    tag "${meta.id} ${cells.baseName}"
    label 'process_high'
    label 'per_embedding'
    ext data: { dataSize(meta, 'n_genes') }

    conda "${moduleDir}/environment.yml"
    container 'scfmbench/models:0.1.0'

    input:
    tuple val(meta), path(prepared), path(cells), path(weights, stageAs: 'weights'), val(settings)

    output:
    tuple val(meta), path("${cells.baseName}"), emit: shard
    path 'versions.yml', topic: versions, emit: versions

    script:
    def args = task.ext.args ?: ''
    """
    printf '%s' ${jsonWord(settings.model_settings)} > options.json

    mkdir ${cells.baseName}
    embed_cells.py \\
        --model ${meta.model} \\
        --method ${meta.method} \\
        --dataset ${meta.dataset} \\
        --weights weights \\
        --input ${prepared} \\
        --cells ${cells} \\
        --options options.json \\
        --seed ${meta.seed} \\
        --device ${task.accelerator ? 'cuda' : 'cpu'} \\
        --threads ${task.cpus} \\
        --precision ${settings.precision} \\
        --min_gene_overlap ${settings.min_gene_overlap} \\
        --chunk_cells ${settings.chunk_cells} \\
        ${settings.batch_tokens ? "--batch_tokens ${settings.batch_tokens}" : ''} \\
        ${meta.method == meta.model ? '' : '--random_init'} \\
        --on_error ${settings.on_method_error} \\
        --output ${cells.baseName}/embedding.parquet \\
        --process ${task.process} \\
        ${args}
    """

    stub:
    """
    write_stub.py embedding --id ${meta.id} --family foundation_model --outdir ${cells.baseName} --process ${task.process}
    mv ${cells.baseName}/${meta.id}.unchecked.parquet ${cells.baseName}/embedding.parquet
    mv ${cells.baseName}/${meta.id}.unchecked.json ${cells.baseName}/embedding.json
    """
}
