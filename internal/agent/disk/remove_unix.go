//go:build unix

package disk

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
)

func removeTree(dir string) error { return os.RemoveAll(dir) }

// clearReadOnly has nothing to do: only a folder's mode keeps its files.
func clearReadOnly(*os.Root, string, fs.FileInfo) error { return nil }

// removeAsRoot removes what a run left as another user, where the login may.
func removeAsRoot(ctx context.Context, dir string) error {
	return Sudo(ctx, "rm", "-rf", "--", dir).Run()
}

// Sudo returns the command that runs argv as root, if the login needs no password for that. Neither
// sudo nor argv is looked for where something that ran here could have put another one.
func Sudo(ctx context.Context, argv ...string) *exec.Cmd {
	sudo := "/usr/bin/sudo"
	if _, err := os.Stat(sudo); err != nil {
		sudo = "sudo"
	}
	cmd := exec.CommandContext(ctx, sudo, append([]string{"-n", "--"}, argv...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	return cmd
}
