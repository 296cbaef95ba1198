// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

/// A machine made of stubs: a folder with the few commands that the installer calls.
///
/// Each stub of the package manager and of sudo writes its arguments, so that the test sees what
/// would have been done and nothing is installed.
private struct Machine {
    let tree: Tree

    init(swift: String? = "6.3.1", user: Int = 0, has commands: [String] = []) throws {
        tree = try Tree()
        try tree.link(["sh", "env", "sed", "awk", "head", "dirname"])
        try stub("id", "echo \(user)")
        if let swift { try stub("swift", "echo 'Swift version \(swift) (swift-RELEASE)'") }
        for command in commands { try stub(command, "exit 0") }
    }

    func stub(_ command: String, _ body: String) throws {
        try tree.write(program: "#!/bin/sh\n\(body)\n", to: "bin/\(command)")
    }

    func addAptGet() throws {
        try stub("apt-cache", "exit 0")
        try stub("apt-get", "echo \"apt-get $*\"")
    }

    func install(_ purpose: String = "test") throws -> Outcome {
        try run("install-dependencies", [purpose], environment: ["PATH=\(tree.root)/bin"])
    }
}

@Test func `nothing is installed where nothing lacks`() throws {
    let outcome = try Machine(has: ["git", "pkg-config"]).install()
    #expect(outcome.status == 0)
    #expect(outcome.output == "")
}

@Test func `root installs what lacks without sudo and without a prompt`() throws {
    let machine = try Machine(has: ["git"])
    try machine.addAptGet()

    let outcome = try machine.install()

    #expect(outcome.status == 0, "\(outcome.output)")
    let command =
        "apt-get install -y -qq --no-install-recommends"
        + " pkg-config libuv1-dev liburing-dev libssl-dev zlib1g-dev\n"
    #expect(outcome.output.hasSuffix(command), "\(outcome.output)")
    #expect(!outcome.output.contains("apt-get update"))
}

@Test func `a library that pkg-config does not find is installed alone`() throws {
    let machine = try Machine(has: ["git"])
    try machine.addAptGet()
    try machine.stub("pkg-config", "exit 1")

    let outcome = try machine.install()

    let missing = "libuv1-dev liburing-dev libssl-dev zlib1g-dev"
    #expect(outcome.output.hasPrefix("Torsion lacks on this machine: \(missing)\n"))
}

@Test(arguments: [
    ("libuv", "1.41.0", "1.42"), ("liburing", "2.1", "2.3"), ("openssl", "1.1.1", "3.0"),
])
func `a library that is too old is named, with what is needed`(
    library: String, version: String, oldest: String
) throws {
    let machine = try Machine(has: ["git"])
    try machine.addAptGet()
    try machine.stub(
        "pkg-config",
        """
        case "$*" in
        "--atleast-version=\(oldest) \(library)") exit 1 ;;
        "--modversion \(library)") echo \(version) ;;
        esac
        """)

    let outcome = try machine.install()

    #expect(outcome.status == 1)
    #expect(outcome.output.contains("\(library) \(version) is too old"), "\(outcome.output)")
    #expect(outcome.output.contains("\(oldest) or later"))
    #expect(!outcome.output.contains("apt-get"))
}

@Test func `benchmarks ask for the tools that count`() throws {
    let machine = try Machine(has: ["git", "pkg-config"])
    try machine.addAptGet()

    let outcome = try machine.install("bench")

    #expect(outcome.output.hasPrefix("Torsion lacks on this machine: gcc valgrind strace\n"))
}

@Test(arguments: [("go", "golang-go"), ("bench-tls", "openssl")])
func `what a peer of a benchmark needs is installed for that purpose alone`(
    purpose: String, package: String
) throws {
    let machine = try Machine(has: [])
    try machine.addAptGet()

    let outcome = try machine.install(purpose)

    #expect(outcome.output.hasPrefix("Torsion lacks on this machine: \(package)\n"))
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `the package lists are fetched first where a package is unknown`() throws {
    let machine = try Machine(has: ["git"])
    try machine.addAptGet()
    try machine.stub("apt-cache", "exit 100")

    let lines = try machine.install().output.split(separator: "\n")

    #expect(lines.contains("apt-get update -qq"))
    #expect(lines.last?.hasPrefix("apt-get install") == true)
}

@Test func `a failed installation is tried once more, with fresh lists`() throws {
    let machine = try Machine(has: ["git"])
    try machine.addAptGet()
    try machine.stub("apt-get", "echo \"apt-get $1\"; [ $1 = update ]")

    let outcome = try machine.install()

    #expect(outcome.status == 1)
    let calls = outcome.output.split(separator: "\n").filter { $0.hasPrefix("apt-get") }
    #expect(calls == ["apt-get install", "apt-get update", "apt-get install"])
    #expect(outcome.output.contains("could not install: pkg-config libuv1-dev"))
}

@Test func `a user installs through sudo, which must not ask without a terminal`() throws {
    let machine = try Machine(user: 1000, has: ["git"])
    try machine.addAptGet()
    try machine.stub("sudo", "echo \"sudo $*\"")

    let outcome = try machine.install()

    #expect(outcome.output.contains("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install"))
}

@Test func `a user without sudo is told the command`() throws {
    let machine = try Machine(user: 1000, has: ["git"])
    try machine.addAptGet()

    let outcome = try machine.install()

    #expect(outcome.status == 1)
    #expect(outcome.output.contains("apt-get install pkg-config libuv1-dev"))
}

@Test func `a machine without apt-get is told the names`() throws {
    let outcome = try Machine(has: ["git"]).install()
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("lacks pkg-config libuv1-dev"))
}

@Test func `a machine without Swift is told where to get it`() throws {
    let outcome = try Machine(swift: nil).install()
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("there is no `swift` on the PATH"))
    #expect(outcome.output.contains("https://www.swift.org/install/linux/"))
}

@Test(arguments: ["5.10.1", "6.1.3", "6.2"])
func `an old Swift is refused`(version: String) throws {
    let outcome = try Machine(swift: version, has: ["git", "pkg-config"]).install()
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("Swift \(version) is too old"))
}

@Test(arguments: ["6.2.3", "6.10.1", "7.0"])
func `a Swift new enough passes`(version: String) throws {
    #expect(try Machine(swift: version, has: ["git", "pkg-config"]).install().status == 0)
}
