// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
@_spi(Backend) import TorsionCore

/// Work for threads where there are none; `TorsionServicesTests` has the rest.
struct ThreadlessTests {
    private final class Bare: ReactorServices {
        var resolver: any NameResolver { fatalError("not used") }
        var signals: any SignalSource { fatalError("not used") }
        func shutDown() {}
    }

    @Test(arguments: [true, false])
    func `work fails where there are no threads`(hasServices: Bool) {
        let backend = BackendChoice(name: "still") { StillBackend() }
        let reactor: Reactor
        if hasServices {
            reactor = Reactor(backend: backend) { _ throws(IOError) in Bare() }
        } else {
            reactor = Reactor(backend: backend, services: nil)
        }
        var codes: [ErrorCode] = []
        reactor.deferToThread {}.whenFailed { codes.append(try #require($0 as? IOError).code) }
        #expect(codes == [.notSupported])
        reactor.shutDown()
    }
}
