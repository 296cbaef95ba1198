// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
//
// Fails if a public function, initialiser or subscript has a parameter that its doc comment does not
// name, by `- Parameter name:` or in a list `- Parameters:`. Hovers and DocC show nothing else. What is
// public comes from the compiler's symbol graphs, members of public protocols and of `@_spi` included.
//
// A declaration without a comment of its own has its requirement's, which is checked there.
//
//   parameters GRAPH-FOLDER
import Foundation

struct Graph: Decodable {
    struct Symbol: Decodable {
        struct Kind: Decodable { let identifier: String }
        struct Position: Decodable { let line: Int }
        struct Location: Decodable {
            let uri: String
            let position: Position
        }
        struct Doc: Decodable {
            struct Line: Decodable {
                struct Range: Decodable { let start: Position }
                let range: Range?
                let text: String
            }
            let uri: String?
            let lines: [Line]
        }
        struct Fragment: Decodable {
            let kind: String
            let spelling: String
        }
        struct Signature: Decodable {
            struct Parameter: Decodable {
                let name: String
                let internalName: String?
            }
            let parameters: [Parameter]?
        }
        let kind: Kind
        let pathComponents: [String]
        let location: Location?
        let docComment: Doc?
        let functionSignature: Signature?
        let declarationFragments: [Fragment]?

        /// The names by which the body knows them, which are those of the comment.
        var parameters: [String] {
            if let parameters = functionSignature?.parameters {
                return parameters.map { $0.internalName ?? $0.name }
            }
            // A subscript has no signature; each parameter's last name comes before its colon.
            guard kind.identifier.hasSuffix("subscript") else { return [] }
            let parts = declarationFragments ?? []
            return parts.indices.filter { index in
                let isName = ["internalParam", "externalParam"].contains(parts[index].kind)
                return isName && index + 1 < parts.count && parts[index + 1].spelling.hasPrefix(":")
            }.map { parts[$0].spelling }
        }
    }
    let symbols: [Symbol]
}

/// The names that a doc comment has text for.
func namedParameters(in lines: [String]) -> Set<String> {
    var names: Set<String> = []
    var isInList = false
    for line in lines {
        if let match = line.firstMatch(of: #/^- [Pp]arameter +`?(\w+)`?: *\S/#) {
            names.insert(String(match.1))
            isInList = false
        } else if line.contains(#/^- [Pp]arameters:/#) {
            isInList = true
        } else if isInList, let match = line.firstMatch(of: #/^ +- `?(\w+)`?: *\S/#) {
            names.insert(String(match.1))
        } else if !line.hasPrefix(" ") {
            isInList = false
        }
    }
    return names
}

/// One doc comment, and the declarations that the compiler shows it for.
struct Comment: Hashable {
    let uri: String
    let line: Int
}

var declarations: [Comment: [Graph.Symbol]] = [:]
let folder = CommandLine.arguments[1]
let files = try FileManager.default.contentsOfDirectory(atPath: folder)
for file in files.sorted() where file.hasSuffix(".symbols.json") {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(file)"))
    for symbol in try JSONDecoder().decode(Graph.self, from: data).symbols {
        guard let place = symbol.location, let doc = symbol.docComment,
            doc.uri ?? place.uri == place.uri,
            let start = doc.lines.first?.range?.start.line, start < place.position.line,
            symbol.kind.identifier != "swift.enum.case", !symbol.parameters.isEmpty
        else { continue }
        declarations[Comment(uri: place.uri, line: start), default: []].append(symbol)
    }
}

/// In one file a requirement's comment is shown for its witnesses too: it belongs to the first below it.
var checked = 0
var complaints: [(uri: String, line: Int, text: String)] = []
for symbols in declarations.values {
    let owner = symbols.min { $0.location!.position.line < $1.location!.position.line }!
    checked += 1
    let named = namedParameters(in: owner.docComment!.lines.map(\.text))
    for parameter in owner.parameters where !named.contains(parameter) {
        let path = owner.pathComponents.joined(separator: ".")
        complaints.append(
            (
                owner.location!.uri, owner.location!.position.line + 1,
                "the comment of \(path) does not name the parameter \(parameter)"
            ))
    }
}

let root = URL(fileURLWithPath: FileManager.default.currentDirectoryPath).absoluteString
for complaint in complaints.sorted(by: { ($0.uri, $0.line, $0.text) < ($1.uri, $1.line, $1.text) })
{
    var path = complaint.uri
    if path.hasPrefix(root) { path.removeFirst(root.count) }
    if path.hasPrefix("/") { path.removeFirst() }
    FileHandle.standardError.write(Data("\(path):\(complaint.line): \(complaint.text)\n".utf8))
}
if !complaints.isEmpty { exit(1) }
// A reader of graphs that have changed their form would be pleased with anything.
guard checked > 100 else {
    FileHandle.standardError.write(
        Data("only \(checked) comments with parameters were found\n".utf8))
    exit(1)
}
print("\(checked) declarations name each of their parameters")
