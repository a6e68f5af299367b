"""Names and numbers of the stand-ins: donors, tissues, cell types and studies as the real files write them."""

from __future__ import annotations

#: donor -> cells and classes that the study's liver data have
LIVER_DONORS = {
    "C39": (4417, 16),
    "C54": (4295, 16),
    "C64": (612, 15),
    "C68": (888, 7),
    "C70": (806, 12),
    "C82": (506, 16),
    "C85": (5892, 17),
    "C88": (2914, 17),
    "C93": (1061, 15),
    "C96": (5860, 16),
    "C97": (12278, 18),
    "C102": (3169, 17),
    "C104": (6237, 18),
    "C105": (8063, 18),
    "C113": (2016, 16),
    "C115": (9415, 18),
}
LIVER_TYPES = (
    "T cell",
    "hepatocyte",
    "natural killer cell",
    "Kupffer cell",
    "mononuclear phagocyte",
    "endothelial cell of hepatic sinusoid",
    "cholangiocyte",
    "hematopoietic stem cell",
    "erythrocyte",
    "platelet",
    "macrophage",
    "neutrophil",
    "mature B cell",
    "plasma cell",
    "gamma-delta T cell",
    "conventional dendritic cell",
    "cycling myeloid cell",
    "cycling plasma cell",
)
IMMUNE_TISSUES = (
    "blood",
    "bone marrow",
    "spleen",
    "lung",
    "epithelial lining fluid",
    "jejunal epithelium",
    "jejunum lamina propria",
    "inguinal lymph node",
    "mesenteric lymph node",
    "thoracic lymph node",
)
#: class -> ann_level_1, ann_level_2 and the values of ann_level_3
LUNG_CLASSES = {
    "Basal": ("Epithelial", "Airway epithelium", ["Basal"]),
    "Multiciliated lineage": ("Epithelial", "Airway epithelium", ["Multiciliated lineage"]),
    "Secretory": ("Epithelial", "Airway epithelium", ["Secretory"]),
    "AT1": ("Epithelial", "Alveolar epithelium", ["AT1"]),
    "AT2": ("Epithelial", "Alveolar epithelium", ["AT2"]),
    "Blood vessels": ("Endothelial", "Blood vessels", ["EC arterial", "EC capillary", "EC venous"]),
    "Lymphatic EC": ("Endothelial", "Lymphatic EC", ["Lymphatic EC mature", "Lymphatic EC differentiating"]),
    "Fibroblast lineage": ("Stroma", "Fibroblast lineage", ["Fibroblasts", "Myofibroblasts"]),
    "Smooth muscle": ("Stroma", "Smooth muscle", ["None"]),
    "B cell lineage": ("Immune", "Lymphoid", ["B cell lineage"]),
    "T cell lineage": ("Immune", "Lymphoid", ["T cell lineage"]),
    "Innate lymphoid cell NK": ("Immune", "Lymphoid", ["Innate lymphoid cell NK"]),
    "Dendritic cells": ("Immune", "Myeloid", ["Dendritic cells"]),
    "Macrophages": ("Immune", "Myeloid", ["Macrophages"]),
    "Monocytes": ("Immune", "Myeloid", ["Monocytes"]),
    "Mast cells": ("Immune", "Myeloid", ["Mast cells"]),
}
#: what has no class: left out by the study
LUNG_OTHERS = {
    "mesothelial cell": ("Stroma", "Mesothelium", ["None"]),
    "rare airway cell": ("Epithelial", "Airway epithelium", ["Rare"]),
    "unknown": ("Unknown", "Unknown", ["Unknown"]),
}
#: study, disease, assay, suspension type -> cells
LUNG_GROUPS = {
    ("Meyer_2019", "normal", "10x 3' v2", "cell"): 185,
    ("Schiller_2020", "normal", "Drop-seq", "cell"): 165,
    ("Schiller_2020", "interstitial lung disease", "Drop-seq", "cell"): 20,
    ("Thienpont_2018", "lung adenocarcinoma", "10x 3' v2", "cell"): 60,
    ("Thienpont_2018", "squamous cell lung carcinoma", "10x 3' v2", "cell"): 50,
    ("Thienpont_2018", "lung large cell carcinoma", "10x 3' v2", "cell"): 36,
    ("Thienpont_2018", "pleomorphic carcinoma", "10x 3' v2", "cell"): 32,
    ("Sun_2020", "normal", "10x 3' v2", "nucleus"): 170,
    ("Krasnow_2020", "normal", "Smart-seq2", "cell"): 24,
    ("Barbry_2020", "normal", "10x 3' v3", "cell"): 24,
}
LIMB_TYPES = (
    "mesenchymal cell",
    "skeletal muscle satellite cell",
    "chondrocyte",
    "osteoblast",
    "fibroblast",
    "tenocyte",
    "smooth muscle cell",
    "pericyte",
    "endothelial cell of vascular tree",
    "endothelial cell of lymphatic vessel",
    "Schwann cell",
    "melanoblast",
    "neural crest cell",
    "epidermal cell",
    "periderm cell",
    "apical ectodermal ridge cell",
    "basal cell of epidermis",
    "myoblast",
    "myotube",
    "muscle precursor cell",
    "perichondrial cell",
    "hypertrophic chondrocyte",
    "resting chondrocyte",
    "proliferative chondrocyte",
    "articular chondrocyte",
    "synovial fibroblast",
    "dermal fibroblast",
    "interzone cell",
    "osteoclast",
    "macrophage",
    "monocyte",
    "mast cell",
    "neutrophil",
    "B cell",
    "natural killer cell",
    "T cell",
    "dendritic cell",
    "megakaryocyte",
    "primitive red blood cell",
    "definitive erythrocyte",
    "adipocyte precursor cell",
    "glial cell",
)
#: types that one species lacks
HUMAN_ONLY, MOUSE_ONLY = (
    ("adipocyte precursor cell", "mast cell", "T cell"),
    ("apical ectodermal ridge cell", "periderm cell"),
)

