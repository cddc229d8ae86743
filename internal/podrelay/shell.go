package podrelay

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// loginShell becomes the user's own shell.
var loginShell = map[string][]string{
	"windows": {"powershell.exe", "-NoLogo"},
	"":        {"/bin/sh", "-c", `exec "${SHELL:-/bin/sh}" -l`},
}

// shell is "relay shell": a command on the machine beside the container's own,
// in the same folder and environment. It moves no files.
func (c Container) shell(ctx context.Context, argv []string) (int, error) {
	signals, stop := Listen()
	defer stop()
	plan, claim, err := c.handed()
	if err != nil {
		return 0, err
	}
	views, err := c.look(plan)
	if err != nil {
		return 0, err
	}
	log := c.log()
	h, err := c.dial(ctx, claim, log)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	rec, err := state(c.path(handoff.StateDir)).load(plan.Container)
	if err != nil {
		return 0, err
	}
	env := environ(plan, c.IO.Environ)
	if rec.Stage == started {
		env = proxied(env, rec.Proxy)
	}
	j := job{Container: c, plan: plan, claim: claim, views: views, watch: c.watcher(log)}
	spec := wire.RunSpec{
		Lease: claim.Lease, Argv: argv, Env: env, Dir: j.shellDir(), Absence: shellAbsence,
	}
	if len(argv) == 0 {
		if spec.Argv = loginShell[claim.Platform.OS]; spec.Argv == nil {
			spec.Argv = loginShell[""]
		}
	}
	streams := runclient.Streams{In: c.IO.In, Out: c.IO.Out, Err: c.IO.Err, Signals: signals}
	var tty terminal
	if c.IO.InIsTerminal() {
		if err := tty.open(ctx, c.IO, true); err != nil {
			return 0, err
		}
		spec.TTY, streams.Resize = tty.size, tty.resize
		if t := c.IO.Getenv("TERM"); t != "" {
			spec.Env = append(spec.Env, "TERM="+t)
		}
	}
	defer tty.close()
	exit, err := shellRun(ctx, h, claim.Owner, spec, streams, runclient.Options{Log: log, Warn: func(text string) { log.Debug("warning", "text", text) }})
	return exitCode(exit), err
}

// shellAbsence is how long what a shell started goes on without it.
const shellAbsence = 30 * time.Second

// shellDir is where the container's command is.
func (j *job) shellDir() string {
	dir := j.plan.WorkDir
	if dir == "" && inViews(j.views, j.workDir()) {
		dir = j.workDir()
	}
	if dir == "" {
		return cwdDir
	}
	return dir
}

// shellRun runs spec, which may come before the container's own command has
// made the lease and the folder.
func shellRun(ctx context.Context, h *host.Host, owner machine.Owner, spec wire.RunSpec, streams runclient.Streams, opts runclient.Options) (runclient.Exit, error) {
	dial := func(ctx context.Context) (*wire.Conn, error) { return h.Open(ctx, host.Connect, nil) }
	try := func() (runclient.Exit, error) {
		spec.RunID = string(machine.NewName("shell"))
		return runclient.Run(ctx, dial, spec, streams, opts)
	}
	exit, err := try()
	if fault.Is(err, fault.RunLost) && exit.Ending == "" {
		acquire := wire.LeaseAcquire{Name: spec.Lease, Owner: string(owner), Expires: time.Now().Add(leaseTime)}
		if lerr := h.Call(ctx, wire.MethodLeaseAcquire, acquire, nil); lerr != nil {
			return exit, lerr
		}
		exit, err = try()
	}
	if fault.Is(err, fault.RemoteFile) && spec.Dir != "" {
		spec.Dir = ""
		exit, err = try()
	}
	return exit, err
}
