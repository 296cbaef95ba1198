// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// What a server says first, or why it says nothing.
func greeting(of place: String, on reactor: Reactor) async -> String {
    do {
        let line = try await reactor.withTimeout(.milliseconds(500)) {
            let connection = try await ClientEndpoint(parsing: place).connect(on: reactor).value
            defer { connection.close() }
            return try await connection.readLine(limitBytes: 1_000)
        }
        guard let line else { return "\(place): it closed without a word" }
        return "\(place) says \(String(decoding: line))"
    } catch is TimeoutError {
        return "\(place) says nothing for half a second"
    } catch {
        return "\(place): \(error)"
    }
}

Reactor.main { reactor in
    let places = Array(CommandLine.arguments.dropFirst())
    var lines = [String](repeating: "", count: places.count)
    // The group waits for all its tasks. They take turns on one thread, so `lines` needs no lock.
    try await reactor.withServingGroup { group in
        for (index, place) in places.enumerated() {
            group.spawn { lines[index] = await greeting(of: place, on: reactor) }
        }
    }
    for line in lines { print(line) }
}
