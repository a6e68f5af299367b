/*
 * Functions of the workflow layer: samplesheet, settings of a step and the digest of the code behind it.
 */

// A task's settings: the parameters it reads and a digest of the Python code it runs. Both become part of the
// task's hash, so a change of either re-runs the task and nothing else.
//   executable  name of the script in bin/
//   names       parameters, or prefixes of parameters when they end with '_'
//   plugins     Python files that the script loads by name, relative to bin/ ('*' for a whole folder)
def stepSettings(params, executable, names, plugins = []) {
    def settings = [code: codeDigest(executable, plugins)]
    params.keySet().toSorted().each { key ->
        if (names.any { name -> name.endsWith('_') ? key.startsWith(name) : key == name }) {
            settings[key] = params[key]
        }
    }
    return settings
}

// SHA-256 over the executable, every module of bin/scfm that it imports, directly or not, and the tables and R scripts beside them.
def codeDigest(executable, plugins = []) {
    def bin = file("${projectDir}/bin")
    def known = java.nio.file.Files.walk(bin.resolve('scfm')).toList().collect { path -> bin.relativize(path).toString() }.toSet()
    def loaded = plugins.collectMany { pattern -> files("${bin}/${pattern}").collect { source -> bin.relativize(source).toString() } }
    def modules = withImports(bin, known, [executable] + loaded, [].toSet())
    def folders = modules.collect { name -> folderOf(name) }.toSet()
    def tables = known.findAll { name -> name ==~ /.*\.(tsv|json|R)/ && folderOf(name) in folders }
    def sources = (modules + tables).toSorted().collect { name -> name + '\n' + bin.resolve(name).getText('UTF-8') }
    return sources.join('\n').digest('SHA-256')
}

// The folder of a file, both relative to bin/.
def folderOf(name) {
    return name.contains('/') ? name.substring(0, name.lastIndexOf('/')) : ''
}

// The files `pending` and, recursively, every file of bin/scfm that they import; paths are relative to bin/. `known`: all paths in it.
def withImports(bin, known, pending, seen) {
    def fresh = pending.toSet() - seen
    if (!fresh) {
        return seen
    }
    return withImports(bin, known, fresh.collectMany { name -> importedFiles(name, bin.resolve(name).getText('UTF-8'), known) }, seen + fresh)
}

// Files of bin/scfm that a Python file imports: `import scfm.a`, `from scfm.a import b, c`, `from .a import (b, c)`.
def importedFiles(source, text, known) {
    def imports = text =~ /(?m)^[ \t]*(?:import[ \t]+(scfm[\w.]*)|from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|.*))/
    return imports.collect { _line, whole, dots, name, names ->
        def module = whole ?: absoluteModule(source, dots, name)
        module.startsWith('scfm') ? moduleFiles(module, known) + memberFiles(module, names ?: '', known) : []
    }.flatten()
}

// Of names imported from a module, those that are modules themselves.
def memberFiles(module, names, known) {
    def folder = module.replace('.', '/')
    return names.replaceAll(/#.*/, '').tokenize('(), \t\n').collectMany { member ->
        ["${folder}/${member}.py".toString(), "${folder}/${member}/__init__.py".toString()].findAll { path -> path in known }
    }
}

// The dotted name behind a relative import.
def absoluteModule(source, dots, name) {
    if (!dots) {
        return name
    }
    def base = source.tokenize('/').dropRight(dots.size()).join('.')
    return name ? "${base}.${name}".toString() : base
}

// A module's file and the __init__.py of every package above it; only those that exist.
def moduleFiles(dotted, known) {
    def parts = dotted.tokenize('.')
    def candidates = [parts.join('/') + '.py'] + parts.indices.collect { i -> parts[0..i].join('/') + '/__init__.py' }
    return candidates.findAll { candidate -> candidate in known }
}

// The samplesheet as a file, or an error that says what to do.
def requireSamplesheet(params) {
    if (!params.input) {
        error("--input is missing: a CSV with one row per data set (dataset,h5ad,batch_key,label_key). Try `-profile test`, or see docs/usage.md.")
    }
    def samplesheet = file(params.input, glob: false)
    if (!samplesheet.exists()) {
        error("--input: the file '${params.input}' does not exist. Expected a CSV with one row per data set; check the path.")
    }
    return samplesheet
}

// Rows of the samplesheet as maps: names and values trimmed, empty values and rows left out, values may be quoted.
// read_samplesheet in bin/scfm/inputs/samplesheet.py reads the same (tests/python/test_inputs_samplesheet.py).
def readSamplesheet(samplesheet) {
    def lines = samplesheet.getText('UTF-8').replace('\uFEFF', '').readLines().collect { line -> csvCells(line) }
    def filled = lines.findAll { cells -> cells.any() }
    return filled.drop(1).collect { cells -> [filled[0], cells].transpose().collectEntries().findAll { _name, value -> value } }
}

