#!/usr/bin/env nextflow
/*
 * scfmbench: how much batch effect is left in an embedding, where, and at what cost to biology?
 * Initialise, run, complete; the analysis is in workflows/scfmbench.nf.
 */

include { SCFMBENCH           } from './workflows/scfmbench'
include { completionMessage   } from './subworkflows/local/utils_scfmbench/run'
include { helpMessage         } from './subworkflows/local/utils_scfmbench/help'
include { openOutdir          } from './subworkflows/local/utils_scfmbench/run'
include { parameterSummary    } from './subworkflows/local/utils_scfmbench/help'
include { requireLinkable     } from './subworkflows/local/utils_scfmbench/run'
include { requireSamplesheet  } from './subworkflows/local/utils_scfmbench'
include { versionMessage      } from './subworkflows/local/utils_scfmbench/help'
include { withCommaLists      } from './subworkflows/local/utils_scfmbench/help'

workflow {
    main:
    if (params.help) {
        println(helpMessage(params))
        return
    }
    if (params.version) {
        println(versionMessage())
        return
    }
    def options = withCommaLists(params)
    def samplesheet = requireSamplesheet(options)
    requireLinkable(options, samplesheet)
    log.info(parameterSummary(options, workflow))
    // -preview and `nextflow inspect` leave the results of an earlier run alone
    def lock = workflow.preview ? null : openOutdir(options, samplesheet)
    SCFMBENCH(samplesheet, options)

    workflow.onComplete = {
        log.info(completionMessage(workflow, options))
        lock?.close()
    }
}
