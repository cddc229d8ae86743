package imagebuild

import (
	"context"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
)

// clean takes away what the build needed: the lease with its folder and whatever the script has
// left running, then the agent. Then it has the machine write its disk out.
func (v *visit) clean(ctx context.Context, root string) error {
	err := v.persist(ctx, func(ctx context.Context) error {
		return v.host.Call(ctx, wire.MethodLeaseRelease, wire.LeaseRelease{Name: v.lease}, nil)
	})
	if err != nil {
		return err
	}
	return v.persist(ctx, func(ctx context.Context) error {
		client, err := v.host.Client(ctx)
		if err != nil {
			return err
		}
		agent, err := deliver.Put(ctx, client, v.o.Agents, root)
		if err != nil {
			return err
		}
		return leave(ctx, client, agent)
	})
}

// leave ends the agent and removes what it keeps. A folder that was given to it is its own; only
// what it is known to make there goes, in case that somebody else uses it too.
func leave(ctx context.Context, c *reach.Client, agent deliver.Agent) error {
	command := unixLeave(agent)
	if agent.Platform.OS == "windows" {
		command = windowsLeave(agent)
	}
	said, exit, err := c.Output(ctx, command, nil)
	if err != nil {
		return err
	}
	if exit != 0 {
		return fault.New(fault.RemoteFile, "%s: removing what the build needed: exit code %d: %s", c.Where(), exit, oneLine(string(said)))
	}
	return nil
}

// kept are the folders below the agent's.
var kept = []string{"agents", "daemon", "leases", "at", "home.json", "left.json"}

func unixLeave(agent deliver.Agent) string {
	var paths []string
	for _, name := range kept {
		paths = append(paths, quote(agent.Root+"/"+name))
	}
	root := quote(agent.Root)
	script := agent.Command("stop") + " && rm -rf -- " + strings.Join(paths, " ") + " && { rmdir -- " + root + " 2>/dev/null || :; } && sync"
	return "sh -c " + quote(script+" 2>&1")
}

func windowsLeave(agent deliver.Agent) string {
	root := strings.ReplaceAll(agent.Root, "/", `\`)
	var b strings.Builder
	b.WriteString(`cmd.exe /c "` + agent.Command("stop"))
	for _, name := range kept {
		b.WriteString(` & if exist ` + root + `\` + name + ` rmdir /s /q ` + root + `\` + name)
	}
	return b.String() + ` & rmdir ` + root + ` 2>nul & exit 0"`
}
