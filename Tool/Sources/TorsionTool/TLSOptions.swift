// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionDNS
internal import TorsionProcesses
internal import TorsionTLS

/// The options of the commands that may serve by TLS.
struct TLSOptions: ParsableArguments {
    @Flag(
        help: """
            For tls endpoints that name no certificate: make one for localhost, for trying out. It \
            is written to standard error, for clients to have it as roots=FILE. Certificates and \
            keys that endpoints name are read again at SIGHUP.
            """)
    var selfSigned = false

    private static let trial = Result { try SelfSignedIdentity() }

    /// What reads the endpoints of the command line.
    func parser() throws -> EndpointParser {
        .commandLine(else: selfSigned ? try Self.trial.get().identity : nil)
    }

    /// Tells who may be trusted.
    func announce() throws {
        if selfSigned { _ = writeStandardError(try Self.trial.get().certificate) }
    }
}

extension CertificateSources {
    /// What the endpoints of the command line have named.
    static let commandLine = CertificateSources()

    /// Reads all again at SIGHUP, and says so; without any the signal does what it did.
    func reloadAtHangUp(on reactor: Reactor) throws {
        guard !isEmpty else { return }
        let registration = try reactor.signals.catchSignal(.hangUp) { [self, unowned reactor] _ in
            reactor.deferToThread { try self.reload() }
                .addCallback { reactor.printLine("the certificates have been read again") }
                .whenFailed { error in
                    reactor.printLine("the certificates stay what they were: \(error)")
                }
        }
        reactor.addTrigger(.after, .shutdown) { registration.cancel() }
    }
}

extension EndpointParser {
    /// What reads the endpoints of the command line; `identity`: of servers that name none.
    static func commandLine(else identity: TLSIdentity? = nil) -> EndpointParser {
        standard.addingTLS(loading: .commandLine, else: identity).addingServices()
            .addingProcesses()
    }
}
