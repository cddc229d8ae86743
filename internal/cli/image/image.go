// Package image is outrigger image: what machines are made from.
package image

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/image/build"
	"outrigger.dev/outrigger/internal/cli/image/cache"
	"outrigger.dev/outrigger/internal/cli/image/commit"
	"outrigger.dev/outrigger/internal/cli/image/list"
	"outrigger.dev/outrigger/internal/cli/image/pull"
	"outrigger.dev/outrigger/internal/cli/image/push"
	"outrigger.dev/outrigger/internal/cli/image/remove"
	"outrigger.dev/outrigger/internal/cli/image/save"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make and delete what machines are made from",
		Example: `  outrigger image build --on qemu
  outrigger vm create --on qemu --name box
  outrigger vm shell box -- apt-get install -y clang
  outrigger image save box clang
  outrigger run --on qemu --image clang -- make
  outrigger image build --on qemu --script setup.sh tools`,
	}
	cmd.AddCommand(list.New(a), save.New(a), build.New(a), commit.New(a), push.New(a), pull.New(a), cache.New(a), remove.New(a))
	return app.Group(cmd)
}
