// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// In debugging mode a reactor keeps, for each Deferred that was fired, where that was, and for each
// delayed call where it was made. The places of the former stand in a table of the reactor, so that
// nothing else pays for them: a Deferred has one flag, which says whether it has an entry there.
// Those of the latter are captured by a closure around the call's own.

/// Where something stands in the program.
struct ProgramPlace: CustomStringConvertible {
    let file: StaticString
    let line: UInt

    var description: String { "\(file):\(line)" }
}

extension Reactor {
    /// Whether the reactor remembers where each Deferred was fired, and where each delayed call was
    /// made.
    ///
    /// Firing a Deferred twice then names both places, and so does the report of an unhandled
    /// failure: there the place is that of the firing which the failure came from. The report of an
    /// error in a delayed call names the line of its ``callLater(_:file:line:_:)``.
    ///
    /// False at first. It counts for what is fired and made from then on, and costs an entry in a
    /// table for each Deferred of a chain that was fired, and an allocation for each delayed call.
    ///
    /// - SeeAlso: Twisted `twisted.internet.defer.setDebugging`, `DelayedCall.debug`.
    public var isDebugging: Bool {
        get {
            checkThread()
            return keepsPlaces
        }
        set {
            checkThread()
            keepsPlaces = newValue
            if !newValue { firingPlaces = [:] }
        }
    }
}

extension AnyDeferred {
    /// Where this Deferred, or the first of its chain, was fired.
    final var firingPlace: ProgramPlace? {
        hasFiringPlace ? reactor.firingPlaces[ObjectIdentifier(self)] : nil
    }

    /// Notes a place, in debugging mode.
    @inline(never)
    final func keepFiringPlace(_ place: ProgramPlace) {
        guard reactor.keepsPlaces else { return }
        reactor.firingPlaces[ObjectIdentifier(self)] = place
        hasFiringPlace = true
    }

    /// The result goes on, and where it came from with it.
    @inline(never)
    final func passFiringPlace(to link: AnyDeferred) {
        if let place = firingPlace { link.keepFiringPlace(place) }
    }

    @inline(never)
    final func forgetFiringPlace() {
        reactor.firingPlaces[ObjectIdentifier(self)] = nil
    }
}
