package guest

import (
	"fmt"
	"io"
)

// An InitFile is a file of an initial RAM disk.
type InitFile struct {
	Path    string // "init", "modules/virtio.ko"
	Mode    uint32 // permission bits
	Content []byte
}

// initFolders are where the first process mounts things.
var initFolders = []string{"dev", "proc", "sys", "run", "root", "modules"}

// WriteInitrd writes an initial RAM disk: a cpio archive in the "new" format,
// uncompressed, because an emulated processor decompresses slowly.
func WriteInitrd(w io.Writer, files []InitFile) error {
	c := cpioWriter{w: w}
	for _, dir := range initFolders {
		c.entry(dir, modeFolder|0o755, nil)
	}
	for _, f := range files {
		c.entry(f.Path, modeRegular|f.Mode, f.Content)
	}
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

// Type bits of a mode, as in stat(2).
const (
	modeFolder  = 0o040000
	modeRegular = 0o100000
)

// A cpioWriter remembers its first error, so that its user asks once.
type cpioWriter struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpioWriter) entry(path string, mode uint32, content []byte) {
	c.inode++
	// magic, inode, mode, user, group, links, mtime, size, device, special
	// device, length of the name with its final zero, checksum.
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path)+1, 0)
	c.write([]byte(header + path + "\x00"))
	c.pad(len(header) + len(path) + 1)
	c.write(content)
	c.pad(len(content))
}

func (c *cpioWriter) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

// pad fills up to a multiple of four.
func (c *cpioWriter) pad(written int) { c.write(make([]byte, -written&3)) }
