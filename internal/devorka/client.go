package devorka

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ClientFiles are files that clients of the cluster can be started with. They are
// in its folder and go with it.
type ClientFiles struct {
	Token      string `json:"token"`
	Kubeconfig string `json:"kubeconfig"`
	Config     string `json:"config"`   // of Outrigger
	Password   string `json:"password"` // of admin on the VMs
	text       string
}

// ConfigText is what Config says, indented.
func (f ClientFiles) ConfigText() string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(f.text), "\n", "\n  ") + "\n"
}

// ClientFiles writes them for a token.
func (s *Server) ClientFiles(token string) (ClientFiles, error) {
	f := ClientFiles{
		Token: filepath.Join(s.dir, "token"), Kubeconfig: filepath.Join(s.dir, "kubeconfig"), Config: filepath.Join(s.dir, "outrigger.yaml"),
		Password: filepath.Join(s.dir, "password"),
	}
	f.text = fmt.Sprintf(`default: orka
providers:
  orka:
    orka:
      endpoint: %s
      tokenFile: %s
      image: ghcr.io/macstadium/orka-images/sequoia:latest
      passwordFile: %s
`, s.Endpoint(), f.Token, f.Password)
	for path, text := range map[string]string{
		f.Token: token + "\n", f.Kubeconfig: s.kubeconfig(token), f.Config: f.text, f.Password: s.cfg.Password + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return f, err
		}
	}
	return f, nil
}

// kubeconfig is one in which all is said.
func (s *Server) kubeconfig(token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: orka
contexts:
- name: orka
  context: {cluster: orka, user: orka, namespace: orka-default}
clusters:
- name: orka
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: orka
  user:
    token: %s
`, s.KubeEndpoint(), base64.StdEncoding.EncodeToString(s.CA()), token)
}
