// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Decides which chances become faults, and writes down those that did.
///
/// Each chance is decided by the seed and by its own name, not by how many came before it
/// elsewhere. So a run in which some faults are left out meets the others as before, which is what
/// makes a list of faults shrink.
final class FaultDraws {
    private enum Source {
        case rates(FaultRates)
        case script(Set<Fault>)
    }

    private let seed: UInt64
    private let source: Source
    /// Faults that happened, in order.
    private(set) var struck: [Fault] = []
    /// From then on nothing goes wrong any more, but what is asked for by hand.
    var isOver = false
    /// Of each kind, how many of the next chances become faults whatever the source says.
    private var asked = [Int](repeating: 0, count: Fault.Kind.allCases.count)

    init(seed: UInt64, rates: FaultRates) {
        self.seed = SeededDice.mix(seed &+ 0x9e37_79b9_7f4a_7c15)
        source = .rates(rates)
    }

    /// Exactly these faults happen.
    init(seed: UInt64, script: [Fault]) {
        self.seed = SeededDice.mix(seed &+ 0x9e37_79b9_7f4a_7c15)
        source = .script(Set(script))
    }

    /// Makes the next chances of a kind faults, wherever they are.
    func ask(for kind: Fault.Kind, count: Int) { asked[Int(kind.rawValue)] += count }

    /// Gives one chance away.
    ///
    /// - Returns: Nil if nothing goes wrong, else a word from which the fault takes its extent.
    func strike(_ kind: Fault.Kind, _ chances: Chances) -> UInt64? {
        let ordinal = chances.counts[Int(kind.rawValue)]
        chances.counts[Int(kind.rawValue)] = ordinal &+ 1
        let isAsked = asked[Int(kind.rawValue)] > 0
        guard isAsked || !isOver else { return nil }
        let name =
            UInt64(kind.rawValue) << 56 | UInt64(chances.place.rawValue) << 48
            | UInt64(chances.number)
        let word = SeededDice.mix(
            SeededDice.mix(seed ^ name) &+ UInt64(ordinal) &* 0x9e37_79b9_7f4a_7c15)
        let fault = chances.fault(kind, ordinal)
        if isAsked {
            asked[Int(kind.rawValue)] -= 1
        } else {
            switch source {
            case .rates(let rates): guard Int(word % 10_000) < rates[kind] else { return nil }
            case .script(let script): guard script.contains(fault) else { return nil }
            }
        }
        struck.append(fault)
        return SeededDice.mix(word)
    }
}

/// The chances that one side of a connection, or one host, has had.
final class Chances {
    let number: UInt32
    let place: Fault.Place
    fileprivate var counts = [UInt32](repeating: 0, count: Fault.Kind.allCases.count)

    init(_ number: Int, _ place: Fault.Place) {
        self.number = UInt32(number)
        self.place = place
    }

    fileprivate func fault(_ kind: Fault.Kind, _ ordinal: UInt32) -> Fault {
        Fault(kind: kind, number: number, place: place, ordinal: ordinal)
    }
}
