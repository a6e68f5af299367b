# Integrate batches with Seurat: Rscript integrate.R INPUT OUTPUT
#
# Called by scfm.integration.seurat.run, which names the batches and checks cell ids. Binary files are little-endian.
#
# INPUT   settings.tsv   name, value
#         cells.txt      a cell id per line
#         batches.i32    number of the batch of each cell, from 1
#         data.f64, indices.i32, indptr.i32   log-normalised expression, cells x genes in CSR form
# OUTPUT  anchors.tsv    a row per pair of batches
#         merges.tsv     a row per merge, in their order; batches of one side are joined by commas
#         cells.txt, values.f64   coordinates, row by row
#         versions.tsv   software, version
# Status 3: a merge rests on fewer anchor cells than k_anchor; nothing but the two tables is written.
suppressPackageStartupMessages({
    library(Matrix)
    library(Seurat)
})
TOO_FEW_ANCHORS <- 3

read_numbers <- function(folder, name, what, size) {
    path <- file.path(folder, name)
    readBin(path, what, file.size(path) / size, size = size, endian = "little")
}

write_table <- function(table, folder, name) {
    write.table(table, file.path(folder, name), sep = "\t", quote = FALSE, row.names = FALSE)
}

read_settings <- function(folder) {
    table <- read.delim(file.path(folder, "settings.tsv"), colClasses = "character")
    as.list(setNames(table$value, table$name))
}

# Expression as genes x cells: the CSR form of cells x genes is the CSC form of its transpose. Genes are numbered, as
# Seurat renames those with an underscore.
read_expression <- function(folder, n_genes) {
    cells <- readLines(file.path(folder, "cells.txt"), encoding = "UTF-8")
    new("dgCMatrix",
        i = read_numbers(folder, "indices.i32", "integer", 4),
        p = read_numbers(folder, "indptr.i32", "integer", 4),
        x = read_numbers(folder, "data.f64", "double", 8),
        Dim = c(n_genes, length(cells)), Dimnames = list(paste0("gene", seq_len(n_genes)), cells)
    )
}

# One object per batch. Reciprocal PCA starts from a PCA of each batch.
make_objects <- function(expression, batches, reduction, dims, seed) {
    lapply(split(seq_len(ncol(expression)), batches), function(columns) {
        assay <- CreateAssayObject(data = expression[, columns, drop = FALSE])
        Key(assay) <- "rna_"
        object <- CreateSeuratObject(assay)
        if (reduction == "rpca") {
            object <- ScaleData(object, features = rownames(expression), verbose = FALSE)
            object <- RunPCA(object, features = rownames(expression), npcs = dims, seed.use = seed, verbose = FALSE)
        }
        object
    })
}

# Anchors of each pair of batches: how many, their mean score, and how many cells of each side have one.
count_anchors <- function(anchors, n_batches) {
    pairs <- t(combn(n_batches, 2))
    counts <- apply(pairs, 1, function(pair) {
        own <- anchors[anchors$dataset1 == pair[1] & anchors$dataset2 == pair[2], ]
        c(nrow(own), if (nrow(own)) mean(own$score) else NA, length(unique(own$cell1)), length(unique(own$cell2)))
    })
    data.frame(
        first = pairs[, 1], second = pairs[, 2], anchors = counts[1, ], score = counts[2, ],
        cells_first = counts[3, ], cells_second = counts[4, ]
    )
}

# Order of the merges as in IntegrateData: the pair with most anchors per cell of its smaller batch first. A pair
# without anchors is the furthest, where Seurat ends with an error.
order_merges <- function(counts, sizes) {
    distances <- matrix(0, length(sizes), length(sizes))
    smaller <- pmin(sizes[counts$first], sizes[counts$second])
    far <- smaller / (2 * counts$anchors)
    far[is.infinite(far)] <- 2 * max(far[is.finite(far)], 1)
    distances[cbind(counts$second, counts$first)] <- far
    hclust(as.dist(distances))$merge
}

# Batches on the two sides of each merge, the larger side first, and the anchors between them.
describe_merges <- function(tree, anchors, sizes) {
    members <- function(node) if (node < 0) -node else unlist(lapply(tree[node, ], members))
    rows <- lapply(seq_len(nrow(tree)), function(row) {
        sides <- lapply(tree[row, ], members)
        if (sum(sizes[sides[[2]]]) > sum(sizes[sides[[1]]])) sides <- rev(sides)
        own <- anchors[anchors$dataset1 %in% sides[[1]] & anchors$dataset2 %in% sides[[2]], ]
        data.frame(
            reference = paste(sort(sides[[1]]), collapse = ","), joined = paste(sort(sides[[2]]), collapse = ","),
            anchors = nrow(own), anchor_cells = nrow(unique(own[c("dataset2", "cell2")]))
        )
    })
    do.call(rbind, rows)
}

main <- function(input, output) {
    settings <- read_settings(input)
    number <- function(name) as.integer(settings[[name]])
    future::plan("sequential")
    set.seed(number("seed"))

    expression <- read_expression(input, number("n_genes"))
    batches <- read_numbers(input, "batches.i32", "integer", 4)
    dims <- seq_len(number("dims"))
    objects <- make_objects(expression, batches, settings$reduction, number("dims"), number("seed"))
    sizes <- vapply(objects, ncol, integer(1))
    found <- FindIntegrationAnchors(
        unname(objects),
        anchor.features = rownames(expression), reduction = settings$reduction, dims = dims,
        k.anchor = number("k_anchor"), k.filter = number("k_filter"), k.score = number("k_score"),
        verbose = FALSE
    )
    found@anchors$score[is.nan(found@anchors$score)] <- 1 # anchors that all share as many neighbours: 0 / 0
    counts <- count_anchors(found@anchors, length(sizes))
    tree <- order_merges(counts, sizes)
    merges <- describe_merges(tree, found@anchors, sizes)
    write_table(counts, output, "anchors.tsv")
    write_table(merges, output, "merges.tsv")
    if (min(merges$anchor_cells) < number("k_anchor")) quit(status = TOO_FEW_ANCHORS)

    integrated <- IntegrateData(
        found,
        dims = dims, k.weight = min(number("k_weight"), merges$anchor_cells), sample.tree = tree, verbose = FALSE
    )
    integrated <- ScaleData(integrated, verbose = FALSE)
    integrated <- RunPCA(integrated, npcs = number("n_pcs"), seed.use = number("seed"), verbose = FALSE)
    values <- Embeddings(integrated, "pca")
    writeLines(rownames(values), file.path(output, "cells.txt"), useBytes = TRUE)
    writeBin(as.vector(t(values)), file.path(output, "values.f64"), size = 8, endian = "little")
    packages <- c("Seurat", "SeuratObject", "Matrix")
    versions <- c(as.character(getRversion()), vapply(packages, function(name) as.character(packageVersion(name)), ""))
    write_table(data.frame(software = c("R", packages), version = versions), output, "versions.tsv")
}

folders <- commandArgs(trailingOnly = TRUE)
main(folders[1], folders[2])
