// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
//
// Prints the page *Interfaces*: every public protocol by role. What a protocol is for, its members
// and who gives defaults comes from the compiler's symbol graphs; what no compiler knows, the order
// of calls and the like, from `scripts/interfaces.table`. Fails if a protocol is in one and not in
// the other, or if a number of behaviour has no test.
//
//   interfaces GRAPH-FOLDER ROOT
import Foundation

struct Graph: Decodable {
    struct Symbol: Decodable {
        struct Kind: Decodable { let identifier: String }
        struct Name: Decodable { let precise: String }
        struct Names: Decodable { let title: String }
        struct Doc: Decodable {
            struct Line: Decodable { let text: String }
            let lines: [Line]
        }
        let kind: Kind
        let identifier: Name
        let names: Names
        let pathComponents: [String]
        let functionSignature: Signature?
        let docComment: Doc?

        struct Signature: Decodable {
            struct Parameter: Decodable {
                struct Fragment: Decodable {
                    let kind: String
                    let spelling: String
                }
                let declarationFragments: [Fragment]
            }
            let parameters: [Parameter]?
        }

        /// The types of its parameters, which tell two functions of one name apart.
        var parameterTypes: [String] {
            (functionSignature?.parameters ?? []).map { parameter in
                parameter.declarationFragments
                    .filter { $0.kind != "identifier" && $0.kind != "internalParam" }
                    .map(\.spelling).joined()
            }
        }

        /// The first paragraph, without the marks of links.
        var summary: String {
            let lines = docComment?.lines.map(\.text).prefix { !$0.isEmpty } ?? []
            return lines.joined(separator: " ").replacingOccurrences(of: "``", with: "`")
        }
    }
    struct Relationship: Decodable {
        let kind: String
        let source: String
        let target: String
    }
    let symbols: [Symbol]
    let relationships: [Relationship]
}

/// What the table says of one protocol.
struct Entry {
    let name: String
    let role: String
    var fields: [String: String] = [:]
}

var complaints: [String] = []

func text(_ path: String) -> String {
    guard let data = FileManager.default.contents(atPath: path) else {
        complaints.append("there is no \(path)")
        return ""
    }
    return String(decoding: data, as: UTF8.self)
}

func readTable(_ path: String) -> (rules: [String: String], entries: [Entry]) {
    var rules: [String: String] = [:]
    var entries: [Entry] = []
    var role = ""
    for line in text(path).split(separator: "\n") where !line.hasPrefix("#") {
        guard let colon = line.firstIndex(of: ":") else { continue }
        let key = String(line[..<colon])
        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        switch key {
        case "rule":
            let words = value.split(separator: " ", maxSplits: 1).map(String.init)
            rules[words[0]] = words[1]
        case "role": role = value
        case "protocol": entries.append(Entry(name: value, role: role))
        default: entries[entries.count - 1].fields[key] = value
        }
    }
    return (rules, entries)
}

