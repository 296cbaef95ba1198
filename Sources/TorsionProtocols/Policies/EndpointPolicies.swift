// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

// Policies by name. Each is a filter or an observer, which its page describes; of several filters the
// one that is named first is nearest to the network.

extension StreamServerEndpoint {
    /// The same with limits for how many connections a port may have: see ``ConnectionLimiter``.
    ///
    /// - Parameter limits: For each port that the endpoint opens.
    /// - Returns: An endpoint with the same place.
    public func limited(to limits: ConnectionLimits) -> WrappedServerEndpoint {
        observed(byPort: { ConnectionLimiter(limits) })
    }

    /// The same with limits for how long a connection may wait: see ``TimeoutObserver``.
    ///
    /// - Parameter timeouts: For each connection.
    /// - Returns: An endpoint with the same place.
    public func timeouts(_ timeouts: Timeouts) -> WrappedServerEndpoint {
        observed { TimeoutObserver(timeouts) }
    }

    /// The same with a log of the traffic: see ``TrafficLog``.
    ///
    /// - Parameter log: Called on the connection's reactor with each piece of traffic as text.
    /// - Returns: An endpoint with the same place.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedServerEndpoint {
        observed { TrafficLog(log) }
    }
}

extension StreamClientEndpoint {
    /// The same with limits for how long a connection may wait: see ``TimeoutObserver``.
    ///
    /// - Parameter timeouts: For each connection.
    /// - Returns: An endpoint with the same place.
    public func timeouts(_ timeouts: Timeouts) -> WrappedClientEndpoint {
        observed { TimeoutObserver(timeouts) }
    }

    /// The same with a log of the traffic: see ``TrafficLog``.
    ///
    /// - Parameter log: Called on the connection's reactor with each piece of traffic as text.
    /// - Returns: An endpoint with the same place.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedClientEndpoint {
        observed { TrafficLog(log) }
    }
}
