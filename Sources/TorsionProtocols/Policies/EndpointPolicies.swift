// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

// Policies by name. Each is a filter or an observer, which its page describes; of several filters the
// one that is named first is nearest to the network.

extension StreamServerEndpoint {
    /// The same with limits for how many connections a port may have: see ``ConnectionLimiter``.
    public func limited(to limits: ConnectionLimits) -> WrappedServerEndpoint {
        observed(byPort: { ConnectionLimiter(limits) })
    }

    /// The same with limits for how long a connection may wait: see ``TimeoutObserver``.
    public func timeouts(_ timeouts: Timeouts) -> WrappedServerEndpoint {
        observed { TimeoutObserver(timeouts) }
    }

    /// The same with a log of the traffic: see ``TrafficLog``.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedServerEndpoint {
        observed { TrafficLog(log) }
    }
}

extension StreamClientEndpoint {
    /// The same with limits for how long a connection may wait: see ``TimeoutObserver``.
    public func timeouts(_ timeouts: Timeouts) -> WrappedClientEndpoint {
        observed { TimeoutObserver(timeouts) }
    }

    /// The same with a log of the traffic: see ``TrafficLog``.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedClientEndpoint {
        observed { TrafficLog(log) }
    }
}
