/*
 * Texts on a command line: values of a user reach a task through one of these, never as they are.
 */

// A value as JSON in one word of the shell. JSON has no raw newline, and an apostrophe is written as its escape.
def jsonWord(value) {
    return "'" + groovy.json.JsonOutput.toJson(value).replace("'", '\\u0027') + "'"
}

// A text in one word of the shell, whatever it holds.
def shellWord(text) {
    return "'" + text.toString().replace("'", "'\\''") + "'"
}

// A value of all embeddings of a task, as words of the shell: ids and families hold no character that it reads.
def ofMembers(meta, key) {
    return meta.members.collect { member -> member[key] }.join(' ')
}

// Cells and columns (`n_genes` or `n_dims`) that the memory of a task follows: the most among the embeddings that share the task.
def dataSize(meta, columns) {
    def members = meta.members ?: [meta]
    return [cells: members.collect { member -> member.n_cells ?: 0 }.max(), columns: members.collect { member -> member[columns] ?: 0 }.max()]
}

// A line of the shell that keeps what numba compiles for the next task of the user: below the work directory, or in `folder`. Compiling takes
// longer than work on few cells. Where the folder can't be written, the task compiles for itself.
def keepCompiled(folder, workDir) {
    def kept = folder ?: (workDir.toUri().scheme == 'file' ? "${workDir}/.numba" : '.cache/numba')
    def own = "${shellWord(kept)}-\$(id -u)"
    return "if mkdir -p ${own} 2> /dev/null && [ -w ${own} ]; then export NUMBA_CACHE_DIR=${own}; fi"
}
