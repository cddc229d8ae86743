package app

import "fmt"

// An Exit ends the program with a code that is not ours: that of a command on
// a machine. Nothing is printed for it.
type Exit int

// Error implements error.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