// Values of one line of a CSV. The operator splitCsv refuses a quoted value that holds a quote ("" in the file).
def csvCells(line) {
    def cells = "${line}," =~ /\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*,/
    return cells.collect { _whole, quoted, plain -> stripped(quoted == null ? plain : quoted.replace('""', '"')) }
}

// A text without the blanks around it, also those that trim() leaves, such as the no-break space that a word processor writes.
def stripped(text) {
    return text.replaceAll('(?U)^\\s+|\\s+$', '')
}

// A JSON file as lists and maps.
def parseJson(path) {
    return parseText(path.getText('UTF-8'))
}

// Files in the order of their names, so that a resumed run finds the same task.
def inOrder(items) {
    return items.toSorted { item -> item.name }
}

// A JSON text as lists and maps.
def parseText(text) {
    return new groovy.json.JsonSlurper().parseText(text)
}

// A YAML file as lists and maps.
def readYaml(path) {
    return new org.yaml.snakeyaml.Yaml().load(path.getText('UTF-8'))
}

// Maps process -> package -> version in one, sorted; processes by their last name. Where tasks of a process ran with several versions
// (a resumed run), all are named.
def mergeVersions(items) {
    def rows = items.collectMany { item ->
        item.collectMany { process, packages ->
            packages.collect { name, version -> [process.tokenize(':').last(), name, version.toString()] }
        }
    }.toSorted { a, b -> a.join(' ') <=> b.join(' ') }
    return rows.groupBy { row -> row[0] }.collectEntries { process, group ->
        [process, group.groupBy { row -> row[1] }.collectEntries { name, same -> [name, same.collect { row -> row[2] }.unique().join(', ')] }]
    }
}

// Versions of the pipeline and of Nextflow, beside those of the processes.
def ownVersions() {
    return [Workflow: [scfmbench: workflow.manifest.version, Nextflow: workflow.nextflow.version.toString()]]
}

// Lists and maps as YAML, a key a line.
def toYaml(value) {
    return new org.yaml.snakeyaml.Yaml().dumpAsMap(value)
}

// A path of the samplesheet: as written (`*`, `?`, `[` and `{` are letters of its name), or relative to the samplesheet's folder.
// Null when neither exists.
def findPath(samplesheet, text) {
    def candidates = text.startsWith('/') || text.contains('://') ? [text] : [text, "${samplesheet.parent}/${text}"]
    return candidates.collect { candidate -> file(candidate, glob: false) }.find { path -> path.exists() }
}

// What a step about a data set reads of its checked row: all but the files that other steps take. As part of a meta it is in the task's
// hash, which neither another parameter nor another file of the samplesheet changes. `kept`: columns of such files that the step reads.
def ownRow(row, kept = []) {
    return row.findAll { name, _value -> name in kept || !(name in ['embeddings', 'markers', 'gmt', 'network', 'query']) }
}

// Every path the samplesheet names: the data files, the tables of the column `embeddings`, markers, gene sets and networks.
def samplesheetPaths(samplesheet) {
    def rows = readSamplesheet(samplesheet)
    def named = rows.collectMany { row -> [row.h5ad, row.markers, row.gmt, row.network, row.query] }
    rows.each { row ->
        (row.embeddings ?: '').tokenize(';').each { entry ->
            def source = entry.contains('=') ? entry.substring(entry.indexOf('=') + 1) : entry
            if (!stripped(source).startsWith('obsm:')) {
                named << stripped(source)
            }
        }
    }
    return named.findAll { text -> text }.unique()
}

// Every file that a parameter names and that is found beside the samplesheet too.
def parameterPaths(params) {
    return ['hvg_exclude', 'hvg_force', 'model_options', 'sweep', 'reference'].collect { name -> params[name] }.findAll { text -> text }
}

// Every model's folder below --weights_dir -> the names of the files in it, so that the check finds what is missing
// without staging gigabytes.
def weightFiles(weights_dir) {
    def root = weights_dir ? file(weights_dir, glob: false) : null
    if (!root?.exists()) {
        return [:]
    }
    return root.listFiles().findAll { folder -> folder.isDirectory() }.collectEntries { folder ->
        def names = java.nio.file.Files.walk(folder, java.nio.file.FileVisitOption.FOLLOW_LINKS).toList()
            .findAll { item -> item.isFile() }
            .collect { item -> folder.relativize(item).toString() }
        [folder.name, names.toSorted()]
    }
}
