// Package claim is outrigger claim: a machine of a pool that several Tasks of a PipelineRun
// use one after another.
package claim

import (
	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/claim/create"
	"outrigger.dev/outrigger/internal/cli/claim/release"
)

// New returns the command with those below it.
func New(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "claim",
		Short: "Hold a machine of a pool over several Tasks of a PipelineRun",
		Example: `  outrigger claim create --pool xcode-16 --namespace builds --holder PipelineRun/ci-7/UID
  outrigger claim release claim-7k2qzx4m --namespace builds`,
	}
	cmd.AddCommand(create.New(a), release.New(a))
	return app.Group(cmd)
}
