package app

import (
	"errors"
	"fmt"
)

// An Exit ends the program with a code that is not ours: that of a command on
// a machine. Nothing is printed for it.
type Exit int

// Error implements error.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// First is err, or what went wrong while cleaning up if nothing did before. A
// command's own exit code is no reason to hide that.
func First(err, cleanup error) error {
	var exit Exit
	if err == nil || cleanup != nil && errors.As(err, &exit) {
		return cleanup
	}
	return err
}
