// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A result that is not there yet, and the chain of callbacks that it will run through.
///
/// The producer of the result makes a Deferred, keeps it, and calls ``succeed(_:file:line:)`` or
/// ``fail(_:file:line:)`` once. The consumer adds callbacks: each call of `addCallback` and its kin
/// returns a *new* Deferred for what the callback returns, so that calls are written one behind the
/// other.
///
///     endpoint.connect(on: reactor) { Greeter() }               // Deferred<Greeter>
///         .addTimeout(.seconds(5))
///         .addCallback { greeter in greeter.greet("world") }    // a Deferred: it is waited for
///         .addCallback { reply in print(reply) }
///         .whenFailed { error in print("\(error)") }
///
/// - **Order.** A callback runs as soon as there is a result: inside `succeed`, or inside
///   `addCallback` if the result is already there. Each runs once, in the order of the chain.
/// - **Errors.** What a callback throws goes past the callbacks behind it to the next errback. An
///   unhandled failure is sent, when its Deferred is released, to
///   ``Reactor/report(_:in:place:firingPlace:connection:)`` with the place where that Deferred was made.
///   `CancellationError` is not, since your program asked for it.
/// - **One consumer.** A Deferred takes one callback; a second on the same Deferred is the
///   caller's mistake and traps, as does firing it twice.
/// - **Ownership.** A chain is kept alive by the object that will fire its source, not by its end.
///   Released unfired, it releases the chain without running a callback.
/// - **Threads.** It belongs to its reactor; from another thread every call traps.
/// - **Cost.** One allocation a callback. Chains of any length run in a flat stack.
///
/// - SeeAlso: Twisted `twisted.internet.defer.Deferred`.
public class Deferred<Value>: AnyDeferred {
    /// Makes a Deferred that is to be fired.
    ///
    /// - Parameters:
    ///   - reactor: The reactor that it belongs to.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - canceller: Stops the work that would give the result; called by
    ///     ``AnyDeferred/cancel()``, at most once. It may fire the Deferred, else that fails with
    ///     `CancellationError`. It is released as soon as there is a result.
    @inlinable
    public init(
        on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
        canceller: ((Deferred<Value>) -> Void)? = nil
    ) {
        reactor.checkThread()
        super.init(
            on: reactor, phase: .unfired, canceller: Self.erased(canceller), file: file, line: line)
    }

    @inlinable
    init(result: Value?, phase: Phase, on reactor: Reactor, file: StaticString, line: UInt) {
        reactor.checkThread()
        super.init(on: reactor, phase: phase, canceller: nil, file: file, line: line)
        if let result { store(result) }
    }

    /// Makes a link that computes its result from the one of `upstream`.
    @inlinable
    init(
        after upstream: AnyDeferred, file: StaticString, line: UInt, step: @escaping Step
    ) {
        super.init(on: upstream.reactor, step: step, file: file, line: line)
    }

    /// Makes a Deferred that has already succeeded.
    ///
    /// - Parameters:
    ///   - value: Given to the first callback.
    ///   - reactor: Where its callbacks run.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred whose first callback runs at once.
    @inlinable
    public static func succeeded(
        _ value: Value, on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Value> {
        Deferred(result: value, phase: .succeeded, on: reactor, file: file, line: line)
    }

    /// Makes a Deferred that has already failed.
    ///
    /// - Parameters:
    ///   - error: Given to the first errback; reported if it is released without one.
    ///   - reactor: Where its callbacks run.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred whose first errback runs at once.
    @inlinable
    public static func failed(
        _ error: any Error, on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Value> {
        Deferred(result: nil, phase: .failed(error), on: reactor, file: file, line: line)
    }

    /// Fires with a value; the callbacks run before this returns.
    ///
    /// Firing twice, or firing a Deferred that a callback's result belongs to, traps. The first
    /// result after a cancellation without a canceller is dropped. The place of the call is kept in
    /// debugging mode: ``Reactor/isDebugging``.
    ///
    /// - Parameters:
    ///   - value: Given to the first callback.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    @inlinable
    public final func succeed(
        _ value: Value, file: StaticString = #fileID, line: UInt = #line
    ) {
        guard acceptsResult(file: file, line: line) else { return }
        store(value)
        finish(.succeeded)
    }

    /// Fires with an error; the errbacks run before this returns.
    ///
    /// The rules are those of ``succeed(_:file:line:)``.
    ///
    /// - Parameters:
    ///   - error: Given to the first errback; reported if it is released without one.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    public final func fail(
        _ error: any Error, file: StaticString = #fileID, line: UInt = #line
    ) {
        guard acceptsResult(file: file, line: line) else { return }
        finish(.failed(error))
    }

    @usableFromInline
    override final func destroyStored() { _ = takeStored() }

    @usableFromInline
    static func erased(_ canceller: ((Deferred<Value>) -> Void)?) -> ((AnyDeferred) -> Void)? {
        guard let canceller else { return nil }
        // Only called with the Deferred that it was given to.
        return { canceller(unsafe unsafeDowncast($0, to: Deferred<Value>.self)) }
    }
}

// A stored property of the type `Value?` would make the class's `deinit`, which is never
// specialised, look up the metadata of that type: a quarter of the cost of a callback. So a value
// lies in three words that know nothing of it, or in a box if it is larger, from when `phase` says
// that it succeeded until it is taken.
extension Deferred {
    @inlinable @inline(__always)
    static var fitsWords: Bool {
        MemoryLayout<Value>.size <= MemoryLayout<StoredWords>.size
            && MemoryLayout<Value>.alignment <= MemoryLayout<StoredWords>.alignment
    }

    /// Keeps the value that the phase is about to tell of.
    @inlinable @inline(__always)
    final func store(_ value: Value) {
        if Self.fitsWords {
            unsafe withUnsafeMutablePointer(to: &words) { words in
                _ = unsafe UnsafeMutableRawPointer(words)
                    .initializeMemory(as: Value.self, to: value)
            }
        } else {
            let box = UnsafeMutablePointer<Value>.allocate(capacity: 1)
            unsafe box.initialize(to: value)
            words.first = UInt(bitPattern: box)
        }
    }

    /// Takes the value, which the phase told of until now.
    @inlinable @inline(__always)
    final func takeStored() -> Value {
        if Self.fitsWords {
            return unsafe withUnsafeMutablePointer(to: &words) { words in
                unsafe UnsafeMutableRawPointer(words).assumingMemoryBound(to: Value.self).move()
            }
        }
        // Made by `store`.
        let box = unsafe UnsafeMutablePointer<Value>(bitPattern: words.first)!
        defer { unsafe box.deallocate() }
        return unsafe box.move()
    }
}

extension Deferred where Value == Void {
    /// Fires without a value.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    @inlinable
    public func succeed(file: StaticString = #fileID, line: UInt = #line) {
        succeed((), file: file, line: line)
    }
}

/// A Deferred that computes its result with a callback, which it stores.
@usableFromInline
final class Link<Input, Output, Value>: Deferred<Value> {
    /// Let go of when it has run: what it captures must not live as long as the result.
    @safe @exclusivity(unchecked) @usableFromInline var body: ((Input) throws -> Output)?

    @inlinable
    init(
        after upstream: AnyDeferred, file: StaticString, line: UInt,
        body: @escaping (Input) throws -> Output, step: @escaping Step
    ) {
        self.body = body
        super.init(after: upstream, file: file, line: line, step: step)
    }

    @usableFromInline
    override func releaseBody() { body = nil }
}
