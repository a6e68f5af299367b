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
