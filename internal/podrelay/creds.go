package podrelay

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/wire"
)

// credsDir is where Tekton puts the credentials of the Pod's service account;
// its entrypoint copies them into the container's home.
const credsDir = "/tekton/creds"

// credentials makes Tekton's credentials be in effect in the machine's home, for
// as long as the lease lasts.
func (j *job) credentials() ([]relay.Link, error) {
	if !j.plan.Tekton {
		return nil, nil
	}
	for _, v := range j.views {
		for _, m := range v.mounts {
			if m.Path == credsDir {
				return j.credentialLinks(path.Join(v.ID, m.local), filepath.Join(j.root(), m.local))
			}
		}
	}
	return nil, nil
}

func (j *job) credentialLinks(folder, dir string) ([]relay.Link, error) {
	var out []relay.Link
	for _, pattern := range []string{".gitconfig", ".git-credentials", ".docker/config.json", ".docker/.dockerconfigjson", ".ssh/id_*", ".ssh/known_hosts", ".ssh/config"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fault.New(fault.Internal, "credentials: %w", err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
				continue
			}
			name := strings.TrimPrefix(file, dir+"/")
			out = append(out, relay.Link{
				Path: "~/" + name, Target: path.Join(folder, name),
				Rewritten: func(a wire.LinkAnswer) {
					if j.state.first("refused-" + strings.ReplaceAll(name, "/", "-")) {
						j.watch.Warn("~/" + name + " cannot be made on the machine (" + a.Why + "): the credentials that Tekton made for the Pod are not used there")
					}
				},
				Failed: func(err error) error {
					if !relay.PathTaken(err) {
						return err
					}
					if j.state.first("taken-" + strings.ReplaceAll(name, "/", "-")) {
						j.watch.Warn("the machine has its own ~/" + name + ": the credentials that Tekton made for the Pod are not used there")
					}
					return nil
				},
			})
		}
	}
	return out, nil
}
