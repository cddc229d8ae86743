package lease

import (
	"crypto/rand"
	"os"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// reserved is how much space a lease keeps for the day on which its results have filled the disk: enough for a
// renewal, and for what a sync back writes about 5,000 files.
const reserved = 512 << 10

// reserve takes the space. The bytes are random, since some file systems store zeros without any. Without room for
// it the lease is made all the same.
func (s *Store) reserve(dir disk.LeaseDir) {
	b := make([]byte, reserved)
	_, _ = rand.Read(b) // never fails
	if err := os.WriteFile(dir.Reserve(), b, 0o600); err != nil {
		s.log.Info("no space is reserved", "lease", string(dir), "error", err)
		_ = os.Remove(dir.Reserve()) // a part of it is of no use
	}
}

// Spend gives the space up, and tells whether there was any.
func (s *Store) Spend(name string) bool {
	dir, err := s.Living(name)
	return err == nil && os.Remove(dir.Reserve()) == nil
}
