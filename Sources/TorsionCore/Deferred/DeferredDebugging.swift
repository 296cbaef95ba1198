// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// In debugging mode a reactor keeps, for each Deferred that was fired, where that was. The places
// stand in a table of the reactor, so that nothing else pays for them: a Deferred has one flag, which
// says whether it has an entry there.

extension Reactor {
    /// Whether the reactor remembers where each Deferred was fired.
    ///
    /// Firing a Deferred twice then names both places, and so does the report of an unhandled
    /// failure: there the place is that of the firing which the failure came from. The place of a
    /// delayed call is always kept.
    ///
    /// False at first. It counts for what is fired from then on, and costs an entry in a table for
    /// each Deferred of a chain that was fired.
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
