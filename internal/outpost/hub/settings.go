package hub

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/reach/via"
)

// Files of a hub's folder.
const (
	CertFile   = "tls.crt"  // certificate, and what leads to its authority
	KeyFile    = "tls.key"  // its key
	TokensFile = "tokens"   // who may be an outpost, see [creds.ParseGrants]
	PassFile   = "pass.pub" // whose passes count, see [creds.ParseVerifier]
	// NetworksFile holds networks that are not reached through outposts, or
	// have a list of allowed addresses; it may be missing.
	NetworksFile = "networks.yaml"
)

type grant = creds.Grant

// settings are what the folder said when it was read.
type settings struct {
	cert     *tls.Certificate
	tokens   creds.Grants
	passes   creds.Verifier
	networks map[string]*network
	ways     map[string]*network // those of NetworksFile
	digest   [sha256.Size]byte   // of all files
	waysOf   [sha256.Size]byte   // of those that ways may come from
}

// readSettings reads the folder. What has not changed since last, which may be
// nil, is taken over, with the connections to jump hosts that it holds.
func readSettings(dir string, tunnels via.Tunnels, last *settings) (*settings, error) {
	files, err := readFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Config, "hub: %w", err).WithRemedy("Make the folder with: outrigger outpost init DIR")
	}
	for _, name := range []string{CertFile, KeyFile, TokensFile, PassFile} {
		if _, ok := files[name]; !ok {
			return nil, fault.New(fault.Config, "hub: %s: has no file %s", dir, name).WithRemedy("Make the folder with: outrigger outpost init DIR")
		}
	}
	s := &settings{digest: digest(files)}
	cert, err := tls.X509KeyPair(files[CertFile], files[KeyFile])
	if err != nil {
		return nil, fault.New(fault.Config, "hub: %s and %s: %w", CertFile, KeyFile, err)
	}
	s.cert = &cert
	if s.tokens, err = creds.ParseGrants(files[TokensFile]); err != nil {
		return nil, err
	}
	if s.passes, err = creds.ParseVerifier(files[PassFile]); err != nil {
		return nil, err
	}
	networksData := files[NetworksFile]
	for _, name := range []string{CertFile, KeyFile, TokensFile, PassFile} {
		delete(files, name)
	}
	s.waysOf = digest(files)
	if last != nil && last.waysOf == s.waysOf {
		s.ways = last.ways
	} else if s.ways, err = parseNetworks(filepath.Join(dir, NetworksFile), networksData, tunnels); err != nil {
		return nil, err
	}
	s.networks = maps.Clone(s.ways)
	for _, g := range s.tokens {
		name := g.Outpost.Network
		if n := s.networks[name]; n == nil {
			s.networks[name] = &network{}
		} else if n.dial != nil {
			return nil, fault.New(fault.Config, "hub: network %s: has outposts in %s and ways of its own in %s: want one of the two", name, TokensFile, NetworksFile)
		}
	}
	return s, nil
}

// maxSetting bounds a file: certificates and tokens of thousands of outposts fit.
const maxSetting = 1 << 20

// readFolder reads the files of a folder. Mounted Secrets have them as links into
// hidden folders, which are left out.
func readFolder(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		if strings.HasPrefix(e.Name(), ".") || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Size() > maxSetting {
			return nil, fmt.Errorf("%s: has %d bytes, more than %d: does it belong there?", name, info.Size(), maxSetting)
		}
		if files[e.Name()], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func digest(files map[string][]byte) [sha256.Size]byte {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(all, "%q %x\n", name, sum) // a hash takes everything
	}
	return [sha256.Size]byte(all.Sum(nil))
}
