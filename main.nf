#!/usr/bin/env nextflow
/*
 * scfmbench: how much batch effect is left in an embedding, where, and at what cost to biology?
 * Three acts: initialise, run, complete. The science is in workflows/scfmbench.nf.
 */

include { SCFMBENCH           } from './workflows/scfmbench'
include { completionMessage   } from './subworkflows/local/utils_scfmbench'
include { helpMessage         } from './subworkflows/local/utils_scfmbench'
include { requireSamplesheet  } from './subworkflows/local/utils_scfmbench'

workflow {
    main:
    if (params.help) {
        println(helpMessage(params))
        return
    }
    SCFMBENCH(requireSamplesheet(params), params)

    workflow.onComplete = {
        log.info(completionMessage(workflow, params))
    }
}
