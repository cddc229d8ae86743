// Package initialize is outrigger outpost init.
package initialize

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/outpost/hub"
)

// Options are the command's flags.
type Options struct{ Names []string }

// New returns the command.
func New(a *app.App) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use:   "init DIR --name NAME...",
		Short: "Make the keys of a hub",
		Long: `Make the keys of a hub in the new folder DIR:

  DIR/hub/      what the hub has: a certificate for its names, which vouches for
                itself; the file of tokens, empty; the public key of passes
  DIR/pass.key  what signs passes: for the controller, and for outrigger outpost pass

The certificate is valid for ten years; one of your own may take its place.`,
		Example: `  outrigger outpost init keys --name hub.example.com --name 203.0.113.7`,
		Args:    app.Args("DIR"),
		RunE:    app.Run(func(_ context.Context, args []string) error { return run(a, args[0], o) }),
	}
	cmd.Flags().StringArrayVar(&o.Names, "name", nil, "`name` or address by which the hub is reached; may be repeated")
	return cmd
}

func run(a *app.App, dir string, o Options) error {
	if len(o.Names) == 0 {
		return fault.New(fault.Usage, "outpost init: --name is missing: want the names by which the hub is reached")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Usage, "outpost init: %s exists already: want a new folder", dir).
			WithRemedy("Nothing was changed. To begin anew, remove it first: its tokens and passes then count no more.")
	}
	cert, key, err := certificate(o.Names, a.IO.Now())
	if err != nil {
		return fault.New(fault.Internal, "outpost init: certificate: %w", err)
	}
	private, public, err := creds.NewSigner()
	if err != nil {
		return err
	}
	below := filepath.Join(dir, "hub")
	if err := os.MkdirAll(below, 0o700); err != nil {
		return fault.New(fault.LocalFile, "outpost init: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{filepath.Join(below, hub.CertFile), cert},
		{filepath.Join(below, hub.KeyFile), key},
		{filepath.Join(below, hub.PassFile), public},
		{filepath.Join(below, hub.TokensFile), []byte("# NETWORK/OUTPOST sha256:DIGEST [EXPIRES], made by: outrigger outpost token\n")},
		{filepath.Join(dir, "pass.key"), private},
	} {
		if err := os.WriteFile(f.name, f.data, 0o600); err != nil {
			return fault.New(fault.LocalFile, "outpost init: %w", errors.Join(err, os.RemoveAll(dir)))
		}
	}
	_, err = fmt.Fprintf(a.IO.Out, "%s\n", dir)
	return err
}

// validity is long, since the certificate is pinned: who has it trusts nobody
// else, and everybody who does would have to be told of another.
const validity = 10 * 365 * 24 * time.Hour

// certificate makes one that vouches for itself.
func certificate(names []string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Outrigger hub"},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
