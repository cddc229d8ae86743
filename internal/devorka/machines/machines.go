// Package machines has what stands behind the VMs of a cluster: real machines with
// a real SSH server each, and the disks that they are made from.
//
// A [Local] machine is a folder of this computer whose SSH server is part of this
// process: it costs a millisecond and no process until somebody logs in. A [Qemu]
// machine is a virtual machine. Both let admin in, a virtual machine with the password
// admin as MacStadium's images do, a local one with what its place was given.
package machines

import (
	"context"
	"net"
	"time"
)

// User and Password are the login of MacStadium's images.
const (
	User     = "admin"
	Password = "admin"
)

// A Disk names the content of an image; "" is the base, of which there is always one.
type Disk string

// A Spec asks for a machine.
type Spec struct {
	Name      string // unique among the machines of a place
	Disk      Disk
	CPUs      int
	MemoryMiB int
	// LoginAfter is when the machine begins to know its users: sshd answers some
	// moments before that.
	LoginAfter time.Time
}

// A Place makes machines.
type Place interface {
	// Create makes the machine, with its SSH server running.
	Create(ctx context.Context, spec Spec) (Machine, error)
	// Attach finds a machine that an earlier process made.
	Attach(ctx context.Context, spec Spec) (Machine, error)
	// Copy and Remove are for disks. Removing one that is not there is no error.
	Copy(ctx context.Context, from, to Disk) error
	Remove(ctx context.Context, d Disk) error
	// Sweep removes the machines that none of the names belongs to.
	Sweep(ctx context.Context, keep []string) error
}

// A Machine is one machine.
type Machine interface {
	// SSH joins c to the SSH server, and returns when that is over. It closes c.
	SSH(ctx context.Context, c net.Conn)
	// Dial connects to a TCP port of the machine.
	Dial(ctx context.Context, port int) (net.Conn, error)
	// Stop ends every connection and every process; the disk stays as it is.
	Stop(ctx context.Context) error
	// Start starts a machine that was stopped.
	Start(ctx context.Context) error
	// Save makes a disk of the machine's, which is stopped while it is made.
	Save(ctx context.Context, d Disk) error
	// Delete ends the machine and removes all that belongs to it.
	Delete(ctx context.Context) error
}
