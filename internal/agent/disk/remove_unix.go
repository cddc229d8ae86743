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
	return exec.CommandContext(ctx, "sudo", "-n", "rm", "-rf", "--", dir).Run()
}
