package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/windows"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// isRoot is true: who may write to a folder may make a junction in it.
func isRoot() bool { return true }

// MaySudo is false: Windows has no way to become somebody else unasked.
func MaySudo(context.Context) bool { return false }

// native returns p on the system drive.
func native(p string) string {
	drive := os.Getenv("SystemDrive")
	if drive == "" {
		drive = "C:"
	}
	return drive + filepath.FromSlash(p)
}

// writable is left to the attempt: Windows has no cheap question for it.
func writable(string) bool { return true }

// isLink is true for junctions too, which Go calls irregular.
func isLink(info fs.FileInfo) bool { return info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0 }

func sameTarget(a, b string) bool {
	trim := func(s string) string { return strings.TrimSuffix(strings.TrimPrefix(s, `\??\`), `\`) }
	return strings.EqualFold(trim(a), trim(b))
}

func do(_ context.Context, s Step, _ Power) error {
	switch s.Op {
	case Mkdir:
		return mkdir(native(s.Path))
	case Junction:
		return junction(native(s.Path), s.Target)
	}
	return unknown(s)
}

func remove(_ context.Context, path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeAll removes what is at path with everything in it.
func removeAll(ctx context.Context, path string) error { return disk.RemoveAll(ctx, path) }

// junction makes the folder path and turns it into a mount point for target.
func junction(path, target string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := mountPoint(path, target); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func mountPoint(path, target string) error {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return err
	}
	data := reparseData(target)
	var n uint32
	err = windows.DeviceIoControl(h, windows.FSCTL_SET_REPARSE_POINT, &data[0], uint32(len(data)), nil, 0, &n, nil)
	return errors.Join(err, windows.CloseHandle(h))
}

// reparseData is a REPARSE_DATA_BUFFER of a mount point: a head of 8 bytes, four
// lengths and offsets, and two names that end in zeros: for the system and for people.
func reparseData(target string) []byte {
	encode := func(s string) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return b
	}
	system, people := encode(`\??\`+target), encode(target)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, windows.IO_REPARSE_TAG_MOUNT_POINT)
	b = le.AppendUint16(b, uint16(8+len(system)+2+len(people)+2))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, uint16(len(system)))
	b = le.AppendUint16(b, uint16(len(system)+2))
	b = le.AppendUint16(b, uint16(len(people)))
	b = append(append(b, system...), 0, 0)
	return append(append(b, people...), 0, 0)
}
