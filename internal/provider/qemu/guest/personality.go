package guest

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"
)

// DiskSize is the size of a disk that holds a personality, or none yet.
const DiskSize = 65536

// magic starts a personality; a guest waits until it sees it.
const magic = "OUTRIGR1"

// The kinds of records, as personality.c reads them.
const (
	seedRecord uint32 = iota + 1
	clockRecord
	networkRecord
	hostNameRecord
	fileRecord
)

// A File is written into the guest's file system before the SSH server starts.
type File struct {
	Path    string // absolute; its folders are made with mode 0755
	Mode    uint32 // permission bits
	Content []byte
}

// A Personality is what one machine does not share with another.
type Personality struct {
	Seed     [64]byte  // credited to the guest's random number generator
	Now      time.Time // the host's clock
	MAC      [6]byte
	HostName string
	Files    []File
}

// Encode returns the content of the personality's disk.
func (p Personality) Encode() ([]byte, error) {
	b := append([]byte(magic), 0, 0, 0, 0)
	b = appendRecord(b, seedRecord, p.Seed[:])
	b = appendRecord(b, clockRecord, binary.LittleEndian.AppendUint64(nil, uint64(p.Now.UnixNano())))
	b = appendRecord(b, networkRecord, p.MAC[:])
	b = appendRecord(b, hostNameRecord, []byte(p.HostName))
	for _, f := range p.Files {
		content := binary.LittleEndian.AppendUint32(nil, f.Mode)
		content = binary.LittleEndian.AppendUint32(content, uint32(len(f.Path)))
		content = append(content, f.Path...)
		b = appendRecord(b, fileRecord, append(content, f.Content...))
	}
	if len(b) > DiskSize {
		return nil, fmt.Errorf("personality of %s: %d bytes, want at most %d", p.HostName, len(b), DiskSize)
	}
	binary.LittleEndian.PutUint32(b[len(magic):], uint32(len(b)-len(magic)-4))
	return append(b, make([]byte, DiskSize-len(b))...), nil
}

func appendRecord(b []byte, kind uint32, content []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	return append(b, make([]byte, -len(content)&7)...)
}

// HostKey returns key as Dropbear keeps it in a file.
func HostKey(key ed25519.PrivateKey) []byte {
	const name = "ssh-ed25519"
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	return append(b, key...) // the seed, then the public key: Go's order as well
}