/// The sentence of each test that a comment such as `// S1, S5` marks, by number.
func findTests(under root: String) -> [String: [String]] {
    var found: [String: [String]] = [:]
    for folder in ["Sources/TorsionTesting", "Tests"] {
        let files = FileManager.default.enumerator(atPath: "\(root)/\(folder)")
        for case let path as String in files! where path.hasSuffix(".swift") {
            var numbers: [String] = []
            for line in text("\(root)/\(folder)/\(path)").components(separatedBy: "\n") {
                let code = line.trimmingCharacters(in: .whitespaces)
                if code.wholeMatch(of: #/// [A-Z]\d+(, [A-Z]\d+)*/#) != nil {
                    numbers = code.dropFirst(3).components(separatedBy: ", ")
                } else if !numbers.isEmpty,
                    let match = code.firstMatch(of: #/func `([^`]+)`|^"([^"]+)"|Check\("([^"]+)"/#)
                {
                    let name = match.1 ?? match.2 ?? match.3 ?? ""
                    for number in numbers { found[number, default: []].append(String(name)) }
                    numbers = []
                }
            }
        }
    }
    return found
}

let graphs = CommandLine.arguments[1]
let root = CommandLine.arguments[2]
var symbols: [String: Graph.Symbol] = [:]
var relationships: [Graph.Relationship] = []
for file in try FileManager.default.contentsOfDirectory(atPath: graphs).sorted() {
    // The umbrella shows what it re-exports once more.
    guard file.hasSuffix(".symbols.json"), !file.contains("@"), file != "Torsion.symbols.json"
    else { continue }
    let data = FileManager.default.contents(atPath: "\(graphs)/\(file)")!
    let graph = try JSONDecoder().decode(Graph.self, from: data)
    for symbol in graph.symbols { symbols[symbol.identifier.precise] = symbol }
    relationships += graph.relationships
}
let protocols = symbols.values.filter { $0.kind.identifier == "swift.protocol" }
let (rules, entries) = readTable("\(root)/scripts/interfaces.table")
let tests = findTests(under: root)
let snippets = text("\(root)/Tests/Snippets/Conformers.swift")
/// Requirements for which a protocol's own extension has a default.
///
/// Not those for which only a protocol derived from it has one: `LineProtocol` gives a
/// `dataReceived`, and `StreamProtocol` gives none.
func defaults(of symbol: Graph.Symbol) -> Set<String> {
    Set(
        relationships.filter {
            $0.kind == "defaultImplementationOf"
                && symbols[$0.source]?.pathComponents.first == symbol.names.title
                && symbols[$0.source]?.parameterTypes == symbols[$0.target]?.parameterTypes
        }.map(\.target))
}

func members(of symbol: Graph.Symbol) -> (required: [String], defaulted: [String]) {
    let all = relationships.filter {
        $0.target == symbol.identifier.precise
            && ($0.kind == "requirementOf" || $0.kind == "optionalRequirementOf")
    }
    let named = all.compactMap { relation in
        symbols[relation.source].map {
            (relation.source, "`\($0.names.title.split(separator: ".").last!)`")
        }
    }
    let defaulted = defaults(of: symbol)
    func sorted(_ isDefaulted: Bool) -> [String] {
        Array(Set(named.filter { defaulted.contains($0.0) == isDefaulted }.map(\.1))).sorted()
    }
    return (sorted(false), sorted(true))
}

func page() -> String {
    var lines = [
        "# Interfaces", "",
        "Every public protocol by role: who implements it, who calls it, in which order.", "",
        "In the order of calls `*` is any number of times, `?` at most once, `|` either, and words stand in the order in which they come. Numbers name the rules at the end. `Tests/Snippets/Conformers.swift` has an example of each, and `make interfaces` writes this page.",
        "",
    ]
    var role = ""
    for entry in entries {
        guard let symbol = protocols.first(where: { $0.names.title == entry.name }) else {
            complaints.append("the table has \(entry.name), which is no public protocol")
            continue
        }
        if symbol.summary.isEmpty { complaints.append("\(entry.name) has no sentence") }
        if entry.role != role {
            role = entry.role
            lines += ["## \(role)", ""]
        }
        let (required, defaulted) = members(of: symbol)
        lines += ["### \(entry.name)", "", symbol.summary, ""]
        for key in ["implemented by", "called by", "order", "twisted"] {
            guard let value = entry.fields[key] else {
                complaints.append("\(entry.name) has no '\(key)'")
                continue
            }
            let shown = key == "order" ? "`\(value)`" : value
            lines.append(
                "- **\(key == "twisted" ? "In Twisted" : key.capitalizedFirst)**: \(shown)")
        }
        if !required.isEmpty { lines.append("- **Required**: \(required.joined(separator: ", "))") }
        if !defaulted.isEmpty {
            lines.append("- **Defaulted**: \(defaulted.joined(separator: ", "))")
        }
        let numbers = (entry.fields["rules"] ?? "").split(separator: " ").map(String.init)
        for number in numbers where rules[number] == nil {
            complaints.append("\(entry.name): no rule \(number)")
        }
        if !numbers.isEmpty { lines.append("- **Rules**: \(numbers.joined(separator: ", "))") }
        guard snippets.contains("// snippet: \(entry.name)\n") else {
            complaints.append("\(entry.name) has no example in Tests/Snippets/Conformers.swift")
            continue
        }
        lines.append("")
    }
    lines += [
        "## Rules of behaviour", "",
        "A comment with the number stands above each test of a rule, as `// S1`.", "",
    ]
    for (number, rule) in rules.sorted(by: {
        ($0.key.prefix(1), Int($0.key.dropFirst())!) < ($1.key.prefix(1), Int($1.key.dropFirst())!)
    }) {
        guard let names = tests[number] else {
            complaints.append("no test is marked with \(number)")
            continue
        }
        let count = names.count == 1 ? "1 test" : "\(names.count) tests"
        lines.append("- **\(number)** \(rule) (\(count)).")
    }
    return lines.joined(separator: "\n")
}

extension String {
    var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}

let result = page()
for missing in protocols.map(\.names.title).sorted()
where !entries.contains(where: { $0.name == missing }) {
    complaints.append("the public protocol \(missing) is missing in scripts/interfaces.table")
}
guard complaints.isEmpty else {
    for complaint in complaints {
        FileHandle.standardError.write(Data("interfaces: \(complaint)\n".utf8))
    }
    exit(1)
}
print(result)
