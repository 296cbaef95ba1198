// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What the verbs are made of. All of it is inlined into the caller, where the types are known.

extension Deferred {
    /// Makes the link of one verb, and runs it at once if there is a result.
    ///
    /// `step` takes the result of this Deferred, settles the link, and says where the result is
    /// now. It captures nothing, so that it costs no allocation where it is specialised; the
    /// callback is handed to it by the link, which stores it.
    @inlinable @inline(__always) @discardableResult
    func link<Input, Output, NewValue>(
        _ body: @escaping (Input) throws -> Output, file: StaticString, line: UInt,
        step:
            @escaping (
                Deferred<Value>, Deferred<NewValue>, (Input) throws -> Output
            ) -> AnyDeferred
    ) -> Deferred<NewValue> {
        reactor.checkThread()
        let link = Link<Input, Output, NewValue>(
            after: self, file: file, line: line, body: body
        ) { upstream, link in
            // The link was made with these types a line above.
            let upstream = unsafe unsafeDowncast(upstream, to: Deferred<Value>.self)
            let link = unsafe unsafeDowncast(link, to: Link<Input, Output, NewValue>.self)
            return step(upstream, link, link.body.take()!)
        }
        attach(link)
        deliver()
        return link
    }

    /// Takes the value; hands an error on to `link` and returns nil.
    @inlinable @inline(__always)
    func takeValue<NewValue>(orFail link: Deferred<NewValue>) -> Value? {
        if case .failed = phase {
            link.phase = phase
            phase = .delivered
            return nil
        }
        phase = .delivered
        return takeStored()
    }

    /// Takes the error; hands a value on to `link` and returns nil.
    @inlinable @inline(__always)
    func takeError(orPassTo link: Deferred<Value>) -> (any Error)? {
        defer { phase = .delivered }
        if case .failed(let error) = phase { return error }
        link.store(takeStored())
        link.phase = .succeeded
        return nil
    }

    /// Takes the result.
    @inlinable @inline(__always)
    func takeResult() -> Result<Value, any Error> {
        defer { phase = .delivered }
        if case .failed(let error) = phase { return .failure(error) }
        // `deliver` calls a step only with a result, and what is no error is a value.
        return .success(takeStored())
    }

    /// Gives this link what `body` returns or throws.
    @inlinable @inline(__always)
    func settle(_ body: () throws -> Value) -> AnyDeferred {
        do {
            store(try body())
            phase = .succeeded
        } catch {
            phase = .failed(error)
        }
        return self
    }

    /// Makes this link wait for the Deferred that `body` returns.
    @inlinable @inline(__always)
    func wait(_ body: () throws -> Deferred<Value>) -> AnyDeferred {
        do {
            let inner = try body()
            inner.attach(self) { inner, link in
                // Two Deferreds of one type, as the lines above say.
                let inner = unsafe unsafeDowncast(inner, to: Deferred<Value>.self)
                let link = unsafe unsafeDowncast(link, to: Deferred<Value>.self)
                if case .succeeded = inner.phase { link.store(inner.takeStored()) }
                link.phase = inner.phase
                inner.phase = .delivered
                return link
            }
            return inner
        } catch {
            phase = .failed(error)
            return self
        }
    }
}
