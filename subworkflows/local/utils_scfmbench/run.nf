/*
 * Functions about the run as a whole: its output folder at the start, its summary and last line at the end.
 */

include { findPath         } from './main'
include { parameterPaths   } from './main'
include { parseJson        } from './main'
include { samplesheetPaths } from './main'

// The output folder at the start of a run: it can be written, has room for the inputs, and no other run writes there. Parameters go to
// pipeline_info/params.json. Verdict and summary of an earlier run are set aside, so that they are not read as those of this run.
// Returns what must be kept until the end of the run: the lock (null for a remote folder).
def openOutdir(params, samplesheet) {
    def outdir = file(params.outdir, glob: false)
    def info = outdir.resolve('pipeline_info')
    def lock = null
    if (outdir.scheme == 'file') {
        requireWritable(params.outdir, info)
        requireSpace(params.outdir, info, samplesheet)
        lock = lockFolder(params.outdir, info)
    }
    info.resolve('params.json').setText(groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(params)) + '\n', 'UTF-8')
    setAside(outdir.resolve('tables'), 'verdict', 'json')
    setAside(outdir.resolve('report'), 'scfmbench_summary', 'txt')
    return lock
}

// A file of an earlier run gets another name.
def setAside(folder, name, ending) {
    def earlier = folder.resolve("${name}.${ending}")
    if (earlier.exists()) {
        earlier.moveTo(folder.resolve("${name}.previous.${ending}"))
    }
}

// A local folder that can be made and written, or an error that says what to do.
def requireWritable(name, folder) {
    def writable = false
    try {
        folder.mkdirs()
        def probe = folder.resolve('.writable')
        probe.setText('', 'UTF-8')
        writable = probe.delete()
    }
    catch (IOException reason) {
        log.debug("--outdir: ${reason}")
    }
    if (!writable) {
        error("--outdir: the folder '${name}' can't be written. Nothing was computed. Choose another folder, or ask for the right to write there.")
    }
}

// Room for a copy of every input beside the results; they are never smaller than a few megabytes.
def requireSpace(name, folder, samplesheet) {
    def paths = samplesheetPaths(samplesheet).collect { text -> findPath(samplesheet, text) }.findAll { path -> path }
    def needed = 16L * 1024 * 1024 + (paths.collect { path -> path.isFile() ? path.size() : 0L }.sum() ?: 0L)
    def free = folder.toFile().usableSpace
    if (free < needed) {
        error("--outdir: '${name}' has ${free.intdiv(1048576)} MB left, and this run needs ${needed.intdiv(1048576)} MB or more (the size of its inputs). Nothing was computed. Free some space or choose another folder.")
    }
}

// A lock that the operating system takes back when the run ends, however it ends.
def lockFolder(name, folder) {
    def handle = new RandomAccessFile(folder.resolve('.lock').toFile(), 'rw')
    def lock = null
    try {
        lock = handle.channel.tryLock()
    }
    catch (IOException reason) {
        log.warn("--outdir: the file system of '${name}' has no locks (${reason.message}); don't start a second run with this folder.")
        return handle
    }
    if (!lock) {
        error("--outdir: another run is writing to '${name}'. Wait for its end, or give this one a folder of its own.")
    }
    return lock
}

// Every input by a path that Nextflow can link into the folder of a task, or an error that names the others: it writes `$`, a tab and the
// letters of a pattern into its shell script as they are, so that the shell replaces them.
def requireLinkable(params, samplesheet) {
    def named = samplesheetPaths(samplesheet) + parameterPaths(params)
    def paths = [samplesheet] + named.collect { text -> findPath(samplesheet, text) }.findAll { path -> path }
    def odd = paths.findAll { path -> path.scheme == 'file' && isReplaced(path.toString()) }.collect { path -> "'${path}'" }.unique()
    if (odd) {
        error("Nothing was computed: ${odd.size() == 1 ? 'the path' : 'the paths'} ${odd.join(', ')} can't be handed to a task, because a shell reads part of ${odd.size() == 1 ? 'it' : 'them'} as a variable or a pattern. Rename the files or folders, or make a link to each, without `\$`, tabs and `{,}`, and without `*`, `?` and `[` where another file matches.")
    }
}

// Whether a shell replaces part of a path: a variable, a list in braces, or a pattern that other files match.
def isReplaced(path) {
    return path =~ /[$\t]|\{.*,.*\}/ || (path =~ /[*?\[]/ && files(path).any { found -> found.toString() != path })
}

// What is printed at the end: the summary that came with the report, if the run got that far, and one sentence.
def completionMessage(run, params) {
    def summary = file("${params.outdir}/report/scfmbench_summary.txt", glob: false)
    return (summary.exists() ? summary.getText('UTF-8') : '') + completionSentence(run, params)
}

// The last line. It agrees with the exit status: the verdict is that of this run (openOutdir sets an earlier one aside).
def completionSentence(run, params) {
    def report = "${params.outdir}/report/scfmbench_report.html"
    def written = file("${params.outdir}/tables/verdict.json", glob: false)
    def verdict = written.exists() ? parseJson(written) : null
    if (run.preview) {
        return 'scfmbench: a preview, nothing was computed.'
    }
    if (!run.success && run.errorMessage ==~ /SIG[A-Z]+/) {
        return "scfmbench was ended by the signal ${run.errorMessage} (Ctrl-C, `kill`, or the time limit of a scheduler). Run the same command with -resume: what was finished is not computed again."
    }
    if (run.success && params.fetch_only) {
        return "scfmbench downloaded what the samplesheet names to ${params.data_dir}. Run the same command without --fetch_only; it needs no connection."
    }
    if (verdict && verdict.exit_status != 0 && file(report, glob: false).exists()) {
        return "scfmbench completed with failures: ${verdict.message} Report: ${report}"
    }
    if (run.success && run.stats.ignoredCount == 0) {
        return "scfmbench completed in ${run.duration}. Report: ${report}"
    }
    if ("${run.errorMessage} ${run.errorReport}".contains('No space left on device')) {
        return 'scfmbench stopped: no space is left on the device of the work or the output folder. Free some space and run the same command with -resume.'
    }
    if (verdict && run.stats.ignoredCount > 0) {
        return "scfmbench completed with errors in ${run.stats.ignoredCount} tasks; see ${params.outdir}/pipeline_info/execution_trace.txt and the messages above. Report: ${report}"
    }
    return "scfmbench stopped before its end${verdict ? '' : ', before the tables were written'}; the reason is above."
}
