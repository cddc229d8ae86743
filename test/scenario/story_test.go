//go:build unix

package scenario

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

// patience is how long a script waits for what must happen. A passing one never
// gets there, also where a virtual machine boots beside ten other tests.
const patience = 3 * time.Minute

// A story is the state of one script.
type story struct {
	tb      testing.TB
	work    string
	roots   []string // where its files may be: its own folder and the homes of its servers
	vars    []string // its first environment
	procs   map[string]*process
	servers map[string]*sshd.Server
	proxies map[string]*proxy
}

type proxy struct {
	*faultproxy.Proxy
	resume func()
}

type storyKey struct{}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// stop ends what the script started beside itself and did not wait for.
func (s *story) stop() {
	for name, p := range s.procs {
		if p.running() {
			p.kill()
			s.tb.Errorf("%s was still running at the end of the script", name)
		}
	}
	for _, p := range s.proxies {
		p.Close()
	}
}

// nothingLeft waits until no process of the story is left and looks then for files.
func (s *story) nothingLeft() error {
	var left []string
	if !poll(patience, func() bool { left = s.processes(); return len(left) == 0 }) {
		return fmt.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
	for _, root := range s.roots {
		files, err := leftovers(root)
		if err != nil {
			return err
		}
		left = append(left, files...)
	}
	if len(left) > 0 {
		return fmt.Errorf("files are left:\n%s", strings.Join(left, "\n"))
	}
	return nil
}

// leftovers finds files of ours below root that should have gone: machines in
// the ledger or at a provider, leases on a machine, temporary files.
func leftovers(root string) ([]string, error) {
	var left []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // another user's, or going just now
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if leftover(rel, d) {
			left = append(left, path)
		}
		return nil
	})
	return left, err
}

func leftover(rel string, d fs.DirEntry) bool {
	if filepath.Dir(rel) == "tmp" { // TMPDIR of the script
		return true
	}
	dir := "/" + filepath.ToSlash(filepath.Dir(rel))
	for _, parent := range []string{
		"/ledger",            // records of machines
		"/outrigger/local",   // machines of providers
		"/qemu/machines",     // likewise
		"/.outrigger/leases", // on a server of the script
	} {
		if strings.HasSuffix(dir, parent) {
			return true
		}
	}
	return strings.HasPrefix(d.Name(), ".outrigger-tmp")
}

// sweep ends what a failed script left and the daemons on its servers, so that
// the computer of whoever runs the tests is as before.
func (s *story) sweep() {
	for range 3 { // a process that is being killed may start another
		s.killProcesses()
	}
}

// poll asks until the answer is yes or time is up.
func poll(d time.Duration, ask func() bool) bool {
	for end := time.Now().Add(d); ; {
		if ask() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		<-time.After(20 * time.Millisecond)
	}
}

// exists tells whether a file is there.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}
