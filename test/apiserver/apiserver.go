//go:build linux

// Package apiserver runs a real etcd and kube-apiserver for tests: on free ports
// of the loopback interface, with Outrigger's CRDs, nothing shared with anybody.
// There is no kubelet, no scheduler and no controller-manager: Pods stay as they are
// written, and what has an owner is not collected.
//
//	func TestMain(m *testing.M) { apiserver.Main(m, &server) } // one for all tests of a package
//	s := apiserver.Start(t)                                    // one for this test
//	c, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
//
// Both processes end with the test, also if it is killed. The binary is the
// test bed's, see docs/howto/test-bed.md: the first use may have to build it, for minutes.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// A Server is an API server with its store.
type Server struct {
	dir    string
	binary string
	host   string // https://127.0.0.1:port
	ports  struct{ etcd, peer, api int }
	etcd   *process
	api    *process
}

// The users that the server knows by their tokens. Admin may do everything, Nobody
// only what a test binds to the user "nobody" by RBAC.
const (
	Admin  = "admin-token"
	Nobody = "nobody-token"
)

// startTime bounds the start of one process: seconds as a rule, more on a busy computer.
const startTime = 3 * time.Minute

// Start starts a server that ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s, err := New(tb.Context(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Main runs the tests of a package with one server for all of them, put into *into.
func Main(m *testing.M, into **Server) {
	os.Exit(run(m, into))
}

func run(m *testing.M, into **Server) int {
	dir, err := os.MkdirTemp("", "outrigger-apiserver-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s, err := New(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	*into = s
	return m.Run()
}

// New starts a server that keeps its files in dir, until Close. ctx is for the
// start alone.
func New(ctx context.Context, dir string) (*Server, error) {
	binary, err := kube(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, binary: binary}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err = s.startStore(ctx)
	if err == nil {
		err = s.StartAPI(ctx)
	}
	if err == nil {
		err = s.installCRDs(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	return s, nil
}

// Close ends both processes.
func (s *Server) Close() {
	s.api.kill()
	s.etcd.kill()
}

// Config is how to reach the server as [Admin], without a limit of requests.
func (s *Server) Config() *rest.Config { return s.ConfigFor(Admin) }

// ConfigFor is Config with another user's token.
func (s *Server) ConfigFor(token string) *rest.Config {
	return &rest.Config{
		Host: s.host, BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAFile: s.certificate()},
	}
}

// Kubeconfig returns the path of a kubeconfig file for [Admin].
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// KillAPI kills kube-apiserver; its store stays. StartAPI starts it again.
func (s *Server) KillAPI() { s.api.kill() }

// PIDs are the processes of etcd and kube-apiserver, for those who measure.
func (s *Server) PIDs() (etcd, api int) { return s.etcd.pid(), s.api.pid() }

func (s *Server) startStore(ctx context.Context) error {
	etcd, peer := fmt.Sprintf("http://127.0.0.1:%d", s.ports.etcd), fmt.Sprintf("http://127.0.0.1:%d", s.ports.peer)
	p, err := start(s.dir, "etcd", s.binary, "etcd",
		"--data-dir", filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--quota-backend-bytes", "4294967296",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--log-level", "warn")
	if err != nil {
		return err
	}
	s.etcd = p
	return p.await(ctx, etcd+"/health", "")
}

// StartAPI starts kube-apiserver, on the same port as before.
func (s *Server) StartAPI(ctx context.Context) error {
	key := filepath.Join(s.dir, "service-account.key")
	p, err := start(s.dir, "kube-apiserver", s.binary, "kube-apiserver",
		"--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", s.ports.etcd),
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", fmt.Sprint(s.ports.api),
		"--cert-dir", filepath.Join(s.dir, "certs"),
		"--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--token-auth-file", filepath.Join(s.dir, "tokens"), "--authorization-mode", "RBAC",
		// Nobody is there to make service accounts, which Pods would have to wait for.
		"--disable-admission-plugins", "ServiceAccount",
		"--enable-priority-and-fairness=false", "--max-requests-inflight", "0", "--max-mutating-requests-inflight", "0")
	if err != nil {
		return err
	}
	s.api = p
	return p.await(ctx, s.host+"/readyz", s.certificate())
}

// certificate is made by kube-apiserver at its first start.
func (s *Server) certificate() string { return filepath.Join(s.dir, "certs", "apiserver.crt") }

// prepare writes what the processes read, and chooses ports.
func (s *Server) prepare() error {
	for _, port := range []*int{&s.ports.etcd, &s.ports.peer, &s.ports.api} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // all are held until all are found
		*port = l.Addr().(*net.TCPAddr).Port
	}
	s.host = fmt.Sprintf("https://127.0.0.1:%d", s.ports.api)
	key, err := newKey()
	if err != nil {
		return err
	}
	tokens := Admin + ",admin,admin,system:masters\n" + Nobody + ",nobody,nobody\n"
	config := strings.NewReplacer("SERVER", s.host, "CA", s.certificate(), "TOKEN", Admin).Replace(kubeconfig)
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "service-account.key"), key, 0o600),
		os.WriteFile(filepath.Join(s.dir, "tokens"), []byte(tokens), 0o600),
		os.WriteFile(s.Kubeconfig(), []byte(config), 0o600),
	)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "SERVER", certificate-authority: "CA"}}]
users: [{name: admin, user: {token: "TOKEN"}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`
