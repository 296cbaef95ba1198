// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion
import TorsionTesting

extension StreamLayers {
    /// One filter.
    static func filter(_ make: @escaping FilterMaker) -> StreamLayers {
        StreamLayers().filtered(by: make)
    }

    /// As many filters as named that pass everything.
    static func passing(_ kind: PassingFilter = .byHooks, count: Int = 3) -> StreamLayers {
        (0..<count).reduce(StreamLayers()) { layers, _ in layers.filtered { kind.make() } }
    }

    /// One observer, for one connection.
    static func observer(_ observer: any ConnectionObserver) -> StreamLayers {
        StreamLayers().observed(by: observer)
    }

    /// The same with an observer, for one connection.
    func observed(by observer: any ConnectionObserver) -> StreamLayers {
        let port = FixedObserver(observer)
        return observed(port: port)
    }

    /// The same with an observer of the port, which the test keeps.
    func observed(port: any PortObserver) -> StreamLayers {
        // A test's connections are all on its own thread.
        nonisolated(unsafe) let port = port
        return observed(byPort: { port })
    }
}

/// Has one observer, for the one client that comes.
private final class FixedObserver: PortObserver {
    private let observer: any ConnectionObserver

    init(_ observer: any ConnectionObserver) { self.observer = observer }

    func clientArrived(from peer: SocketAddress) -> (any ConnectionObserver)? { observer }
}
