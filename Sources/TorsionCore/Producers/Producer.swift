// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Something that produces bytes by itself until it is paused.
///
/// All calls come on the reactor. A producer may write inside any of them.
///
/// - SeeAlso: Twisted `IPushProducer`.
public protocol PushProducer: AnyObject {
    /// Stop producing for now: the consumer's queue passed its high watermark.
    func pauseProducing()

    /// Go on producing: the queue fell to the low watermark.
    func resumeProducing()

    /// Stop for good: the consumer is gone. Called once, before `connectionLost`.
    func stopProducing()
}

extension PushProducer {
    /// Pauses it since its consumer is full: a connection keeps the reason for ``Reactor/inspect()``.
    func pauseForConsumer() {
        if let connection = self as? StreamConnection {
            connection.pause(by: .consumer)
        } else {
            pauseProducing()
        }
    }
}

/// Something that produces one piece each time it is asked.
///
/// - SeeAlso: Twisted `IPullProducer`.
public protocol PullProducer: AnyObject {
    /// Write one piece, or unregister. Asked once when registered, then once each time everything
    /// that was written has been taken, in a later turn; never asked again before something was
    /// written since.
    func produceMore()

    /// Stop for good: the consumer is gone. Called once, before `connectionLost`.
    func stopProducing()
}

/// Something that takes bytes, and slows one producer down.
///
/// - SeeAlso: Twisted `IConsumer`.
public protocol Consumer: AnyObject {
    /// Queues a copy of `bytes`, borrowed for the call.
    ///
    /// - Parameter bytes: Any number; borrowed for the call, and copied.
    func write(_ bytes: RawSpan)

    /// Queues `bytes` without a copy where that pays.
    ///
    /// - Parameter bytes: Any number; shared, without a copy.
    func write(_ bytes: Bytes)

    /// Registers a producer, to be paused and resumed. It is paused at once if the consumer is
    /// full, and stopped at once if the consumer is gone.
    ///
    /// - Parameter producer: Paused when the consumer is full, resumed when it has room, stopped
    ///   when it is gone.
    /// - Precondition: A producer is not registered yet.
    func registerProducer(_ producer: any PushProducer)

    /// Registers a producer, to be asked for the next piece.
    ///
    /// - Parameter producer: Asked for one piece at a time while there is room, stopped when the
    ///   consumer is gone.
    /// - Precondition: A producer is not registered yet.
    func registerProducer(_ producer: any PullProducer)

    /// The producer has finished. Harmless without a producer.
    func unregisterProducer()

    /// The end of the bytes: called by a ``ByteSource/pipe(to:)`` behind the last byte, when its
    /// producer is unregistered. The default is empty, since the pipe's Deferred fires too.
    func finishConsuming()

    /// An early end of the bytes: called by a ``ByteSource/pipe(to:)`` whose source broke. The
    /// default is empty, since the pipe's Deferred fails with the same error.
    ///
    /// - Parameter error: Why the source broke.
    func abandonConsuming(because error: any Error)
}

extension Consumer {
    /// The empty default.
    public func finishConsuming() {}

    /// The empty default.
    ///
    /// - Parameter error: Ignored.
    public func abandonConsuming(because error: any Error) {}

    /// Queues a copy of `bytes`.
    ///
    /// - Parameter bytes: Any number; copied.
    @inlinable
    public func write(_ bytes: [UInt8]) { unsafe write(bytes.span.bytes) }

    /// Queues the UTF-8 of `text`.
    ///
    /// - Parameter text: Of any length, without a terminating zero.
    @inlinable
    public func write(_ text: String) {
        // A native string lends its UTF-8; others are made native first, in this copy.
        var text = text
        text.makeContiguousUTF8()
        unsafe write(text.utf8Span.span.bytes)
    }
}
