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
