/*
 * Functions about parameters: their help, their summary at the start of a run, and lists of a params file as comma lists.
 */

include { parseJson } from './main'

// The schema's groups of parameters, in its order: [ title, [ name: property ] ].
def parameterGroups() {
    def schema = parseJson(file("${projectDir}/nextflow_schema.json"))
    return schema['allOf'].collect { link -> schema['$defs'][link['$ref'].tokenize('/').last()] }.collect { group -> [group.title, group.properties] }
}

// Every parameter of the schema: [ name: property ].
def parameterProperties() {
    return parameterGroups().collectMany { _title, properties -> properties.collect { name, property -> [name, property] } }.collectEntries()
}

// What --version prints.
def versionMessage() {
    return "scfmbench ${workflow.manifest.version}, Nextflow ${workflow.nextflow.version}"
}

// Parameters with every list of a params file (`methods: [harmony, scvi]`) as a comma list, as on the command line.
def withCommaLists(params) {
    return params.collectEntries { name, value -> [name, value instanceof List ? commaList(name, value) : value] }
}

// One list as a comma list, or an error where an element can't be part of one.
def commaList(name, values) {
    def odd = values.findAll { value -> value == null || value instanceof List || value instanceof Map || value.toString().contains(',') }
    if (odd) {
        error("Parameter --${name} is a list with ${odd.size() == 1 ? 'the element' : 'the elements'} ${odd.join(', ')}; expected single values without commas.")
    }
    return values.join(',')
}

// Text of --help: every parameter that is not hidden (with --show_hidden all of them), or, as --help NAME, one of them in full.
def helpMessage(params) {
    if (params.help instanceof CharSequence && !(params.help in ['true', 'all'])) {
        return parameterHelp(params.help.toString(), params)
    }
    def hidden = 0
    def lines = [
        "scfmbench ${workflow.manifest.version}: ${workflow.manifest.description}.",
        '',
        'Usage: nextflow run . --input samplesheet.csv --outdir results [-profile <docker|singularity|conda|...>]',
        '',
    ]
    parameterGroups().each { title, properties ->
        def shown = properties.findAll { _name, property -> params.show_hidden || !property.hidden }
        hidden += properties.size() - shown.size()
        if (shown) {
            lines << title
            shown.each { name, property -> lines << parameterLine(name, property) }
            lines << ''
        }
    }
    lines << 'One parameter in full: nextflow run . --help NAME'
    if (hidden) {
        lines << "${hidden} expert parameters are hidden; list them with --help --show_hidden."
    }
    return lines.join('\n')
}

// One line of --help. The default is the schema's: --help itself is set in the run that prints it.
def parameterLine(name, property) {
    def choices = property['enum'] ? " [${property['enum'].join(', ')}]" : ''
    return "  --${name.padRight(32)} ${property.description}${choices} (default: ${property['default'] == null ? 'none' : property['default']})"
}

// One parameter in full.
def parameterHelp(text, params) {
    def name = text.replaceAll(/^-+/, '').replace('-', '_')
    def properties = parameterProperties()
    def property = properties[name]
    if (!property) {
        def near = properties.keySet().findAll { known -> known.contains(name) || name.contains(known) }
        error("--help ${text}: there is no parameter of this name.${near ? ' Similar: ' + near.join(', ') + '.' : ''} 'nextflow run . --help --show_hidden' lists all parameters.")
    }
    def lines = ["--${name}", "  ${property.description}", '']
    lines << "  type:    ${[property.type].flatten().join(' or ')}"
    lines << "  default: ${property['default'] == null ? 'none' : property['default']}"
    if (allowedValues(property)) {
        lines << "  allowed: ${allowedValues(property)}"
    }
    if (name != 'help' && !sameValue(params[name], property['default'])) {
        lines << "  here:    ${params[name]}"
    }
    if (property.help_text) {
        lines << '' << "  ${property.help_text}"
    }
    return lines.join('\n')
}

// The values that the schema allows, in words; empty where the type is all it asks for.
def allowedValues(property) {
    if (property['enum']) {
        return property['enum'].join(', ')
    }
    def limits = [minimum: '%s or more', exclusiveMinimum: 'more than %s', maximum: '%s or less', exclusiveMaximum: 'less than %s']
    def range = limits.findAll { key, _words -> property[key] != null }.collect { key, words -> String.format(words, property[key]) }
    return (range + (property.pattern ? ["texts that match ${property.pattern}"] : [])).join(', ')
}

// Whether a value is that of the schema: 1 and 1.0 are the same, and so are null and no default.
def sameValue(value, fallback) {
    if (value instanceof Number && fallback instanceof Number) {
        return value.toBigDecimal().compareTo(fallback.toBigDecimal()) == 0
    }
    return "${value}".toString() == "${fallback}".toString()
}

// What the run starts with: how it runs, and the parameters that differ from their defaults, by group.
def parameterSummary(params, run) {
    def own = [name: run.runName, profile: run.profile, containers: run.containerEngine, 'work folder': run.workDir].findAll { _name, value -> value }
    def groups = [['Run', own]]
    parameterGroups().each { title, properties ->
        def set = properties
            .findAll { name, property -> name in ['input', 'outdir'] || !sameValue(params[name], property['default']) }
            .collectEntries { name, _property -> [name, params[name]] }
        groups << [title, set]
    }
    def lines = [versionMessage()]
    groups.findAll { _title, values -> values }.each { title, values ->
        lines << title
        values.each { name, value -> lines << "  ${name.padRight(30)} ${value}" }
    }
    lines << "Other parameters have their defaults${run.preview ? '' : "; all of them are in ${params.outdir}/pipeline_info/params.json"}."
    return lines.join('\n')
}
