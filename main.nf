#!/usr/bin/env nextflow
/*
 * scfmbench: how much batch effect is left in an embedding, where, and at what cost to biology?
 * Initialise, run, complete; the analysis is in workflows/scfmbench.nf.
 */

include { SCFMBENCH           } from './workflows/scfmbench'
include { completionMessage   } from './subworkflows/local/utils_scfmbench/run'
include { helpMessage         } from './subworkflows/local/utils_scfmbench'
include { openOutdir          } from './subworkflows/local/utils_scfmbench/run'
include { requireSamplesheet  } from './subworkflows/local/utils_scfmbench'

workflow {
    main:
    if (params.help) {
        println(helpMessage(params))
        return
    }
    def samplesheet = requireSamplesheet(params)
    def lock = openOutdir(params, samplesheet)
    SCFMBENCH(samplesheet, params)

    workflow.onComplete = {
        log.info(completionMessage(workflow, params))
        lock?.close()
    }
}
