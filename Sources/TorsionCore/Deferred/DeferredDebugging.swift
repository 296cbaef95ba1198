// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// In debugging mode a reactor keeps, for each Deferred that was fired, where that was. The places
// stand in a table of the reactor, so that nothing else pays for them: a Deferred has one flag,
// which says whether it has an entry there.

/// Where something stands in the program.
struct ProgramPlace: CustomStringConvertible {
    let file: StaticString
    let line: UInt

    var description: String { "\(file):\(line)" }
}

extension Reactor {
    /// Whether it is kept where each Deferred was fired, besides where it was made.
    ///
    /// Firing one twice then names both places, and so does the report of a failure that nobody
    /// handled: there the place is that of the firing which the failure came from. Off at first;
    /// it counts for what is fired from then on, and costs an entry in a table for each Deferred of
    /// a chain that was fired.
    ///
    /// - SeeAlso: Twisted `twisted.internet.defer.setDebugging`.
    public var debugsDeferreds: Bool {
        get {
            checkThread()
            return firingPlaces != nil
        }
        set {
            checkThread()
            firingPlaces = newValue ? firingPlaces ?? [:] : nil
        }
    }
}

extension AnyDeferred {
    /// Where this Deferred, or the first of its chain, was fired.
    final var firingPlace: ProgramPlace? {
        hasFiringPlace ? reactor.firingPlaces?[ObjectIdentifier(self)] : nil
    }

    /// Notes a place, in debugging mode.
    @inline(never)
    final func keepFiringPlace(_ place: ProgramPlace) {
        guard reactor.firingPlaces != nil else { return }
        reactor.firingPlaces?[ObjectIdentifier(self)] = place
        hasFiringPlace = true
    }

    /// The result goes on, and where it came from with it.
    @inline(never)
    final func passFiringPlace(to link: AnyDeferred) {
        if let place = firingPlace { link.keepFiringPlace(place) }
    }

    @inline(never)
    final func forgetFiringPlace() {
        reactor.firingPlaces?[ObjectIdentifier(self)] = nil
    }
}
