// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

/// Catches signals with libuv, which carries them from its handler to the loop through a pipe.
///
/// Several reactors may catch the same signal, and each is told. The handler that the process had
/// comes back when the last of them stops.
final class UVSignals: SignalSource {
    private let guest: GuestLoop
    private var registrations: [ObjectIdentifier: Registration] = [:]

    init(guest: GuestLoop) { self.guest = guest }

    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration {
        guest.reactor.checkThread()
        guard !guest.reactor.isEnding else {
            throw IOError(.signal, function: "", code: .canceled, subject: signal.description)
        }
        let registration = Registration(source: self, body: body)
        let code = guest.use { loop in
            torsion_uv_signal_open(
                loop, signal.number, Unmanaged.passUnretained(registration).toOpaque(),
                signalArrived, &registration.handle)
        }
        guard code == 0 else {
            throw IOError(
                .signal, function: "sigaction", code: ErrorCode(libuv: code),
                subject: signal.description)
        }
        registrations[ObjectIdentifier(registration)] = registration
        return registration
    }

    func isIgnored(_ signal: Signal) -> Bool { torsion_uv_signal_is_ignored(signal.number) != 0 }

    func die(by signal: Signal) -> Never { torsion_uv_die_by_signal(signal.number) }

    /// Cancels all registrations.
    func shutDown() {
        for registration in registrations.values { registration.cancel() }
    }

    /// The source holds it until it is cancelled.
    fileprivate final class Registration: SignalRegistration {
        let source: UVSignals
        var body: ((Signal) -> Void)?
        var handle: OpaquePointer?

        init(source: UVSignals, body: @escaping (Signal) -> Void) {
            self.source = source
            self.body = body
        }

        func cancel() {
            source.guest.reactor.checkThread()
            guard let handle else { return }
            self.handle = nil
            body = nil
            source.guest.use { _ in torsion_uv_signal_close(handle) }
            source.registrations[ObjectIdentifier(self)] = nil
        }

        func arrived(_ signal: Signal) {
            source.guest.willDeliver()
            body?(signal)
        }
    }
}

/// Called by the shim.
///
/// A function and not a closure, so that no actor's isolation is inherited.
private func signalArrived(_ context: UnsafeMutableRawPointer, _ number: Int32) {
    // The handle is open, or it would not be called: so the source still holds the registration.
    let registration = Unmanaged<UVSignals.Registration>.fromOpaque(context).takeUnretainedValue()
    registration.arrived(Signal(number: number))
}
