// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import torsion_bench

@Test func `numbers are rounded, grouped and padded`() {
    #expect(decimal(1_234_567.4, 0) == "1,234,567")
    #expect(decimal(0.045, 2) == "0.05")
    #expect(decimal(-1.5, 1) == "-1.5")
    #expect(decimal(999.999, 1) == "1,000.0")
    #expect(figure(0.0002) == "0")
    #expect(figure(.nan) == "-")
}

@Test func `the first column of a table is flush left, the others flush right`() {
    let text = table(["server", "CPU"], [["a", "1.00"], ["longer-name", "10.00"]])
    #expect(text == "  server         CPU\n  a             1.00\n  longer-name  10.00\n")
}

@Test func `a summary of strace is read with and without errors`() throws {
    let summary = """
        % time     seconds  usecs/call     calls    errors syscall
        ------ ----------- ----------- --------- --------- ------------------
         60.00    0.020000          10      2000           sendto
         40.00    0.010000           5      2016        16 recvfrom
        ------ ----------- ----------- --------- --------- ------------------
        100.00    0.030000          15      4016        16 total
        """
    #expect(try SystemCallCounter.parse(summary) == ["sendto": 2000, "recvfrom": 2016])
    #expect(throws: BenchError.self) { try SystemCallCounter.parse("") }
}

@Test func `calls that read and calls that write are summed apart`() {
    let calls = SystemCalls(byName: ["recvfrom": 1, "read": 0.5, "writev": 2, "epoll_wait": 1])
    #expect(calls.reads == 1.5)
    #expect(calls.writes == 2)
    #expect(calls.total == 4.5)
}

@Test func `options name servers, scenarios and peers`() throws {
    let options = try Options(["run", "--full", "--peers", "uring", "--server", "mine=./mine -v"])
    #expect(options.isFull)
    let names = try options.servers().map(\.name)
    #expect(names.contains("uring-c") && names.contains("torsion-io_uring"))
    let faces = try options.servers().filter { !Scenario.echo64Connections.admits($0) }.map(\.name)
    #expect(
        faces == [
            "udp-c", "tls-c", "torsion-async", "torsion-async-read", "torsion-http",
            "torsion-serve", "http-c",
        ])
    #expect(try options.servers().filter(Scenario.echo64Async.admits).count == 4)
    #expect(try options.servers().last?.command(.raw) == ["./mine", "-v"])
    #expect(throws: BenchError.self) { try Options(["run", "--rounds", "0"]) }
    #expect(throws: BenchError.self) { try Options(["race"]) }
    #expect(throws: BenchError.self) { try Options(["run", "--only", "nobody"]).servers() }
}

@Test func `datagrams are sent to servers of datagrams`() throws {
    let servers = try Options(["run", "--peers", "nio,uring"]).servers()
        .filter(Scenario.echoUDP.admits)
    #expect(
        servers.map(\.name) == [
            "torsion-libuv", "torsion-epoll", "udp-c", "nio", "nio-vectored", "torsion-io_uring",
        ])
    for server in servers where server.kind != .twin {
        let words = server.command(.datagrams).joined(separator: " ")
        #expect(words.contains("--udp") || words.contains("--listen udp:0"), "\(words)")
        #expect(server.command(.raw) != server.command(.datagrams))
    }
}

@Test func `files are served by servers of files, from the one folder`() throws {
    let options = try Options(["run", "--peers", "nio,nginx,hyper,go,node,hummingbird"])
    let servers = try options.servers().filter(Scenario.httpFile.admits)
    #expect(servers.map(\.name) == ["torsion-serve", "http-c", "nio-http", "nginx", "go"])
    for server in servers { #expect(server.command(.files).contains(options.files)) }
    let hellos = try options.servers().filter(Scenario.httpHello.admits)
    #expect(hellos.count == 8)
    for server in hellos { #expect(!server.command(.raw).contains(options.files)) }
}

@Test func `each bound is about servers that take part`() throws {
    let all = "nio,nginx,hyper,go,node,hummingbird,redis,uring,tokio"
    let servers = try Options(["run", "--peers", all]).servers()
    for scenario in Scenario.all {
        let names = Set(servers.filter(scenario.admits).map(\.name))
        for bound in scenario.bounds {
            #expect(names.contains(bound.server), "\(scenario.name): \(bound.server)")
            guard case .server(let reference) = bound.reference else { continue }
            #expect(names.contains(reference), "\(scenario.name): \(reference)")
        }
    }
}
