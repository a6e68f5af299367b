/*
 * Groups of embeddings that share a task (`task_group` in plan.tsv).
 *
 * A group is a list [ meta, files, ... ]: meta has the group's id, its data set and, as `members`, the metas of its embeddings;
 * `files` is a list with one file of each embedding. What is no list (the obs table) belongs to the data set.
 */

// A row of the plan as the meta of its embedding. Without the group: it decides who shares a task, not what is computed.
def asMeta(row) {
    return row - row.subMap('task_group') + [id: "${row.dataset}.${row.embedding}".toString()]
}

// Whether an embedding is a point of a sweep. Points are scored, and no step after that takes them.
def isPoint(meta) {
    return meta.instance == 'sweep'
}

// Rows of the plan that will run -> channel (value): map: embedding id -> [ name of its group, ids of the group in the order of the plan ].
def groupsOf(ch_plan) {
    return ch_plan
        .filter { row -> !row.status }
        .map { row -> [row.task_group, "${row.dataset}.${row.embedding}".toString()] }
        .toList()
        .map { pairs -> pairs.groupBy { pair -> pair[0] }.values().collectMany { group -> withIds(group) }.collectEntries() }
}

// Pairs [ group, id ] of one group as pairs [ id, [ name, ids ] ].
def withIds(pairs) {
    def ids = pairs.collect { pair -> pair[1] }
    return pairs.collect { pair -> [pair[1], [name: pair[0], ids: ids]] }
}

// Embeddings, [ meta, file, ... ] each, in their groups. An embedding without content (its step failed) is counted and left out. A group
// is complete when all its embeddings are there; one that never comes (its task was killed) holds it up until all tasks have ended.
def inGroups(ch_items, ch_groups) {
    return ch_items
        .combine(ch_groups)
        .map { item ->
            def group = item.last()[item[0].id]
            [groupKey(group, group.ids.size()), item.init()]
        }
        .groupTuple(remainder: true)
        .map { group, items ->
            def sorted = items.findAll { item -> item[1].size() > 0 }.toSorted { item -> group.ids.indexOf(item[0].id) }
            [group.name, sorted]
        }
        .filter { _name, items -> items }
        .map { name, items -> asGroup(name, items) }
}

// A group of embeddings, [ meta, file, ... ] each; a group of one is called as its embedding.
def asGroup(name, items) {
    def members = items.collect { item -> item[0] }
    def meta = [id: items.size() == 1 ? members[0].id : name, dataset: members[0].dataset, members: members]
    return [meta] + (1..<items[0].size()).collect { i -> items.collect { item -> item[i] } }
}

// The embeddings of a group, [ meta, file, ... ] each, that have all their files: their names begin with the embedding's id.
def membersOf(group) {
    def lists = group.drop(1).collect { files -> files instanceof List ? files : [files] }
    return group[0].members
        .collect { meta -> [meta] + lists.collect { files -> files.find { file -> file.name.startsWith("${meta.id}.") } } }
        .findAll { item -> item.every { part -> part != null } }
}

// All embeddings of groups that a step has left, [ meta, file, ... ] each.
def singly(ch_groups) {
    return ch_groups.flatMap { group -> membersOf(group) }
}

// Groups without the embeddings whose step failed: it leaves its main outputs with 0 bytes, and its reason in the status.
def made(ch_groups) {
    return withMembers(ch_groups) { item -> item.last().size() > 0 }
}

// Groups with the embeddings that a step has left its files of, also with 0 bytes: all but those whose process was killed.
def leftBy(ch_groups) {
    return withMembers(ch_groups) { _item -> true }
}

// Groups with some of the embeddings that have all their files.
def withMembers(ch_groups, wanted) {
    return ch_groups
        .map { group -> [group[0].id, membersOf(group).findAll(wanted)] }
        .filter { _id, items -> items }
        .map { id, items -> asGroup(id, items) }
}

// The embeddings of groups that a step has left nothing of, each as a group of one: their process was killed, or the whole task was.
// One bad embedding takes no other with it.
def alone(ch_groups, ch_left) {
    return ch_groups
        .filter { group -> group[0].members.size() > 1 }
        .map { group -> [group[0].id, group] }
        .join(ch_left.map { left -> [left[0].id, membersOf(left).collect { item -> item[0].id }] }, remainder: true)
        .filter { _id, group, _ids -> group != null }
        .flatMap { _id, group, ids ->
            group[0].members.findAll { meta -> !(meta.id in (ids ?: [])) }.collect { meta -> onlyMember(group, meta) }
        }
}

// A group with one of its embeddings. The files of a corrected one are its own or, before it is corrected, those of the raw one.
def onlyMember(group, meta) {
    def raw = "${meta.dataset}.${meta.method}.raw.${meta.seed}."
    return [[id: meta.id, dataset: meta.dataset, members: [meta]]] + group.drop(1).collect { files ->
        files instanceof List
            ? [files.find { file -> file.name.startsWith("${meta.id}.") } ?: files.find { file -> file.name.startsWith(raw) }]
            : files
    }
}
