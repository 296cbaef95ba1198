// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if Log

public import Logging
public import TorsionCore

extension Reactor {
    /// Sends the events of this reactor to a logger of swift-log: connections that come and go,
    /// clients that are refused, events that take too long, and unhandled errors.
    ///
    ///     reactor.log(to: Logger(label: "chat"))
    ///
    /// Called on the reactor. Each message has metadata: `reactor`, and where it is about one
    /// `connection`, `peer`, `reason`, `protocol`. A library cannot know what is an alarm to a
    /// program, so it logs at `info` and below. Unhandled errors are logged in the place of the
    /// lines on standard error; what the program has put into `Reactor.connectionObserver` before
    /// is called as well.
    ///
    /// - Parameters:
    ///   - logger: Its handler is called on the reactor's thread, and must not block.
    ///   - level: Of connections that are made and lost.
    public func log(to logger: Logger, connections level: Logger.Level = .debug) {
        checkThread()
        var logger = logger
        logger[metadataKey: "reactor"] = "\(number)"
        let (made, lost) = (connectionObserver.made, connectionObserver.lost)
        let (refused, backedOff) = (connectionObserver.refused, connectionObserver.backedOff)
        connectionObserver.made = { transport in
            made?(transport)
            logger.log(
                level: level, "connection made",
                metadata: [
                    "connection": "\(transport.id)", "peer": "\(transport.peerAddress)",
                    "local": "\(transport.localAddress)",
                ])
        }
        connectionObserver.lost = { why, transport in
            lost?(why, transport)
            logger.log(
                level: level, "connection lost",
                metadata: [
                    "connection": "\(transport.id)", "peer": "\(transport.peerAddress)",
                    "reason": "\(why)",
                ])
        }
        connectionObserver.refused = { error, peer in
            refused?(error, peer)
            logger.info("client refused", metadata: ["peer": "\(peer)", "reason": "\(error)"])
        }
        connectionObserver.backedOff = { error, port in
            backedOff?(error, port)
            logger.info(
                "port backs off",
                metadata: ["port": "\(port.localAddress)", "reason": "\(error)"])
        }
        unhandledError = { unhandled in
            var metadata: Logger.Metadata = [
                "context": "\(unhandled.context)", "reason": "\(unhandled.error)",
            ]
            if let place = unhandled.place { metadata["place"] = "\(place)" }
            if let id = unhandled.connection { metadata["connection"] = "\(id)" }
            logger.info("unhandled error", metadata: metadata)
        }
        slowEvent = { event in
            var metadata: Logger.Metadata = [
                "event": "\(event.source.kind)", "duration": "\(event.duration)",
            ]
            if let type = event.source.protocolType { metadata["protocol"] = "\(type)" }
            if let id = event.source.connection { metadata["connection"] = "\(id)" }
            if let peer = event.source.peerAddress { metadata["peer"] = "\(peer)" }
            if let place = event.source.place { metadata["place"] = "\(place)" }
            logger.info("slow event", metadata: metadata)
        }
    }
}

#endif
