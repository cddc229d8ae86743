//go:build unix

package podrelay

import (
	"io/fs"
	"path/filepath"
	"testing"
)

// Steps of one Pod may run as different users, and each must be able to go on with
// what another one remembered.
func TestStateIsOpenToAllUsers(t *testing.T) {
	dir := t.TempDir()
	s := state(dir)
	v := viewState{dir: s.view("v1"), tag: "relay-v1", wait: func() {}}
	release, err := v.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := s.save("step-one", record{Stage: over}); err != nil {
		t.Fatal(err)
	}
	s.first("something")
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o777 {
			t.Errorf("folder %s has mode %v, want one that all users may write to", path[len(dir):], info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
