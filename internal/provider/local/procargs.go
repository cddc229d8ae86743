//go:build linux || darwin

package local

import (
	"bytes"
	"encoding/binary"
)

// parseProcargs takes apart what the macOS kernel tells of a process
// (kern.procargs2): the number of arguments, the executable's path, zero bytes
// up to the next word, the arguments, the environment; each ends with a zero byte.
// It stands in a file for every system so that its test runs on every system.
func parseProcargs(b []byte) (exe string, environ []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	argc := binary.NativeEndian.Uint32(b)
	path, rest, ok := bytes.Cut(b[4:], []byte{0})
	if !ok {
		return "", nil, false
	}
	rest = bytes.TrimLeft(rest, "\x00")
	for range argc {
		if _, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
			return "", nil, false
		}
	}
	return string(path), rest, true
}
