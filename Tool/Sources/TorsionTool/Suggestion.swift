// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What somebody may have meant.
enum Suggestion {
    /// The name that a misspelt word is nearest to; nil if it is one of them, an option, or like none.
    static func near(_ word: String, among names: [String]) -> String? {
        guard !word.hasPrefix("-"), !names.contains(word) else { return nil }
        let ranked = names.map { (distance: distance(word, $0), name: $0) }
        let best = ranked.min { ($0.distance, $0.name) < ($1.distance, $1.name) }
        guard let best, best.distance <= max(1, word.count / 2), best.distance < word.count else {
            return nil
        }
        return best.name
    }

    /// How many letters differ: inserted, left out, changed, or two exchanged.
    private static func distance(_ one: String, _ other: String) -> Int {
        let (one, other) = (Array(one.utf8.prefix(32)), Array(other.utf8))
        var beforeLast: [Int] = []
        var last = Array(0...other.count)
        for row in 1...max(1, one.count) where !one.isEmpty {
            var next = [row]
            for column in 1...max(1, other.count) where !other.isEmpty {
                let isSame = one[row - 1] == other[column - 1]
                var best = min(
                    last[column] + 1, next[column - 1] + 1, last[column - 1] + (isSame ? 0 : 1))
                let isExchange =
                    row > 1 && column > 1 && one[row - 1] == other[column - 2]
                    && one[row - 2] == other[column - 1]
                if isExchange { best = min(best, beforeLast[column - 2] + 1) }
                next.append(best)
            }
            (beforeLast, last) = (last, next)
        }
        return last[other.count]
    }
}