COLLECTIONS = {
    "limb": (
        "4fefa187-5d14-4f1e-915b-c892ed320aab",
        "A human embryonic limb cell atlas resolved in space and time (stand-in)",
    ),
    "liver": ("ff69f0ee-fef6-4895-9f48-6c64a68c8289", "Single-cell atlas of human pediatric liver (stand-in)"),
    "Immune": ("cc431242-35ea-41e1-a100-41e0dec2665b", "Immune cells across tissues (stand-in)"),
    "hlca": ("6f6d381a-7701-4781-935c-db10d30de293", "The integrated Human Lung Cell Atlas (stand-in)"),
}
#: data sets of the collections: file, id, title, organism, diseases, tissues, assays; ids that start with 5ca1ab1e are
#: invented
DATASETS = {
    "limb": [
        (
            "limb_human.h5ad",
            "5ca1ab1e-0000-4000-8000-000000000001",
            "Human embryonic limb",
            "Homo sapiens",
            ["normal"],
            ["hindlimb"],
            ["10x 3' v2"],
        ),
        (
            "limb_mouse.h5ad",
            "5ca1ab1e-0000-4000-8000-000000000002",
            "Mouse embryonic limb",
            "Mus musculus",
            ["normal"],
            ["hindlimb"],
            ["10x 3' v2"],
        ),
    ],
    "liver": [
        (
            "liver_all.h5ad",
            "5ca1ab1e-0000-4000-8000-000000000003",
            "Liver of children and adults, healthy and with intestinal failure",
            "Homo sapiens",
            ["intestinal failure-associated liver disease", "normal"],
            ["liver"],
            ["10x 3' v3", "10x 5' v1"],
        ),
        (
            "liver.h5ad",
            "5ca1ab1e-0000-4000-8000-000000000004",
            "Healthy liver of children and adults",
            "Homo sapiens",
            ["normal"],
            ["liver"],
            ["10x 3' v3", "10x 5' v1"],
        ),
    ],
    "Immune": [
        (
            "Immune.h5ad",
            "1b350d0a-4535-4879-beb6-1142f3f94947",
            "Immune cells across tissues",
            "Homo sapiens",
            ["normal"],
            list(IMMUNE_TISSUES),
            ["10x 5' v1"],
        )
    ],
    "hlca": [
        (
            "hlca.h5ad",
            "9f222629-9e39-47d0-b83f-e08d610c7479",
            "An integrated cell atlas of the human lung in health and disease (full)",
            "Homo sapiens",
            sorted({group[1] for group in LUNG_GROUPS}),
            ["lung parenchyma"],
            sorted({group[2] for group in LUNG_GROUPS}),
        )
    ],
}
