// Package local is the built-in provider: throwaway machines on this computer
// that need nothing installed. Each is an SSH server in a process of its own,
// with a home, a temporary folder and keys of its own, on a port of the
// loopback interface that its own key opens, and those of its ~/.ssh/authorized_keys.
//
// It isolates nothing. What runs on such a machine runs as the user who made
// it and can read and change whatever that user can. It is for trying things
// and for tests.
//
// What is known of a machine is in its folder, <state>/local/<name>:
//
//	machine.json   owner, expiry, labels: written once, when the machine is made
//	host_key       the server's key pair; client_key is its user's
//	lock           held while the machine is made or deleted
//	alive          held by the server as long as it runs, however it ends
//	run.json       where the server listens and its process number
//	log            what the server has to say
//	home, tmp      HOME and TMPDIR of what runs there
//
// Whatever was started there carries the folder's path in its environment
// ([Marker]); so Delete finds it, whoever its parent is.
package local

// Config is what the configuration file may say. There is nothing to say yet.
type Config struct{}

// ServeCommand is the hidden first argument under which a program that uses
// this package must call [ServeMain] with the arguments that follow.
const ServeCommand = "__local-machine"

// Marker is the environment variable that marks what runs on a machine; its
// value is the path of the machine's folder.
const Marker = "OUTRIGGER_MACHINE"
