// Package guest is the inside of our virtual machines: the first process, in C
// and compiled when an image is built, the initial RAM disk that holds it, and
// the personality that makes one machine different from the next.
//
// A guest boots in two steps. It loads its drivers and then waits for a
// personality, with nothing read from its disk: a machine saved at this point
// may be resumed any number of times, each time with another disk and another
// personality. Given one, it credits entropy, sets clock, host name and
// addresses, writes its keys and starts the SSH server.
package guest

import (
	"embed"
	"io/fs"
)

// The lines that a guest prints on its console.
const (
	Waiting = "outrigger: waiting for a personality"
	Up      = "outrigger: up"
)

// CommandLine is for the guest's kernel. Address randomisation of the kernel
// itself is off because every machine would resume with the saved one's anyway.
const CommandLine = "quiet panic=-1 nokaslr mitigations=off random.trust_cpu=on"

// HostKeyPath is where the SSH server reads its key: in memory, so that no
// image can hold a host key.
const HostKeyPath = "/run/outrigger/host_key"

//go:embed src
var sources embed.FS

// Sources are the files in C of the first process.
func Sources() (fs.FS, error) { return fs.Sub(sources, "src") }
