package deliver

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Source is the folders in which built agents lie, named
// "outrigger-agent-<os>-<arch>[.exe]". The first folder that exists counts.
//
// A file SHA256SUMS beside them, newer than the agents, saves reading them all
// at every start.
type Source struct{ *source }

type source struct {
	dirs []string
	once sync.Once
	list []build
	err  error
}

// A build is one agent as built.
type build struct {
	platform machine.Platform
	file     string
	digest   string // hex of SHA-256
	packed   *packed
}

// A packed agent is compressed once, however many machines get it.
type packed struct {
	once    sync.Once
	content []byte
	size    int // of the agent itself, in bytes
	err     error
}

// Dirs returns a Source over these folders.
func Dirs(dirs ...string) Source { return Source{&source{dirs: dirs}} }

// FindSource returns the agents that belong to this executable: those in
// $OUTRIGGER_AGENTS if that is set, else in agents/ beside the executable,
// else in ../libexec/outrigger/agents.
func FindSource(getenv func(string) string) (Source, error) {
	if dir := getenv("OUTRIGGER_AGENTS"); dir != "" {
		return Dirs(dir), nil
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return Source{}, fault.New(fault.LocalFile, "agents: where this program lies: %w", err)
	}
	dir := filepath.Dir(exe)
	return Dirs(filepath.Join(dir, "agents"), filepath.Join(dir, "..", "libexec", "outrigger", "agents")), nil
}

// builds returns the agents that there are; it reads them once.
func (s Source) builds() ([]build, error) {
	if s.source == nil {
		return nil, fault.New(fault.Internal, "agents: no folder given")
	}
	s.once.Do(func() { s.list, s.err = s.read() })
	return s.list, s.err
}

func (s *source) read() ([]build, error) {
	for _, dir := range s.dirs {
		list, err := readDir(dir)
		if err != nil {
			return nil, fault.New(fault.LocalFile, "agents: %w", err).WithRemedy("Build the agents with: make build")
		}
		if len(list) > 0 {
			return list, nil
		}
	}
	return nil, fault.New(fault.LocalFile, "agents: none in %s", strings.Join(s.dirs, " or ")).
		WithRemedy("Build the agents with: make build, or say where they are in OUTRIGGER_AGENTS.")
}

func readDir(dir string) ([]build, error) {
	sums, sumsTime, err := readSums(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		return nil, err
	}
	var list []build
	for _, p := range machine.Platforms {
		name := fileName(p)
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		digest, ok := sums[name]
		if !ok || info.ModTime().UnixNano() > sumsTime {
			if digest, err = digestOf(file); err != nil {
				return nil, err
			}
		}
		list = append(list, build{p, file, digest, &packed{}})
	}
	return list, nil
}

// fileName returns the name of the agent for p in a source folder.
func fileName(p machine.Platform) string {
	name := "outrigger-agent-" + p.OS + "-" + p.Arch
	if p.OS == "windows" {
		name += ".exe"
	}
	return name
}

// readSums reads what sha256sum wrote, and when that was. Lines that are
// something else are passed over: the digests are checked when they matter, at delivery.
func readSums(file string) (map[string]string, int64, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		digest, name, ok := strings.Cut(lines.Text(), " ")
		if raw, err := hex.DecodeString(digest); ok && err == nil && len(raw) == sha256.Size {
			sums[strings.TrimLeft(name, " *")] = digest
		}
	}
	return sums, info.ModTime().UnixNano(), lines.Err()
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// load reads b's content and makes sure that it is what its digest says.
func (b build) load() ([]byte, error) {
	content, err := os.ReadFile(b.file)
	if err != nil {
		return nil, fault.New(fault.LocalFile, "agents: %w", err)
	}
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != b.digest {
		return nil, fault.New(fault.LocalFile, "agents: %s: digest is %s, but %s is on record", b.file, got, b.digest).
			WithRemedy("Build the agents again with: make build")
	}
	return content, nil
}

// plain returns b's content as it is, and its size.
func (b build) plain() (content []byte, size int, err error) {
	content, err = b.load()
	return content, len(content), err
}

// zip returns b's content with gzip, and its size without.
func (b build) zip() (content []byte, size int, err error) {
	p := b.packed
	p.once.Do(func() {
		var plain []byte
		if plain, p.err = b.load(); p.err != nil {
			return
		}
		p.size = len(plain)
		if p.content, p.err = zip(plain); p.err != nil {
			p.err = fault.New(fault.Internal, "agents: compress: %w", p.err)
		}
	})
	return p.content, p.size, p.err
}

// names lists the platforms of builds, for a message.
func names(builds []build) string {
	var all []string
	for _, b := range builds {
		all = append(all, b.platform.String())
	}
	return strings.Join(all, ", ")
}
